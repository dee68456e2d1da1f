#!/usr/bin/env python3
"""Take networks of many kinds untouched through the studies: the table of docs/networks.md.

    python scripts/networks_table.py                     every network, one cell after another
    python scripts/networks_table.py --only DnCNN Swin   some of them

Networks are small, seeded and untrained, as they stand in tests/ctxai/architectures.py, or in the
other forms in which networks are brought; slices are of 80 × 80 pixels, patches of 16 × 16. Their
samplers are trained for two steps: the table is of what runs, what is named as not running and how
long that takes, not of how good samples are. Prints a row a network as soon as it is known.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "ctxai"))

import architectures
import numpy as np
import torch

import analysis.training.recipes as recipes
from analysis.main import main as ctxai
from analysis.training.stages import REDUCED
from ctxai import SHIPPED, VAE, ConditionalINN, RedCNN, WeightSet, cinn_name, save_module, vae_name
from recon import write_series

PATCH = 16
POINT: dict[str, Any] = {
    "spacing_mm": 4.0, "matrix": 100, "patch": PATCH, "kvp": 120.0, "mas": 10.0, "high_mas": 150.0,
    "slice_thickness_mm": 1.5, "window": "hann", "electronic_noise": 3.0,
}  # fmt: skip
FEW = replace(
    REDUCED, name="few steps", own_slices=2, held_out=2, flow_steps=2, flow_batch=2,
    flow_widths=(8, 8, 8), batch=2,
)  # fmt: skip
COMMANDS: dict[str, tuple[str, ...]] = {
    "invariances": ("-n", "4", "--projected", "2"),
    "target-domain": ("-n", "4", "--draws", "2"),
    "projection-domain": ("--draws", "12"),
}
OWN = f"{architectures.__file__}:"
"""Factories of the networks that the tests are of."""


def torch_script(folder: Path) -> str:
    """DnCNN as TorchScript."""
    torch.jit.save(
        torch.jit.trace(architectures.dncnn().eval(), torch.zeros(2, 1, 64, 64)), folder / "net.ts"
    )
    return str(folder / "net.ts")


def exported(folder: Path) -> str:
    """DnCNN as an exported program of any size."""
    size = torch.export.Dim.AUTO
    dims = ({0: torch.export.Dim("batch"), 2: size, 3: size},)
    net = architectures.dncnn().eval()
    program = torch.export.export(net, (torch.zeros(2, 1, 64, 64),), dynamic_shapes=dims)
    torch.export.save(program, folder / "net.pt2")
    return str(folder / "net.pt2")


def onnx_file(folder: Path) -> str:
    """Means of 3 × 3 pixels as an ONNX file."""
    import onnx

    kernel = onnx.numpy_helper.from_array(np.full((1, 1, 3, 3), 1 / 9, np.float32), "kernel")
    node = onnx.helper.make_node("Conv", ["x", "kernel"], ["y"], pads=[1, 1, 1, 1])
    x, y = (onnx.helper.make_tensor_value_info(name, 1, ["b", 1, "h", "w"]) for name in ("x", "y"))
    graph = onnx.helper.make_graph([node], "means", [x], [y], [kernel])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), folder / "net.onnx")
    return str(folder / "net.onnx")


def du_gan(folder: Path) -> str:
    """The generator of DU-GAN at its full width, in the file of ldct-benchmark, untrained."""
    from safetensors.torch import save_file

    torch.manual_seed(5)
    tensors = {name: 0.5 * value for name, value in RedCNN().state_dict().items()}
    save_file(tensors, folder / "du-gan.safetensors")
    return f"dugan:{folder / 'du-gan.safetensors'}"


NETWORKS: dict[str, str | Callable[[Path], str]] = {
    "Chen": "chen",
    "Yang": "yang",
    "RED-CNN": OWN + "redcnn",
    "DU-GAN": du_gan,
    "DnCNN": OWN + "dncnn",
    "ResNet": OWN + "resnet",
    "EDCNN": OWN + "edcnn",
    "U-Net": OWN + "unet",
    "RRDB": OWN + "rrdb",
    "Swin": OWN + "swin",
    "normalised": OWN + "normalised",
    "slices": OWN + "slices",
    "TorchScript": torch_script,
    "exported": exported,
    "ONNX": onnx_file,
    "one-size": OWN + "of_one_size",
    "bilateral": OWN + "bilateral",
    "NumPy": OWN + "numpy_median",
}


def body() -> np.ndarray:
    """Three slices of a water ellipse with an insert, (3, 80, 80) [HU]."""
    y, x = np.mgrid[-79.0:80.0:2.0, -79.0:80.0:2.0]
    hu = np.where((x / 60) ** 2 + (y / 45) ** 2 < 1, 0.0, -1000.0)
    hu = np.where(((x - 8) / 9) ** 2 + ((y + 6) / 5) ** 2 < 1, 120.0, hu)
    return np.stack([hu + 10.0 * k for k in range(3)]).astype(np.float32)


def small_set(folder: Path) -> Path:
    """Chen and Yang as they ship, with samplers of small patches that were never trained."""
    torch.manual_seed(0)
    modules: dict[str, torch.nn.Module] = {n: SHIPPED.load(n)[0] for n in ("chen", "yang")}
    for domain in ("x", "y"):
        modules[vae_name(domain)] = VAE(shape=(PATCH, PATCH), latent=6, widths=(8, 8), scale=200.0)
        for name in ("chen", "yang"):
            modules[cinn_name(name, "output", domain)] = ConditionalINN(
                latent=6, condition_shape=(1, PATCH, PATCH), blocks=2, hidden=8, embedding=8
            )
    folder.mkdir()
    for name, module in modules.items():
        save_module(folder / f"{name}.safetensors", module, **POINT, recipe="untrained")
    WeightSet(folder).seal(recipe={"name": "untrained", "working_point": POINT}, figures={})
    return folder


def cell(argv: list[str]) -> str:
    """What one command did: its processor seconds and what it leaves out, or why it refused."""
    said, began = io.StringIO(), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
        status = ctxai(argv)
    spent = f"{time.process_time() - began:.0f} s"
    lines = said.getvalue().splitlines()
    if status:
        return f"{spent}, refused: {lines[-1].removeprefix('ctxai: ').split(' (')[0]}"
    left_out = [line for line in lines if "are not projected" in line]
    return f"{spent}, unprojected" if left_out else spent


def table(names: Sequence[str], folder: Path) -> list[list[str]]:
    """A row for each network: its name, and a cell for each command."""
    few = partial(recipes.train_for, recipe=FEW, progress=False)
    recipes.train_for = few  # type: ignore[assignment]
    weights, images = small_set(folder / "weights"), folder / "images"
    write_series(
        images, body(), spacing=(2.0, 2.0), slice_thickness=1.5, kvp=120.0, mas=150.0, uid_seed=1,
        positions=[(-79.0, -79.0, 1.5 * k) for k in range(3)], series_description="body",
    )  # fmt: skip
    rows = []
    print(f"| network | {' | '.join(COMMANDS)} |\n|---|{'---|' * len(COMMANDS)}")
    for name in names:
        made = NETWORKS[name]
        with warnings.catch_warnings(action="ignore"):  # of torch about its own exporters
            spec = made if isinstance(made, str) else made(folder)
        own = folder / name
        row = [name]
        for command, more in COMMANDS.items():
            row.append(
                cell(
                    [command, "--images", str(images), "--weights", str(weights), "--denoiser",
                     spec, "--roi", "40", "42", "--out", str(own), "--overwrite", *more]
                )
            )  # fmt: skip
        rows.append(row)
        print(f"| {' | '.join(row)} |", flush=True)
    return rows


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="N")
    asked = parser.parse_args(words)
    if "ONNX" in asked.only and importlib.util.find_spec("onnx") is None:
        parser.error("ONNX needs the extra onnx; --only takes the others")
    return asked


def main(words: Sequence[str] | None = None) -> int:
    """Print the table."""
    names = arguments(words).only
    os.nice(5)
    with tempfile.TemporaryDirectory() as folder:
        table(names, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
