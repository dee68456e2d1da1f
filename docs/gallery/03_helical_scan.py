"""
A helical scan with a flying focal spot
=======================================

From view to view the focal spot jumps along z, so that the rows of two views lie between each
other. The reconstruction has to know where each view's spot was.
"""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

import recon
from recon.phantom import body

water = recon.mu_water(120)
helix = recon.flash_helical(length=66.0, views_per_rotation=240, focal_spot="FFSZ")
print(helix)

# %%
# A coarse detector keeps this example short: one column for every two. An exact scan of a thorax
# made of ellipsoids; nothing is computed until views are asked for.

helix = replace(helix, n_cols=368, col_pitch=2 * helix.col_pitch, col_offset=helix.col_offset / 2)
scan = recon.simulate_scan(
    body("thorax", water).views(helix), helix, mas=100, kvp=120, mu_water=water,
    name="thorax", seed=1,
)  # fmt: skip

# %%
# The same slice with the flight, at a tenth of the dose, and as if the spot had been at rest.

grid = recon.ImageGrid(shape=(128, 128), spacing=(3.0, 3.0))
low, high = recon.covered(helix, grid)
print(f"slices from {low:.1f} to {high:.1f} mm")
z = [(low + high) / 2]
asleep = replace(helix, shift_z=np.zeros_like(helix.shift_z))


def slice_of(scan):
    """One slice of 2 mm [HU]."""
    return recon.reconstruct(scan, grid=grid, z=z, slice_thickness=2.0)[0]


images = {
    "flight known": slice_of(scan),
    "10 mAs": slice_of(recon.at_dose(scan, mas=10, seed=1)),
    "flight ignored": slice_of(replace(scan, geometry=asleep)),
}

figure, axes = plt.subplots(1, 4, figsize=(13, 3.4), layout="constrained")
for axis, (name, image) in zip(axes, images.items(), strict=False):
    axis.imshow(image, cmap="gray", vmin=-200, vmax=200)
    axis.set_title(name)
gap = images["flight ignored"] - images["flight known"]
axes[3].imshow(gap, cmap="gray", vmin=-40, vmax=40)
axes[3].set_title(f"ignored - known: {np.sqrt(np.mean(gap**2)):.1f} HU")
plt.show()
