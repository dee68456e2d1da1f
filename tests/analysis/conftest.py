"""A tiny set of untrained networks and a small CT series: the whole pipeline in seconds."""

import numpy as np
import pytest
import torch

from analysis.target_domain import study
from ctxai.denoisers import Chen, Yang
from ctxai.files.modules import save_module
from ctxai.representation.cinn import ConditionalINN
from ctxai.representation.vae import VAE
from ctxai.weights.sets import WeightSet, cinn_name
from recon.dicom.write import write_series

PATCH = 16
POINT = {
    "spacing_mm": 1.0,
    "matrix": 64,
    "patch": PATCH,
    "kvp": 120.0,
    "mas": 10.0,
    "high_mas": 200.0,
    "slice_thickness_mm": 1.5,
    "window": "hann",
    "electronic_noise": 3.0,
}


@pytest.fixture(scope="module")
def few_scans():
    """Fewer scans to compare with: for what a command does, not for what its tests find."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "NULL_DRAWS", 39)
        patch.setattr(study, "POWER_SCANS", 8)
        yield


def tiny_vae():
    """An untrained VAE of 16² patches."""
    return VAE(shape=(PATCH, PATCH), latent=6, widths=(8, 8), offset=0.0, scale=200.0)


def tiny_cinn(channels=1):
    """An untrained cINN of 6 latents."""
    return ConditionalINN(
        latent=6, condition_shape=(channels, PATCH, PATCH), blocks=2, hidden=8, embedding=8
    )


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory):
    """Folder of a set: Chen and Yang at the output, Yang at layer 1, VAE_x and VAE_y."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    facts = {**POINT, "recipe": "untrained"}
    modules = {"chen": Chen(), "yang": Yang(), "vae_x": tiny_vae(), "vae_y": tiny_vae()}
    for denoiser in ("chen", "yang"):
        for domain in ("x", "y"):
            modules[cinn_name(denoiser, "output", domain)] = tiny_cinn()
    modules[cinn_name("yang", "1", "x")] = tiny_cinn(32)
    for name, module in modules.items():
        save_module(folder / f"{name}.safetensors", module, **facts)
    weights = WeightSet(folder)
    weights.seal(recipe={"name": "untrained", "working_point": POINT}, figures={})
    return weights


def small_body(rows=72, cols=80, spacing=2.0):
    """A water ellipse with an insert up and to the right, (rows, cols) [HU]."""
    y = ((np.arange(rows) - (rows - 1) / 2) * spacing)[:, None]
    x = ((np.arange(cols) - (cols - 1) / 2) * spacing)[None, :]
    hu = np.where((x / 60) ** 2 + (y / 45) ** 2 < 1, 0.0, -1000.0)
    return np.where(((x - 8) / 9) ** 2 + ((y + 6) / 5) ** 2 < 1, 120.0, hu).astype(np.float32)


@pytest.fixture(scope="session")
def body():
    """One such slice."""
    return small_body()


@pytest.fixture
def untrained():
    """VAE and cINN as they are before any training."""
    torch.manual_seed(0)
    return tiny_vae(), tiny_cinn()


@pytest.fixture(scope="session")
def ct_folder(tmp_path_factory):
    """Three slices of 72 × 80 pixels of 2 mm, 120 kV, 150 mAs."""
    folder = tmp_path_factory.mktemp("series")
    hu = np.stack([small_body() + 10.0 * k for k in range(3)])
    write_series(
        folder, hu, spacing=(2.0, 2.0), slice_thickness=1.5,
        positions=[(-79.0, -71.0, 1.5 * k) for k in range(3)],
        series_description="body", kvp=120.0, mas=150.0, uid_seed=1,
    )  # fmt: skip
    return folder
