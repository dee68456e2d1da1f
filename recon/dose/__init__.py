"""The dose 𝒫: quantum and electronic noise in the projections, at any exposure."""

from .kernels import FLOOR_QUANTA
from .noise import ELECTRONIC_NOISE, insert_noise, sample_transmission, starved_rays

__all__ = [
    "ELECTRONIC_NOISE",
    "FLOOR_QUANTA",
    "insert_noise",
    "sample_transmission",
    "starved_rays",
]
