from .kernels import FLOOR_QUANTA as FLOOR_QUANTA
from .noise import ELECTRONIC_NOISE as ELECTRONIC_NOISE
from .noise import insert_noise as insert_noise
from .noise import sample_transmission as sample_transmission
from .noise import starved_rays as starved_rays
