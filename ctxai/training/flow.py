"""How a flow is trained: by regression of its velocity along straight paths to the images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..data import PairSampler, noise_of, pick_domain, represented
from ..precision import mixed, normal_like
from ..representation.flow import FlowMatching
from ..representation.noise_told import describe_noise
from . import parallel
from .cinn import Representation
from .loop import descend, one_cycle, set_lr

__all__ = ["FlowTask"]

_GRADIENT_NORM = 1.0
_FIT = 128  # pairs that the scales are fitted to


class FlowTask:
    r"""Train a `ctxai.representation.flow.FlowMatching` on one side of image pairs.

    .. math::
        L = \langle ‖w_θ(u_t, t, z) - (u_1 - v)‖² \rangle, \quad u_t = (1 - t) v + t u_1,
        \quad u_1 = (x - G z) / s, \quad v ∼ N(0, 1)

    The minimum is the velocity whose flow carries N(0, 1) to p(u | z) (Lipman et al., ICLR 2023).
    The times of a batch are stratified: one in each of equal parts of [0, 1]. The first step fits
    G and s.

    Parameters
    ----------
    flow : FlowMatching
    wiretap : object
        Anything with ``phi(x)``; not trained here.
    sampler : callable
        ``sampler(n, generator) -> (x, y)``, image pairs ``(n, C, H, W)``. Where they
        bring the noise of x, the flow is told of it.
    domain : "x" or "y"
        Which image of the pair to sample; z comes from x always.
    batch, steps, lr
        Batch size, number of steps of the one-cycle schedule, its highest learning rate.
    """

    def __init__(
        self,
        flow: FlowMatching,
        wiretap: Representation,
        sampler: PairSampler,
        *,
        domain: str = "x",
        batch: int = 16,
        steps: int = 1000,
        lr: float = 2e-3,
    ) -> None:
        self.flow, self.wiretap, self.sampler = flow, wiretap, sampler
        self.domain, self.batch, self.steps, self.lr = domain, batch, steps, lr
        pick_domain(("x", "y"), domain)
        self.settings = {"domain": domain, "batch": batch, "lr": lr}
        self.modules: dict[str, nn.Module] = {"flow": flow}
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "flow": torch.optim.Adam(flow.parameters(), lr=lr)
        }

    @torch.no_grad()
    def _draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor | None]:
        """Images of the domain, the representations of x, and what its noise is like."""
        pair = self.sampler(n, generator)
        image, noise = pick_domain(pair, self.domain), noise_of(pair)
        told = None if noise is None else describe_noise(noise)
        return image, represented(pair, self.wiretap.phi), told

    def step(self, index: int, generator: torch.Generator) -> dict[str, float]:
        """Take one optimiser step; logs the mean squared error of the velocity."""
        if not self.flow.fitted:
            self.flow.fit_scales(*self._draw(max(_FIT, self.batch), generator))
        image, z, told = self._draw(self.batch, generator)
        noise = normal_like(image, generator)
        offset = torch.rand(len(image), generator=generator)
        t = ((torch.arange(len(image)) + offset) / len(image)).to(image)
        image, z, noise, t = parallel.rows(image, z, noise, t)
        if told is not None:
            (told,) = parallel.rows(told)
        target = (image - self.flow.guess(z)) / self.flow.spread(told)
        share = t[:, None, None, None]
        with mixed(image):
            velocity = self.flow.velocity(
                (1 - share) * noise + share * target, t, self.flow.condition(z, told), told
            )
        loss = parallel.mean((velocity.to(image) - (target - noise)).square().mean())
        optimiser = self.optimisers["flow"]
        set_lr(optimiser, one_cycle(index, self.steps, self.lr))
        descend(optimiser, loss, largest_norm=_GRADIENT_NORM)
        return {"loss": loss.item()}
