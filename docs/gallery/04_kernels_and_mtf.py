"""
Kernels of the reconstruction, and their MTF
============================================

A window of the ramp filter trades resolution for noise. A clinical kernel is asked for by the
resolution that its images should have; any function of f/f_nyquist is taken as well.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

import recon

geometry = recon.flash_axial()
grid = recon.ImageGrid(shape=(128, 128), spacing=(0.2, 0.2))
A = recon.operator(geometry, grid)

# %%
# The line integrals of a thin wire are known exactly; the mean over nine rays is what a column of
# the detector measures. The spectrum of the wire's image is the MTF.

wire = recon.phantom.Ellipse(centre=(0.0, 0.0), axes=(0.15, 0.15), angle=0.0, value=1.0)
exact = recon.phantom.EllipsePhantom([wire]).line_integrals(geometry, subrays=9)
p = torch.from_numpy(np.asarray(exact, dtype=np.float32))
kernels = {
    "ram-lak": "ram-lak",
    "hann": "hann",
    "smooth (B30)": "smooth",
    "sharp (D45)": "sharp",
    "own: 1 - f²/2": lambda f: 1 - f**2 / 2,
}


def mtf(image):
    """MTF along x at 0, 0.26, 0.52 … lp/cm."""
    spectrum = np.abs(np.fft.rfft(image.sum(0)))
    return spectrum / spectrum[0]


frequency = 10 * np.fft.rfftfreq(grid.shape[1], grid.spacing[1])
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for name, kernel in kernels.items():
    image = A.fbp(p, window=kernel).numpy()
    curve = mtf(image)
    k = np.argmax(curve < 0.1)  # the first below, and the one before
    ten = np.interp(0.1, curve[[k, k - 1]], frequency[[k, k - 1]])
    print(f"{name:14} 10 % MTF at {ten:.1f} lp/cm")
    left.plot(frequency, curve, label=name)
    right.plot(grid.x, image[64] / image.max(), label=name)
left.axhline(0.1, color="grey", linewidth=0.8)
left.set(xlim=(0, 12), xlabel="spatial frequency [lp/cm]", ylabel="MTF")
right.set(xlim=(-3, 3), xlabel="x [mm]", ylabel="profile of the wire")
left.legend()
plt.show()
