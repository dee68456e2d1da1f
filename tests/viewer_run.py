"""A run to look at: studies of noise that is different in every image."""

import numpy as np

from analysis.run_store import Study

# HU: half of the step that images are kept in; whole numbers are kept as they are
KEPT = 0.05 + 1e-9
ROWS, COLS, SAMPLES = 12, 16, 5  # not square, so that rows and columns cannot be exchanged
SPACING = (1.5, 1.0)


def made(kind, mas, seed):
    """A study of noise that is different in every array."""
    noise = np.random.default_rng(seed)
    images = lambda *n: noise.normal(20, 60, (*n, ROWS, COLS)).astype(np.float32)
    verdict = {"label": "no", "holds": False, "sentence": f"No, at {mas:g}.", "reasons": ["why"]}
    study = Study(kind, "chen", mas, {})
    study.facts = {
        "layers": ["4", "output"], "n": SAMPLES, "draws": 2,
        "scan": {
            "kvp": 120.0, "views": 1152, "slice_thickness_mm": 1.5, "quanta_at_centre": 31000.0,
            "starved_share": 0.0, "backend": "numba", "backend_reason": "CPU",
        },
        "patch": {
            "shape": [ROWS, COLS], "spacing_mm": list(SPACING), "centre_mm": [3.0, -4.5],
            "slice_spacing_mm": [2.0, 2.0], "slice_number": 0,
        },
    }  # fmt: skip
    study.arrays = {"slice": np.arange(-1000, 1000, dtype=np.float32).reshape(40, 50)}
    study.arrays |= {name: images() for name in ("y", "x", "fx")}
    if kind == "target-domain":
        study.facts["verdict"] = verdict
        study.arrays |= {
            "ybar": images(SAMPLES), "rescanned": images(SAMPLES), "xprime": images(SAMPLES, 2),
            "distance": noise.uniform(1, 9, (SAMPLES, 2)), "null_distance": np.ones((3, 2)),
        }  # fmt: skip
    else:
        study.facts["verdicts"] = {"4, plain": verdict, "output, plain": verdict}
        study.arrays["redrawn_distance"] = np.ones(3)
        for layer in ("4", "output"):
            study.arrays |= {
                f"layer-{layer}/plain": images(SAMPLES),
                f"layer-{layer}/plain_output": images(SAMPLES),
                f"layer-{layer}/plain_distance": noise.uniform(1, 9, SAMPLES),
            }
    return study


def four_studies():
    """One study of invariances of two layers, and target-domain studies at three exposures."""
    return [
        made("invariances", 10.0, 1), made("target-domain", 5.0, 2),
        made("target-domain", 10.0, 3), made("target-domain", 100.0, 4),
    ]  # fmt: skip
