"""
The target domain: other anatomies
==================================

Sampled anatomies ȳ that should give the output f(x), each moved by what one scan of it misses of
that, are put into the slice, scanned at the same exposure and denoised again. The true anatomy,
scanned again, says how near they could be.
"""

import matplotlib.pyplot as plt
import torch

import recon
from analysis import SliceScanner, place_patch, sample_targets
from ctxai import SHIPPED

# %%
# A slice in the scanner, with a patch in which anatomy is exchanged.

grid = recon.ImageGrid(shape=(400, 400), spacing=(1.0, 1.0))
hu = recon.phantom.random_slice("abdomen", seed=3, grid=grid)
patch = place_patch(hu, grid.spacing, roi=(200, 140))
scanner = SliceScanner(
    hu, grid.spacing, kvp=120, slice_thickness=1.5, patch_grid=patch.grid, seed=1
)
x = scanner.low_dose(10)[0]

# %%
# Anatomies for the output of Chen's network: they have no noise, the scanner adds it.

model = SHIPPED.load_model("chen", "output", "y")
f = model.wiretap.f
ybar = sample_targets(model, scanner, mas=10, n=8, seed=1)


def denoised(images):
    """f of images (n, H, W)."""
    with torch.no_grad():
        return f(images[:, None])[:, 0]


# %%
# x' = f(R⁻¹𝒫Rȳ), and its distance to f(x) beside that of the true y, scanned as often.

fx = denoised(x[None])[0]
again = scanner.rescan(ybar, 10, draws=4)
xprime = denoised(again.flatten(0, 1)).unflatten(0, again.shape[:2])
null = denoised(scanner.redraw(32, 1, mas=10))
distance = (xprime - fx).square().mean((2, 3)).sqrt().mean(1)
reference = (null - fx).square().mean((1, 2)).sqrt().reshape(8, 4).mean(1)
print(f"sampled anatomies: {distance.min():.1f} to {distance.max():.1f} HU from f(x)")
print(f"the true anatomy:  {reference.min():.1f} to {reference.max():.1f} HU")

figure, axes = plt.subplots(2, 4, figsize=(11, 5.6), layout="constrained")
pictures = (
    ("y", scanner.y), ("x", x), ("f(x)", fx), ("f of y, scanned again", null[0]),
    ("ȳ", ybar[0]), ("ȳ scanned", again[0, 0]), ("x'", xprime[0, 0]), ("another ȳ", ybar[1]),
)  # fmt: skip
for axis, (name, image) in zip(axes.flat, pictures, strict=True):
    axis.imshow(image, cmap="gray", vmin=-160, vmax=240)
    axis.set_title(name)
plt.show()
