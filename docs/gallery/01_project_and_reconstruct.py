"""
Project and reconstruct
=======================

An operator is the scanner of one geometry and one grid: ``A(mu)`` gives line integrals, ``A.T`` is
the exact adjoint, and ``A.fbp`` reconstructs.
"""

import matplotlib.pyplot as plt
import torch

import recon

# %%
# A slice of a random abdomen in HU, on a grid of 2 mm pixels.

grid = recon.ImageGrid(shape=(200, 200), spacing=(2.0, 2.0))
hu = torch.from_numpy(recon.phantom.random_slice("abdomen", seed=3, grid=grid))

# %%
# Its projections on the curved detector of a Flash. The operator takes attenuation in 1/mm.

geometry = recon.flash_axial(576)
A, water = recon.operator(geometry, grid), recon.mu_water(120)
p = A(recon.hu_to_mu(hu, water))
print(geometry)
print("longest path:", float(p.max()), "=", float(p.max()) / water, "mm of water")

# %%
# Filtered backprojection. What is lost are edges finer than a pixel.

back = recon.mu_to_hu(A.fbp(p), water)
inside = hu > -300
print("rms inside the body:", float((back - hu)[inside].square().mean().sqrt()), "HU")

# %%
# The adjoint is exact: ⟨A x, q⟩ = ⟨x, Aᵀ q⟩, which iterative methods and gradients rely on.

q = torch.rand(*geometry.shape, generator=torch.Generator().manual_seed(0))
left = (A(hu).double() * q).sum()
right = (hu.double() * A.T(q)).sum()
print("adjoint off by", float(abs(left - right) / (A(hu).norm() * q.norm())))

figure, (one, two, three) = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
one.imshow(hu, cmap="gray", vmin=-160, vmax=240)
one.set_title("phantom y")
two.imshow(p, cmap="gray", aspect="auto")
two.set(title="line integrals p = R y", xlabel="column", ylabel="view")
three.imshow(back, cmap="gray", vmin=-160, vmax=240)
three.set_title("R⁻¹ p")
plt.show()
