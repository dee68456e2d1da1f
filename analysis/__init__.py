"""Where networks meet the scanner: invariances, the target domain x' = f(R⁻¹𝒫Rȳ), and reports.

Names are read from their modules when they are first used, so that `ctxai --help` does not wait
for torch.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "PRESETS": "training.presets",
    "Lesion": "lesions.lesion",
    "Recipe": "training.stages",
    "SliceScanner": "scanner.slice_scanner",
    "Study": "runs.store",
    "WorkingPoint": "data.phantom_pairs",
    "coverage": "numbers",
    "diversity_curve": "fidelity.curve",
    "export_dicom": "report.export",
    "export_figures": "report.export",
    "ideal_coverage": "numbers",
    "invariance_study": "invariances.study",
    "low_dose_slices": "scanner.low_dose",
    "phantom_pairs": "data.phantom_pairs",
    "place_patch": "scanner.slices",
    "read_run": "runs.store",
    "target_domain_study": "target_domain.study",
    "train_all": "training.recipes",
    "train_for": "training.recipes",
    "write_report": "report.page",
    "write_run": "runs.store",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
