"""Denoisers, complete representations of their images, and what a layer is invariant to.

    f = Ψ∘Φ               Wiretap(f, layer)            z = Φ(x), what the layer represents
    z̄ = E(x), x = D(z̄)    VAE                          all there is to represent
    v = t(z̄ | z)          ConditionalINN               what z leaves open, v ~ N(0, 1)
    x̄ = D(t⁻¹(v | z))     sample_invariances           other images of the same z
    x̄ ~ p(x | z)          FlowMatching                 the same, in pixels and without a latent

Not tied to CT: images have a unit, and physics comes in as a callable that redraws the noise.
"""

from typing import Any

import lazy_loader

_load, __dir__, _ = lazy_loader.attach_stub(__name__, __file__)  # no __all__: help() would be pages


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from recon.storage import version

        return version()
    return _load(name)
