"""
Sample invariances, and move them onto the fibre
================================================

Other low-dose images that should give the same output. Plain samples come close; projected ones
keep the output to within a tolerance, by Gauss–Newton steps along the gradients of f.
"""

import matplotlib.pyplot as plt
import torch

import recon
from ctxai import SHIPPED, draw

geometry = recon.flash_axial()
slice_grid = recon.ImageGrid(shape=(400, 400), spacing=(1.0, 1.0))
patch_grid = recon.ImageGrid(shape=(64, 64), spacing=(1.0, 1.0), centre=(-60.0, 0.0))
water = recon.mu_water(120)
hu = recon.phantom.random_slice("abdomen", seed=3, grid=slice_grid)
p = recon.operator(geometry, slice_grid)(recon.hu_to_mu(torch.from_numpy(hu), water))
photons = recon.photons_per_column(mas=10, kvp=120, geometry=geometry, slice_thickness=1.5)
fbp = recon.operator(geometry, patch_grid).fbp


def scan(seed):
    """The patch at 10 mAs [HU]."""
    noisy = recon.sample_transmission(p, photons=photons, electronic_noise=3.0, seed=seed)
    return recon.mu_to_hu(fbp(noisy, window="hann"), water)


# %%
# The sampler that ships for the output of Chen's network, told of the noise of this scan.

x, redrawn = scan(1), torch.stack([scan(seed) for seed in range(2, 10)])
model = SHIPPED.load_model("chen", "output", "x").told_of(redrawn)
f = model.wiretap.f
plain = draw(model, x, n=16, seed=1)
projected = draw(model, x, n=16, tolerance_hu=3.0, seed=1)

# %%
# How far each moves the output, beside what new noise alone does.

with torch.no_grad():
    change = f(redrawn[:, None]) - f(x[None, None])
print("redrawn noise:", change.square().mean((1, 2, 3)).sqrt().median().item(), "HU")
print("plain:        ", plain.violation.median().item(), "HU")
print("projected:    ", projected.violation.max().item(), "HU at most")
print("they differ by", projected.images.std(0).square().mean().sqrt().item(), "HU")

figure, axes = plt.subplots(2, 4, figsize=(11, 5.6), layout="constrained")
with torch.no_grad():
    rows = {
        "x": x,
        "plain": plain.images[0],
        "projected": projected.images[0],
        "redrawn": redrawn[0],
    }
    for k, (name, image) in enumerate(rows.items()):
        axes[0, k].imshow(image, cmap="gray", vmin=-160, vmax=240)
        axes[0, k].set_title(name)
        axes[1, k].imshow(f(image[None, None])[0, 0], cmap="gray", vmin=-160, vmax=240)
        axes[1, k].set_title(f"f({name})")
plt.show()
