"""Denoisers, complete representations of their images, and what a layer is invariant to.

    f = Ψ∘Φ               Wiretap(f, layer)            z = Φ(x), what the layer represents
    z̄ = E(x), x = D(z̄)    VAE                          all there is to represent
    v = t(z̄ | z)          ConditionalINN               what z leaves open, v ~ N(0, 1)
    x̄ = D(t⁻¹(v | z))     sample_invariances           other images of the same z
    x̄ ~ p(x | z)          FlowMatching                 the same, in pixels and without a latent

Not tied to CT: images have a unit, and physics comes in as a callable that redraws the noise.
"""

from . import denoisers
from .data import PatchPairs
from .denoisers import Chen, Yang
from .eulig2024.task import VAEGANTask
from .eulig2024.vae import EuligVAE
from .files.modules import load_module, save_module
from .representation.cinn import ConditionalINN
from .representation.flow import FlowMatching
from .representation.vae import VAE, active_dimensions
from .sampling.draw import Samples, draw, sample_invariances
from .sampling.fibre import FibreResult, project_to_fibre
from .sampling.model import InvarianceModel
from .sampling.near_null import NearNull, near_null
from .training.cinn import INNTask
from .training.critic import Critic
from .training.denoiser import SupervisedTask, WganVggTask
from .training.features import VGG19Features
from .training.flow import FlowTask
from .training.loop import Task, train
from .training.repair import RepairTask
from .training.vae import VAETask
from .weights.load import load_denoiser
from .weights.published import load_ldct_benchmark
from .weights.sets import SHIPPED, WeightSet
from .wiretap.wiretap import Wiretap

__all__ = [
    "SHIPPED",
    "VAE",
    "Chen",
    "ConditionalINN",
    "Critic",
    "EuligVAE",
    "FibreResult",
    "FlowMatching",
    "FlowTask",
    "INNTask",
    "InvarianceModel",
    "NearNull",
    "PatchPairs",
    "RepairTask",
    "Samples",
    "SupervisedTask",
    "Task",
    "VAEGANTask",
    "VAETask",
    "VGG19Features",
    "WeightSet",
    "WganVggTask",
    "Wiretap",
    "Yang",
    "active_dimensions",
    "denoisers",
    "draw",
    "load_denoiser",
    "load_ldct_benchmark",
    "load_module",
    "near_null",
    "project_to_fibre",
    "sample_invariances",
    "save_module",
    "train",
]
