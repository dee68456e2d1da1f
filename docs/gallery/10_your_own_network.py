"""
Your own network
================

Any function of images in HU can be asked. Here a bilateral-like mean of 5 × 5 pixels, brought as
TorchScript: it is tried on tissues of known HU first, and its fibre is looked for without a trained
sampler, by moving scans of the same anatomy onto it.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch

import recon
from ctxai import load_denoiser, project_to_fibre


class Mean(torch.nn.Module):
    """A weighted mean of 5 × 5 pixels, heavier where the numbers are alike."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1, H, W) [HU] to the same."""
        around = torch.nn.functional.pad(x, (2, 2, 2, 2), mode="replicate")
        near = around.unfold(2, 5, 1).unfold(3, 5, 1).flatten(-2)
        weight = torch.exp(-((near - x.unsqueeze(-1)) / 80.0).square())
        return (weight * near).sum(-1) / weight.sum(-1)


# %%
# The command line takes the same file: ``ctxai target-domain --denoiser mean.pt …``

path = Path(tempfile.mkdtemp()) / "mean.pt"
torch.jit.save(torch.jit.script(Mean()), path)
f, name, _ = load_denoiser(str(path))

# %%
# Nine scans of one anatomy: the first is x, the others are moved until f gives f(x) to 3 HU.

geometry, water = recon.flash_axial(), recon.mu_water(120)
slice_grid = recon.ImageGrid(shape=(400, 400), spacing=(1.0, 1.0))
patch_grid = recon.ImageGrid(shape=(48, 48), spacing=(1.0, 1.0), centre=(-60.0, 0.0))
hu = torch.from_numpy(recon.phantom.random_slice("abdomen", seed=3, grid=slice_grid))
p = recon.operator(geometry, slice_grid)(recon.hu_to_mu(hu, water)).repeat(9, 1, 1)
photons = recon.photons_per_column(mas=25, kvp=120, geometry=geometry, slice_thickness=1.5)
p = recon.sample_transmission(p, photons=photons, electronic_noise=3.0, seed=1)
fbp = recon.operator(geometry, patch_grid).fbp
scans = recon.mu_to_hu(fbp(p, window="hann"), water)[:, None]
x, fx = scans[:1], f(scans[:1])
found = project_to_fibre(f, scans[1:], fx, tolerance=torch.tensor(3.0), anchor=x)

before = (f(scans[1:]) - fx).square().mean((1, 2, 3)).sqrt()
print(f"{name}: other scans move the output by {before.mean():.1f} HU,")
print(f"moved onto the fibre by {found.residual.max():.1f} HU at most; they differ from x by")
print((found.x - x).square().mean().sqrt().item(), "HU")

figure, axes = plt.subplots(1, 4, figsize=(12, 3.2), layout="constrained")
pictures = {"x": x, "f(x)": fx, "on the fibre": found.x[:1], "f of it": f(found.x[:1])}
for axis, (title, image) in zip(axes, pictures.items(), strict=True):
    axis.imshow(image[0, 0].detach(), cmap="gray", vmin=-160, vmax=240)
    axis.set_title(title)
plt.show()
