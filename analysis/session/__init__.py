"""What every command shares. Nothing heavy is imported with it."""

from .results import write_results
from .running import (
    MOST_SAMPLES,
    current,
    require_count,
    require_device,
    require_mas,
    require_out,
    running,
)
from .scene import (
    Scene,
    departures,
    draw_phantom,
    models_for,
    on_device,
    open_scene,
    weight_set,
    working_point,
)

__all__ = [
    "MOST_SAMPLES",
    "Scene",
    "current",
    "departures",
    "draw_phantom",
    "models_for",
    "on_device",
    "open_scene",
    "require_count",
    "require_device",
    "require_mas",
    "require_out",
    "running",
    "weight_set",
    "working_point",
    "write_results",
]
