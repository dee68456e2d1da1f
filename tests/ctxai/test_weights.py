"""The networks that ship: complete, small, sealed, and what their manifest says of them."""

import shutil
from pathlib import Path

import pytest
import torch

from ctxai import SHIPPED, InvarianceModel, WeightSet
from recon import DataError

EXPECTED = {
    "chen", "yang", "vae_x", "vae_y",
    *(
        f"{sampler}-{layer}"
        for sampler in ("cinn", "flow")
        for layer in (
            "chen-1-x", "chen-2-x", "chen-output-x", "chen-output-y", "yang-1-x", "yang-4-x",
            "yang-7-x", "yang-output-x", "yang-output-y",
        )
    ),
}  # fmt: skip
LARGEST_MB = 25  # must-value


def test_the_set_is_complete_and_small() -> None:
    assert set(SHIPPED.names) == EXPECTED
    files = list(SHIPPED.folder.glob("*.safetensors"))
    assert {path.stem for path in files} == EXPECTED
    assert sum(path.stat().st_size for path in files) < LARGEST_MB * 1e6


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_each_loads_with_the_scan_it_belongs_to(name: str) -> None:
    module, facts = SHIPPED.load(name)
    assert not module.training
    assert not any(p.requires_grad for p in module.parameters())
    assert all(torch.isfinite(p).all() for p in module.parameters())
    assert facts["spacing_mm"] == 1.0
    assert facts["mas"] == 10.0


@pytest.mark.parametrize(("name", "share"), [("chen", 0.75), ("yang", 0.9)])
def test_the_denoisers_lower_the_error_on_held_out_phantoms(name: str, share: float) -> None:
    figures = SHIPPED.manifest["figures"][name]  # an adversarial loss trades error for texture
    assert figures["rmse_fx_hu"] < share * figures["rmse_x_hu"]


@pytest.mark.parametrize(("domain", "limit"), [("x", 5.0), ("y", 3.0)])
def test_the_autoencoders_hold_what_they_represent(domain: str, limit: float) -> None:
    """All latents in use, and held-out images given back to within a few HU (must-values)."""
    vae, _ = SHIPPED.load(f"vae_{domain}")
    figures = SHIPPED.manifest["figures"][f"vae_{domain}"]
    assert figures["active_dimensions"] == vae.latent
    assert figures["rmse_hu"] < limit
    changes = [value for name, value in figures.items() if "change of" in name]
    assert len(changes) == (2 if domain == "x" else 0)
    assert all(change < 3.0 for change in changes)


def test_models_fit_together() -> None:
    model = SHIPPED.load_model("yang", "output", "x", sampler="cinn")
    assert isinstance(model, InvarianceModel)
    z = model.represent(torch.zeros(1, 1, 64, 64))
    assert tuple(z.shape[1:]) == model.cinn.condition_shape
    active = SHIPPED.manifest["figures"]["vae_x"]["active_dimensions"]
    assert model.facts["active_dimensions"] == active


def test_a_flow_serves_patches_of_other_sizes() -> None:
    small = SHIPPED.load_model("yang", "4", "x", sampler="flow")
    large = SHIPPED.load_model("yang", "4", "x", sampler="flow", shape=(96, 96))
    x = torch.zeros(1, 1, 96, 96)
    x[..., 40:60, 30:50] = 100.0
    z, inner = large.represent(x), small.represent(x[..., 16:80, 16:80])
    # away from the borders the guess, a convolution, is the same
    near, far = large.flow.guess(z)[..., 36:60, 36:60], small.flow.guess(inner)[..., 20:44, 20:44]
    torch.testing.assert_close(near, far, rtol=0, atol=1e-2)  # HU
    v = torch.randn(2, large.latent, generator=torch.Generator().manual_seed(1))
    assert large.generate(v, z).shape == (2, 1, 96, 96)


def test_a_cinn_serves_patches_of_other_sizes() -> None:
    small = SHIPPED.load_model("yang", "output", "x", sampler="cinn")
    large = SHIPPED.load_model("yang", "output", "x", sampler="cinn", shape=(96, 128))
    assert large.shape == large.vae.shape == (96, 128) and large.latent == 96 * 128
    x = torch.zeros(1, 1, 96, 128)
    x[..., 40:60, 30:50] = 100.0
    z, inner = large.represent(x), small.represent(x[..., 16:80, 16:80])
    # away from the borders the guess, a convolution, is the same
    far = small.cinn.guess(inner)[..., 5:11, 5:11]
    torch.testing.assert_close(large.cinn.guess(z)[..., 9:15, 9:15], far, rtol=0, atol=1e-3)
    v = torch.randn(2, large.latent, generator=torch.Generator().manual_seed(1))
    assert large.generate(v, z).shape == (2, 1, 96, 128)


def test_a_changed_file_is_refused_by_name(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED.folder, tmp_path / "set")
    path = tmp_path / "set" / "chen.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    weights = WeightSet(tmp_path / "set")
    with pytest.raises(DataError, match=r"chen\.safetensors"):
        weights.load("chen")
    weights.load("yang")


def test_a_complete_file_of_another_network_is_refused(tmp_path: Path) -> None:
    """It is sealed and loads by itself; the manifest alone tells that it is not the one."""
    for name in ("manifest.json", "yang.safetensors"):
        shutil.copy(SHIPPED.folder / name, tmp_path)
    shutil.copy(SHIPPED.folder / "yang.safetensors", tmp_path / "chen.safetensors")
    weights = WeightSet(tmp_path)
    weights.load("yang")
    with pytest.raises(DataError, match=r"not the file that was recorded .*chen\.safetensors"):
        weights.load("chen")


def test_an_unknown_network_lists_what_there_is() -> None:
    with pytest.raises(DataError, match=r"one of chen, .*got unet"):
        SHIPPED.load("unet")


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    for text in ("{}", "[1]"):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(DataError, match="not the manifest"):
            WeightSet(tmp_path).load("chen")
    with pytest.raises(DataError, match="no set of trained networks"):
        WeightSet(tmp_path / "manifest.json").load("chen")
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(DataError, match=r"manifest\.json"):
        WeightSet(tmp_path).load("chen")
