"""
A slice at 10 mAs
=================

Noise is made where it comes from: quanta are counted in each ray. The exposure on the console says
how many there are, and the image follows.
"""

import matplotlib.pyplot as plt
import torch

import recon

geometry = recon.flash_axial()
grid = recon.ImageGrid(shape=(200, 200), spacing=(2.0, 2.0))
A, water = recon.operator(geometry, grid), recon.mu_water(120)
hu = torch.from_numpy(recon.phantom.random_slice("abdomen", seed=3, grid=grid))
p = A(recon.hu_to_mu(hu, water))


# %%
# Quanta of each column without an object: the bowtie lets fewer pass at the edges.


def scanned(mas, seed=1):
    """The slice at an exposure [HU]."""
    photons = recon.photons_per_column(mas=mas, kvp=120, geometry=geometry, slice_thickness=1.5)
    noisy = recon.sample_transmission(p, photons=photons, electronic_noise=3.0, seed=seed)
    return recon.mu_to_hu(A.fbp(noisy, window="hann"), water), photons


# %%
# The noise of an image falls with the square root of the exposure, until electronic noise adds
# to it.

noise = {}
for mas in (200, 50, 10, 2):
    image, photons = scanned(mas)
    noise[mas] = float((image - scanned(mas, seed=2)[0])[80:120, 80:120].std() / 2**0.5)
    starved = recon.starved_rays(p, photons=photons, electronic_noise=3.0)
    print(f"{mas:4} mAs: {photons.max():9.0f} quanta, {noise[mas]:6.1f} HU, {starved:.2%} starved")

figure, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
for axis, mas in zip(axes, (200, 10), strict=False):
    axis.imshow(scanned(mas)[0], cmap="gray", vmin=-160, vmax=240)
    axis.set_title(f"{mas} mAs: {noise[mas]:.0f} HU of noise")
axes[2].loglog(noise.keys(), noise.values(), "o-", label="measured")
law = [noise[200] * (200 / mas) ** 0.5 for mas in noise]
axes[2].loglog(noise.keys(), law, "--", label="mAs$^{-1/2}$")
axes[2].set(xlabel="exposure [mAs]", ylabel="noise [HU]")
axes[2].legend()
plt.show()
