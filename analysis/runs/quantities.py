"""The table of all quantities in metrics.csv: identifier, name, unit, what it should be, meaning.

Identifiers are stable: programs find numbers by them. The other texts are for readers; {fields} in
them are filled with what is known of a row: its number of samples, its limit, its interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..numbers import NOISE_BANDS

__all__ = ["BANDS", "BY_ID", "PARTS", "QUANTITIES", "STAGES", "VERDICT", "Quantity"]

VERDICT = "verdict"
"""Identifier of a row that says in words what the other rows of its samples come to."""

STAGES = ("full_dose", "rays", "image", "output")
"""Where d' is taken: the rays at full dose and at the study's, the image, the denoised image."""

BANDS = 5
PARTS = ("whole", "coarse", *(f"band_{k + 1}" for k in range(BANDS)))
"""Parts of a difference: the whole, what is coarser than 2 mm, and bands that add up to it."""


@dataclass(frozen=True)
class Quantity:
    """One line of the table."""

    id: str
    name: str
    unit: str
    should_be: str
    meaning: str

    def texts(self, *, reference: bool, **fields: Any) -> dict[str, str]:
        """The texts of a row, with its fields filled in.

        Parameters
        ----------
        reference : bool
            The row is no result but what results are held against.
        fields
            What the texts name in braces.
        """
        fields["of"] = "draws" if reference else "samples"
        should_be = "the reference" if reference else self.should_be.format(**fields)
        return {
            "quantity": self.name.format(**fields),
            "unit": self.unit,
            "should_be": should_be,
            "meaning": self.meaning.format(**fields),
        }


def _spread(id: str, name: str, should_be: str, meaning: str) -> list[Quantity]:
    """Median, smallest and largest of a distance over samples."""
    return [
        Quantity(f"{id}_{what}", f"{name}, {what}", "HU", should_be, meaning.replace("WHAT", what))
        for what in ("median", "smallest", "largest")
    ]


_REFERENCE = "the reference"
_ALIKE = "above 0: 0 means that the samples are all the same"
_OVER_SAMPLES = "rms over pixels of the standard deviation over samples"
_COVERED = "share of pixels; the ideal for {n} samples"
_LATENTS = "v of {count} scans with fresh noise, each with its own z"
_IDEAL = "whole ȳ - y, ideal observer, τ = {tau:g} HU"

_SCAN = [
    Quantity(
        "scan_error", "‖x - y‖", "HU", "the noise of the scan",
        "distance of the low-dose image from y",
    ),
    Quantity("output_error", "‖f(x) - y‖", "HU", "below ‖x - y‖", "distance of the output from y"),
]  # fmt: skip

_INVARIANCES = [
    *_spread(
        "redrawn_change", "‖f(x redrawn) - f(x)‖", _REFERENCE,
        "change of the output by {count} fresh draws of the noise alone",
    ),
    Quantity(
        "redrawn_sd", "sd of x redrawn", "HU", _REFERENCE, "spread of the scans of one anatomy"
    ),
    *_spread(
        "output_change", "‖f(x̄) - f(x)‖", "at most {limit:.1f} HU",
        "change of the output, over {count} samples",
    ),
    Quantity(
        "layer_change", "‖Φ(x̄) - z‖ relative to redrawn noise, median", "1", "at most {limit:g}",
        "change of what the layer represents, against fresh draws of the noise",
    ),
    Quantity("sample_sd", "sd of x̄", "HU", _ALIKE, _OVER_SAMPLES),
    Quantity("coverage_of_x", "coverage of x by the 5–95 % band", "1", "{ideal:.3f}", _COVERED),
    Quantity(
        "samples_pulled", "samples pulled towards x", "samples", "0",
        "where the iteration alone did not reach the tolerance",
    ),
    Quantity(
        "near_null_dimension", "near-null dimension", "dimensions",
        "of {entries}; near 0 the layer is as good as injective",
        "directions that J stretches by less than a tenth of its most, estimated",
    ),
    Quantity(
        "near_null_energy", "near-null energy of x̄ - x", "1",
        "at least 0.5, and above white noise",
        "share of the deviation where J stretches by less than a tenth of its most; {count} {of}",
    ),
    Quantity(
        "gain", "gain ‖J(x̄ - x)‖/‖x̄ - x‖", "z per HU",
        "at most 0.2 at the output, below white noise",
        "by how much the layer's representation follows the deviation; {count} {of}",
    ),
    Quantity(
        "reference_sd", "sd of x redrawn and projected", "HU", _REFERENCE,
        "spread of {count} scans of the true anatomy, projected to the same τ",
    ),
    Quantity(
        "reference_change_median", "‖f(x redrawn and projected) - f(x)‖, median", "HU",
        "at most {limit:.1f} HU", "change of the output, over {count} scans",
    ),
    *(
        Quantity(
            f"noise_power_band_{k}",
            f"noise power of x̄ over that of x, {low:g} to {high:g} cycles/pixel", "1",
            "1 if samples vary as the noise does",
            "power of the deviations from the samples' mean, over that of redrawn scans",
        )
        for k, (low, high) in enumerate(NOISE_BANDS, 1)
    ),
    Quantity(
        "relative_sd", "sd of x̄ relative to the reference", "1", "at least 0.8",
        "the reference: the true anatomy with redrawn noise, projected to the same τ",
    ),
    Quantity("latent_sd", "sd of v", "1", "1", _LATENTS),
    Quantity("latent_mean", "mean of v", "1", "0", _LATENTS),
    Quantity(
        "latent_ks", "distance of v from N(0, 1), Kolmogorov–Smirnov", "1", "below 0.05", _LATENTS
    ),
    Quantity("inversion_error", "inversion error of the cINN", "1", "below 0.001", _LATENTS),
    Quantity(
        "active_dimensions", "active dimensions of the autoencoder", "dimensions",
        "of {latent}; near 0 it has collapsed and no two samples differ",
        "latent dimensions whose posterior mean varies over held-out images",
    ),
]  # fmt: skip

_TARGETS = [
    Quantity("target_sd", "sd of ȳ", "HU", _ALIKE, _OVER_SAMPLES),
    Quantity(
        "output_sd", "sd of x'", "HU", "about that of f(R⁻¹𝒫Ry) if the ȳ are invariances",
        "the same for the outputs, over samples and draws",
    ),
    Quantity("target_bias", "‖mean ȳ - y‖", "HU", "at most the sd of ȳ", "bias of the samples"),
    Quantity("coverage_of_y", "coverage of y by the 5–95 % band", "1", "{ideal:.3f}", _COVERED),
    Quantity(
        "lesion_likeness", "likeness of ȳ - y to a lesion, the likest", "1",
        "1 if a lesion is all that differs",
        "correlation with discs of radius 1.5 and 3 px; ȳ {number}",
    ),
    *_spread(
        "target_distance", "‖x' - f(x)‖", "within {low:.1f} to {high:.1f} HU, as for the true y",
        "WHAT over the ȳ of the mean over {draws} noise draws",
    ),
    *_spread(
        "truth_distance", "‖f(R⁻¹𝒫Ry) - f(x)‖", _REFERENCE,
        "the same for the true y, over {groups} groups of {draws} draws",
    ),
    Quantity(
        "share_inside", "share of ȳ no farther from f(x) than the true y", "1",
        "about 1 if the ȳ are invariances",
        "mean distance at most the largest of the true y's groups",
    ),
    Quantity(
        "compatible_share", "share of ȳ compatible with the output", "1",
        "{level:g} if the ȳ are invariances; read it beside the test's power",
        "p > {alpha:g} for rms and largest smoothed deviation together; {null} redraws of the true "
        "y, {draws} draws of each ȳ",
    ),
    Quantity(
        "test_power", "power of the test of compatibility", "1",
        "near 1: else even a wrong anatomy passes",
        "share of {scans} scans of y with a lesion of 20 HU, radius 3 pixels, that the test tells "
        "from y, {draws} draws each; 95 % interval {low:.2f} to {high:.2f}",
    ),
    *(
        Quantity(
            f"ray_d_{which}", f"d' of ȳ - y in the rays, {which} of the compatible ȳ", "1",
            "below 2.77 if the scanner cannot tell them from y",
            "ideal observer who knows both anatomies, one scan at this exposure",
        )
        for which in ("least", "median", "largest")
    ),
]  # fmt: skip

_LIMIT = "an upper limit to all behind it", "ideal observer"
_SEEN = "at most that of the rays", "ideal observer, τ = {tau:g} HU"

_PAIRS = [
    *(
        Quantity(f"d_{part}_{stage}", f"d' of ȳ - y, {{{part}}}: {words}", "1", *texts)
        for part in PARTS
        for stage, words, texts in zip(
            STAGES, ("rays at full dose", "rays", "image", "output"), (_LIMIT, _LIMIT, _SEEN, _SEEN)
        )
    ),
    *(
        Quantity(
            f"full_dose_share_{who}", f"share of d'² at full dose that {words}", "1",
            "the four shares add up to 1", _IDEAL,
        )
        for who, words in (
            ("dose", "the dose took"), ("reconstruction", "the reconstruction took"),
            ("network", "the network took"), ("left", "is left"),
        )
    ),
    *(
        Quantity(
            f"lost_share_{stage}", f"share of d'² that reaches the {stage} and is lost in it", "1",
            "0 if it loses nothing, 1 if all", f"1 - (d' behind it / d' before it)², {_IDEAL}",
        )
        for stage in ("reconstruction", "network")
    ),
    Quantity(
        "nonlinearity", "nonlinearity of f", "1", "well below 1",
        "‖f(x + Δ) - f(x) - JΔ‖ / ‖f(x + Δ) - f(x)‖: how far J speaks for f",
    ),
    *(
        Quantity(
            f"{reader}_{what}_{stage}", f"{name} of {reader.upper()}: {stage}", "1",
            "at most {limit:.3g}, the ideal observer's of the rays",
            "95 % interval {low:.3g} to {high:.3g}; human-like observer, may rise; {draws} "
            "training and {draws} test draws of each anatomy",
        )
        for stage in ("image", "output")
        for reader in ("cho", "npw")
        for what, name in (("d", "d'"), ("auc", "AUC"))
    ),
    *(
        Quantity(
            f"contrast_recovery_{stage}", f"contrast recovery: {stage}", "1", "1",
            "mean over the lesion's core and over {draws} noise draws",
        )
        for stage in ("image", "output")
    ),
    Quantity(
        "hidden_lesion_d", "d' of the lesion to be hidden", "1", "at most the d' of the rays",
        "√(lᵀΣ⁻¹l) with l = R⁻¹R(ȳ - y), what it costs to remove the lesion from x; ideal "
        "observer, τ = {tau:g} HU",
    ),
    Quantity(
        "hiding_cost", "cost of hiding", "1",
        "near the lesion's own d' of {lesion:.3g}; less is an easy way to hide",
        "√(δᵀΣ⁻¹δ) of the least surprising δ with ‖f(x + l + δ) - f(x)‖ ≤ τ = {tau:.3g} HU, a "
        "tenth of that without δ; reached {left:.3g} HU",
    ),
]  # fmt: skip

QUANTITIES = (
    *_SCAN, *_INVARIANCES, *_TARGETS, *_PAIRS,
    Quantity(VERDICT, "verdict", "1", "1", "{words}"),
)  # fmt: skip

BY_ID = {quantity.id: quantity for quantity in QUANTITIES}
