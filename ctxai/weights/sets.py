"""The trained networks that ship with the project, and sets of the same shape made by training.

A set is a folder: one safetensors file a network, and a `manifest.json` with the digest of each
file, the recipe they were trained with and the figures measured on held-out images. A file whose
digest differs from the manifest is refused before a network is built from it. Torch is loaded with
the first network: what a set holds is told without it.

    chen.safetensors               denoiser f
    vae_x.safetensors              representation of low-dose images (vae_y: of high-dose images)
    cinn-chen-output-x.safetensors cINN of f's layer, in the latents of VAE_x
    flow-chen-output-x.safetensors flow matching for the same layer, of low-dose images
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recon.errors import DataError
from recon.storage import digest_files, read_json, write_json

if TYPE_CHECKING:
    from ..sampling.model import Model

__all__ = [
    "SAMPLERS",
    "SHIPPED",
    "WeightSet",
    "autoencoder_facts",
    "cinn_name",
    "flow_name",
    "load",
    "load_model",
    "sampler_name",
    "vae_name",
]

SAMPLERS = ("cinn", "flow")
"""VAE + cINN, the better one after the output, and flow matching, the better one inside.

Measured in docs/samplers.md: the cINN is calibrated and has anatomies without noise; after layers
inside, the flow keeps what they represent more closely.
"""


def vae_name(domain: str) -> str:
    """File stem of the VAE of a domain, "x" (low dose) or "y" (high dose)."""
    return f"vae_{domain}"


def cinn_name(denoiser: str, layer: str, domain: str) -> str:
    """File stem of the cINN of a denoiser's layer in a domain's latents.

    Parameters
    ----------
    denoiser : str
        Name of f.
    layer : str
        Canonical layer.
    domain : {"x", "y"}
        Samples of the low-dose image, or of the high-dose image.

    Returns
    -------
    str
    """
    return f"cinn-{denoiser}-{layer}-{domain}"


def flow_name(denoiser: str, layer: str, domain: str) -> str:
    """File stem of the flow of a denoiser's layer, for images of a domain.

    Parameters
    ----------
    denoiser : str
        Name of f.
    layer : str
        Canonical layer.
    domain : {"x", "y"}
        Samples of the low-dose image, or of the high-dose image.

    Returns
    -------
    str
    """
    return f"flow-{denoiser}-{layer}-{domain}"


def sampler_name(sampler: str, denoiser: str, layer: str, domain: str) -> str:
    """File stem of the network trained for a layer, "flow" or "cinn".

    Parameters
    ----------
    sampler : {"flow", "cinn"}
        Which of :data:`SAMPLERS`.
    denoiser : str
        Name of f.
    layer : str
        Canonical layer.
    domain : {"x", "y"}
        Samples of the low-dose image, or of the high-dose image.

    Returns
    -------
    str
    """
    if sampler not in SAMPLERS:
        raise DataError(
            "no such sampler", where="sampler", expected=" or ".join(SAMPLERS), got=sampler
        )
    return (flow_name if sampler == "flow" else cinn_name)(denoiser, layer, domain)


def autoencoder_facts(known: Mapping[str, Any]) -> dict[str, Any]:
    """What a model should know of its autoencoder, from the facts of that file.

    Parameters
    ----------
    known : mapping
        Facts that were saved with the autoencoder.

    Returns
    -------
    dict

    Examples
    --------
    >>> from ctxai import SHIPPED, autoencoder_facts
    >>> autoencoder_facts(SHIPPED.load("vae_x")[1])
    {'active_dimensions': 4096}
    """
    active = known.get("figures", {}).get("active_dimensions")
    return {} if active is None else {"active_dimensions": active}


class WeightSet:
    """Trained networks in a folder with a manifest.

    Parameters
    ----------
    folder : path
        Where the files and `manifest.json` lie.

    Raises
    ------
    DataError
        If the folder or its manifest is missing, a network is not in the set, or a file's
        digest differs from the manifest.

    Examples
    --------
    >>> from ctxai import SHIPPED
    >>> f, facts = SHIPPED.load("chen")
    >>> facts["spacing_mm"]
    1.0
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @property
    def manifest(self) -> dict[str, Any]:
        """Digests, recipe and figures."""
        path = self.folder / "manifest.json"
        remedy = "name a folder that `ctxai train` left, without --denoiser"
        if not path.is_file():
            raise DataError(
                "no set of trained networks",
                where=self.folder,
                expected="a folder with manifest.json",
                remedy=remedy,
            )
        found = read_json(path)
        if not isinstance(found, dict) or not {"recipe", "figures", "sha256"} <= found.keys():
            raise DataError("not the manifest of trained networks", where=path, remedy=remedy)
        return found

    @property
    def names(self) -> list[str]:
        """Networks in the set."""
        return sorted(self.manifest["sha256"])

    def __contains__(self, name: str) -> bool:
        return name in self.manifest["sha256"]

    def load(self, name: str) -> tuple[Any, dict[str, Any]]:
        """One network, in evaluation mode and without gradients, and the facts saved with it."""
        import torch

        from ..files.modules import load_module

        digests = self.manifest["sha256"]
        if name not in digests:
            raise DataError(
                "no such trained network",
                where=self.folder,
                expected=f"one of {', '.join(sorted(digests))}",
                got=name,
            )
        module: Any
        module, facts = load_module(self.folder / f"{name}.safetensors", digest=digests[name])
        # convolutions are up to a fifth faster on a CPU with channels innermost
        module = module.to(memory_format=torch.channels_last)
        return module.eval().requires_grad_(False), facts

    def best_sampler(self, denoiser: str, layer: str, domain: str) -> str | None:
        """The better of :data:`SAMPLERS` that the set holds for a layer, if it holds one."""
        order = SAMPLERS if layer == "output" else SAMPLERS[::-1]
        names = (sampler_name(sampler, denoiser, layer, domain) for sampler in order)
        return next((sampler for sampler, name in zip(order, names) if name in self), None)

    def load_model(
        self,
        denoiser: str,
        layer: str,
        domain: str,
        *,
        f: Any = None,
        sampler: str | None = None,
        shape: tuple[int, int] | None = None,
    ) -> Model:
        """A denoiser's layer with its trained sampler, ready to be sampled.

        Parameters
        ----------
        denoiser : str
            Name in the set, "chen" or "yang".
        layer : str
            Canonical layer, such as "1" or "output".
        domain : {"x", "y"}
            Samples of the low-dose image, or of the high-dose image.
        f : callable, optional
            The denoiser itself; loaded from the set when not given.
        sampler : {"flow", "cinn"}, optional
            Flow matching, or VAE and cINN; the better one that the set holds by default.
        shape : (rows, cols), optional
            Size of the images, that of the training by default; other multiples of 8 as well.
        """
        from ..sampling.model import FlowModel, InvarianceModel
        from ..wiretap.wiretap import Wiretap

        if f is None:
            f, _ = self.load(denoiser)
        if sampler is None:
            sampler = self.best_sampler(denoiser, layer, domain) or "cinn"
        network, facts = self.load(sampler_name(sampler, denoiser, layer, domain))
        facts = {**facts, "weights": facts.get("recipe", self.manifest["recipe"]["name"])}
        wiretap = Wiretap(f, layer)
        model: Model
        if sampler == "flow":
            model = FlowModel(wiretap=wiretap, flow=network, domain=domain, facts=facts)
        else:
            vae, known = self.load(vae_name(domain))
            facts |= autoencoder_facts(known)
            model = InvarianceModel(
                wiretap=wiretap, vae=vae, cinn=network, domain=domain, facts=facts
            )
        return model if shape is None else model.resized(shape)

    def seal(self, *, recipe: dict[str, Any], figures: dict[str, Any]) -> None:
        """Write the manifest over the files that lie in the folder."""
        digests = digest_files(sorted(self.folder.glob("*.safetensors")))
        write_json(
            self.folder / "manifest.json",
            {
                "recipe": recipe,
                "figures": figures,
                "sha256": {Path(name).stem: digest for name, digest in digests.items()},
            },
        )


SHIPPED = WeightSet(Path(__file__).parent)
"""The networks that come with the project."""

load = SHIPPED.load
load_model = SHIPPED.load_model
