"""
VAE + cINN against flow matching
================================

Two ways to sample what an output leaves open, for the same image: an invertible network in the code
of an autoencoder, and a flow in pixel space. Both are judged by what they change, how much they
vary, and whether the truth lies among them.
"""

import matplotlib.pyplot as plt
import torch

import recon
from analysis import coverage, ideal_coverage
from ctxai import SHIPPED, draw, near_null

geometry = recon.flash_axial()
slice_grid = recon.ImageGrid(shape=(400, 400), spacing=(1.0, 1.0))
patch_grid = recon.ImageGrid(shape=(64, 64), spacing=(1.0, 1.0), centre=(60.0, 0.0))
water = recon.mu_water(120)
hu = recon.phantom.random_slice("abdomen", seed=5, grid=slice_grid)
p = recon.operator(geometry, slice_grid)(recon.hu_to_mu(torch.from_numpy(hu), water))
photons = recon.photons_per_column(mas=10, kvp=120, geometry=geometry, slice_thickness=1.5)
fbp = recon.operator(geometry, patch_grid).fbp


def scan(seed):
    """The patch at 10 mAs [HU]."""
    noisy = recon.sample_transmission(p, photons=photons, electronic_noise=3.0, seed=seed)
    return recon.mu_to_hu(fbp(noisy, window="hann"), water)


# %%
# 24 samples of each. The share of x's pixels in the samples' 5 to 95 % band has an ideal.

x, redrawn, n = scan(1), torch.stack([scan(seed) for seed in range(2, 10)]), 24
drawn = {}
for sampler in ("cinn", "flow"):
    model = SHIPPED.load_model("yang", "output", "x", sampler=sampler).told_of(redrawn)
    drawn[sampler] = images = draw(model, x, n=n, seed=1).images
    violation = draw(model, x, n=n, seed=1).violation.median()
    seen = near_null(model.wiretap.phi, x[None, None], (images[:4] - x)[:, None], steps=20, seed=1)
    print(
        f"{sampler}: output moves {violation:.1f} HU, samples differ {images.std(0).mean():.1f} HU,"
        f" coverage {coverage(images, x):.2f} (ideal {ideal_coverage(n):.2f}),"
        f" {seen.energy.mean():.0%} of the deviation where f hardly sees"
    )

figure, axes = plt.subplots(2, 4, figsize=(11, 5.6), layout="constrained")
for row, (name, images) in zip(axes, drawn.items(), strict=True):
    for axis, image in zip(row, (x, images[0], images[1]), strict=False):
        axis.imshow(image, cmap="gray", vmin=-160, vmax=240)
    row[3].imshow(images.std(0), cmap="gray", vmin=0, vmax=60)
    for axis, title in zip(row, ("x", name, name, f"{name}: sd"), strict=True):
        axis.set_title(title)
plt.show()
