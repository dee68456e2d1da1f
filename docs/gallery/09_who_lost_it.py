"""
A lesion down the staircase of d'
=================================

How well could one tell a slice with a lesion from one without? In the rays at full dose, in the
rays at 10 mAs, in the image, and in the output of the network: d' falls from step to step.
"""

import matplotlib.pyplot as plt

import recon
from analysis import Lesion, SliceScanner, place_patch
from analysis.projection_domain.pair import Pair
from ctxai import load_denoiser

grid = recon.ImageGrid(shape=(400, 400), spacing=(1.0, 1.0))
hu = recon.phantom.random_slice("abdomen", seed=3, grid=grid)
patch = place_patch(hu, grid.spacing, shape=(40, 40), roi=(200, 140)).grid
turn = recon.flash_axial(288)  # a quarter of the views, each with four times the quanta
scanner = SliceScanner(
    hu, grid.spacing, kvp=120, slice_thickness=1.5, patch_grid=patch, geometry=turn, seed=1
)

# %%
# A lesion of 20 HU and 3 mm in the middle of the patch, and all that is known of the difference.

lesion = Lesion(contrast=20.0, radius=3.0, place=patch.centre)
pair = Pair(scanner, scanner.y + lesion.on(patch))

# %%
# d' at 200 and at 10 mAs, for a reader who cannot tell 1 HU apart. The first part is the whole
# difference; the others are bands of it.

f, _, _ = load_denoiser("chen")
whole, mas, x = slice(0, 1), 10.0, scanner.low_dose(10)[0]
stages = {
    "rays, 200 mAs": pair.before(200.0)[0],
    "rays, 10 mAs": pair.before(mas)[0],
    "image": pair.after_reconstruction(mas, [1.0], parts=whole)[0, 0],
    "output": pair.after_network(f, x, mas, [1.0], parts=whole)[0, 0],
}
for name, d in stages.items():
    print(f"{name:14} d' = {d:.2f}")

figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
axes[0].imshow(scanner.y + lesion.on(patch), cmap="gray", vmin=-60, vmax=140)
axes[0].set_title("y with a lesion of 20 HU")
axes[1].imshow(x, cmap="gray", vmin=-160, vmax=240)
axes[1].set_title("x at 10 mAs")
axes[2].bar(range(4), stages.values(), color=["0.7", "tab:blue", "tab:blue", "tab:orange"])
axes[2].axhline(2.77, color="black", linestyle="--", linewidth=0.8)
axes[2].set_xticks(range(4), [name.replace(", ", "\n") for name in stages])
axes[2].set(title="2.77 is detection", ylabel="d'")
plt.show()
