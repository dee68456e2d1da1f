"""
Denoise, and tap the network
============================

A wiretap splits a denoiser after one of its layers: z = Φ(x) is what the layer knows of the image,
and Ψ(z) is the output again.
"""

import matplotlib.pyplot as plt
import torch

import recon
from ctxai import Wiretap, load_denoiser, taps

geometry = recon.flash_axial()
slice_grid = recon.ImageGrid(shape=(400, 400), spacing=(1.0, 1.0))
patch_grid = recon.ImageGrid(shape=(64, 64), spacing=(1.0, 1.0), centre=(-60.0, 0.0))
water = recon.mu_water(120)
hu = recon.phantom.random_slice("abdomen", seed=3, grid=slice_grid)
p = recon.operator(geometry, slice_grid)(recon.hu_to_mu(torch.from_numpy(hu), water))
photons = recon.photons_per_column(mas=10, kvp=120, geometry=geometry, slice_thickness=1.5)
noisy = recon.sample_transmission(p, photons=photons, electronic_noise=3.0, seed=1)
fbp = recon.operator(geometry, patch_grid).fbp
x, y = (recon.mu_to_hu(fbp(rays, window="hann"), water)[None, None] for rays in (noisy, p))

# %%
# Chen's network as it ships: a patch of HU goes in, a patch of HU comes out.

f, name, _ = load_denoiser("chen")
with torch.no_grad():
    fx = f(x)
print("error before:", float((x - y).square().mean().sqrt()), "HU")
print("error after: ", float((fx - y).square().mean().sqrt()), "HU")

# %%
# Its layers: what each gives, and how many pixels of the image it sees.

for tap in taps(f):
    print(tap)

# %%
# After layer 2: z, and the output from z alone.

tapped = Wiretap(f, 2)
with torch.no_grad():
    z = tapped.phi(x)
    print("Ψ(Φ(x)) is f(x):", bool((tapped.psi(z) == fx).all()), "z:", tuple(z.shape))

figure, axes = plt.subplots(1, 4, figsize=(12, 3.2), layout="constrained")
pictures = {
    "y": y[0, 0],
    "x at 10 mAs": x[0, 0],
    "f(x)": fx[0, 0],
    "one map of z": z[0, z[0].std((1, 2)).argmax()],
}
for axis, (name, image) in zip(axes, pictures.items(), strict=True):
    limits = {} if name.startswith("one") else {"vmin": -160, "vmax": 240}
    axis.imshow(image, cmap="gray", **limits)
    axis.set_title(name)
plt.show()
