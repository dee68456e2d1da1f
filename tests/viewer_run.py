"""A run to look at: studies of noise that is different in every image."""

import numpy as np

from analysis.runs.store import Study

# HU: half of the step that images are kept in; whole numbers are kept as they are
KEPT = 0.05 + 1e-9
ROWS, COLS, SAMPLES = 12, 16, 5  # not square, so that rows and columns cannot be exchanged
SPACING = (1.5, 1.0)


def made(kind, mas, seed, *, shape=(ROWS, COLS), samples=SAMPLES):
    """A study of noise that is different in every array."""
    noise = np.random.default_rng(seed)
    images = lambda *n: noise.normal(20, 60, (*n, *shape)).astype(np.float32)
    verdict = {
        "kind": "not_invariances", "holds": False, "spread": "right", "layer": "output",
        "label": "no", "sentence": f"No, at {mas:g}.", "reasons": ["why"],
    }  # fmt: skip
    study = Study(kind, "chen", mas, {})
    study.facts = {
        "layers": ["4", "output"], "n": samples, "draws": 2,
        "scan": {
            "kvp": 120.0, "views": 1152, "slice_thickness_mm": 1.5, "quanta_at_centre": 31000.0,
            "starved_share": 0.0, "backend": "numba", "backend_reason": "CPU",
        },
        "patch": {
            "shape": list(shape), "spacing_mm": list(SPACING), "centre_mm": [3.0, -4.5],
            "slice_spacing_mm": [2.0, 2.0], "slice_number": 0,
        },
    }  # fmt: skip
    study.arrays = {"slice": np.arange(-1000, 1000, dtype=np.float32).reshape(40, 50)}
    study.arrays |= {name: images() for name in ("y", "x", "fx")}
    if kind == "target-domain":
        study.facts["verdict"] = verdict
        study.arrays |= {
            "ybar": images(samples), "rescanned": images(samples), "xprime": images(samples, 2),
            "distance": noise.uniform(1, 9, (samples, 2)), "null_distance": np.ones((3, 2)),
        }  # fmt: skip
    else:
        study.facts["verdicts"] = {
            f"{layer}, plain": {**verdict, "layer": layer, "projected": False}
            for layer in ("4", "output")
        }
        study.arrays["redrawn_distance"] = np.ones(3)
        for layer in ("4", "output"):
            study.arrays |= {
                f"layer-{layer}/plain": images(samples),
                f"layer-{layer}/plain_output": images(samples),
                f"layer-{layer}/plain_distance": noise.uniform(1, 9, samples),
            }
    return study


def with_compatibility(study):
    """The study with a test of compatibility: three ȳ pass, of which ȳ 4 differs most from y."""
    study.arrays["compatibility_p"] = np.full(study.facts["n"], 0.002, np.float32)
    study.arrays["compatibility_p"][:4] = 0.2, 0.43, 0.05, 0.9
    study.facts["compatibility"] = {
        "alpha": 0.05, "null_draws": 199, "draws": 2, "compatible_share": 3 / study.facts["n"],
        "power": 0.025, "power_scans": 40, "most_different": [3, 1, 0],
    }  # fmt: skip
    return study


def four_studies():
    """Invariances of two layers, and target domains at three exposures, the last one tested."""
    return [
        made("invariances", 10.0, 1), made("target-domain", 5.0, 2),
        made("target-domain", 10.0, 3), with_compatibility(made("target-domain", 100.0, 4)),
    ]  # fmt: skip
