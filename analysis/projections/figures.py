"""A projection scan in one picture, and in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..figures.drawing import INK, new_figure, written
from .noise import metric_rows

if TYPE_CHECKING:
    from recon import AuditLine, Scan

__all__ = ["audit_table", "exposure_words", "scan_figure", "scan_metrics"]

_ACCENT = "#b3541e"
_MOST_VIEWS = 2000  # drawn of a scan: more than there are pixels


def audit_table(audit: Sequence[AuditLine]) -> list[str]:
    """Return the lines of a geometry audit: what it would be, how far rays differ, the verdict."""
    if not audit:
        return ["geometry audit  cannot be told: no opposite rays in so short a scan"]
    width = max(len(line.name) for line in audit)
    noise = f"opposite rays differ by (quanta alone: {audit[0].noise:.4f})"
    return [
        f"{'geometry audit':<{width}}  {noise}",
        *(
            f"  {line.name:<{width}}  {line.residual:.4f}  {line.verdict}"
            + (f", {line.detail}" if line.detail else "")
            for line in audit
        ),
    ]


def exposure_words(scan: Scan) -> str:
    """Exposure of a scan in words, "not stated" where its files do not."""
    return f"{scan.mas:.4g} mAs" if np.isfinite(scan.mas) else "not stated"


def scan_metrics(scan: Scan, audit: Sequence[AuditLine] = ()) -> list[dict[str, str]]:
    """Numbers of a scan, and of its geometry audit, with their units, a row each."""
    g = scan.geometry
    centre, edge = scan.photons[:, g.n_cols // 2], scan.photons[:, [0, -1]]
    values: list[tuple[str, float, str, str]] = [
        ("views", len(scan), "", "number of views"),
        ("rotations", g.rotations, "", "turns of the gantry"),
        ("feed", g.feed, "mm", "way of the focal centre along z in a turn, signed"),
        ("pitch", g.pitch, "", "feed over collimation, from the views"),
        ("z_first", float(g.z[0]), "mm", "height of the focal centre at the first view"),
        ("z_last", float(g.z[-1]), "mm", "height of the focal centre at the last view"),
        ("focal_spot_states", int(g.states.max()) + 1, "", "states that follow each other"),
        ("quanta_at_centre", float(np.median(centre)), "quanta", "N0, median of the views"),
        ("quanta_at_edge", float(np.median(edge)), "quanta", "N0, median of the views"),
        ("mu_water", scan.mu_water, "1/mm", "attenuation of water"),
    ]
    if np.isfinite(scan.mas):
        values += [
            ("mas", scan.mas, "mAs", "tube current × rotation time, mean of all views"),
            ("effective_mas", scan.effective_mas, "mAs", "mas over pitch"),
            ("mas_least", float(scan.exposures.min()), "mAs", "least of the views"),
            ("mas_most", float(scan.exposures.max()), "mAs", "most of the views"),
        ]
    if scan.ctdi_vol is not None:
        values.append(("ctdi_vol", scan.ctdi_vol, "mGy", "dose index, as stated"))
    values += [
        (f"audit: {line.name}", line.residual, "", f"rms of opposite rays: {line.verdict}")
        for line in audit
    ]
    return metric_rows(values, digits=9)


def scan_figure(scan: Scan) -> bytes:
    """Draw the way of the focal spot, exposure and quanta of the views, and the middle view.

    Parameters
    ----------
    scan : Scan
        One view of it is read.

    Returns
    -------
    bytes
        PNG.
    """
    from matplotlib.colors import LogNorm

    g = scan.geometry
    views = np.unique(np.linspace(0, len(scan) - 1, min(len(scan), _MOST_VIEWS)).astype(int))
    middle = len(scan) // 2
    figure = new_figure(10, 7.2)
    figure.set_layout_engine("constrained")
    (path, exposure), (quanta, view) = figure.subplots(2, 2)

    turns = g.angles / (2 * np.pi)
    few = slice(None) if len(views) < 200 else slice(middle, middle + 48)
    path.plot(turns[views], g.z[views], color=INK, lw=1, label="focal centre")
    path.scatter(
        g.source_angles[few] / (2 * np.pi), g.source_z[few], s=4, color=_ACCENT, zorder=3,
        label="focal spot" if few == slice(None) else "focal spot, 48 views",
    )  # fmt: skip
    half = g.collimation / 2
    path.fill_between(
        turns[views], g.z[views] - half, g.z[views] + half, color=INK, alpha=0.12, lw=0,
        label="detector at the isocentre",
    )  # fmt: skip
    path.set(xlabel="view angle [turns]", ylabel="z, table to gantry [mm]")
    path.set_title(f"{g.focal_spot}, pitch {g.pitch:.3g}, table {g.table_direction}", fontsize=9)
    path.legend(fontsize=7)

    exposure.set(xlabel="view", ylabel="mAs a turn")
    exposure.set_title(f"exposure, {exposure_words(scan)}", fontsize=9)
    if np.isfinite(scan.mas):
        exposure.plot(views, scan.exposures[views], color=INK, lw=1)
        exposure.axhline(scan.mas, color=_ACCENT, lw=1, ls="--")
        exposure.set_ylim(0, None)

    image = quanta.imshow(
        scan.photons[views], aspect="auto", cmap="viridis", norm=LogNorm(), interpolation="nearest",
        extent=(0, g.n_cols, len(scan), 0),
    )  # fmt: skip
    quanta.set(xlabel="column", ylabel="view")
    quanta.set_title("quanta per ray without an object, N0", fontsize=9)
    figure.colorbar(image, ax=quanta, label="quanta")

    image = view.imshow(
        scan.line_integrals[middle], aspect="auto", cmap="gray", interpolation="nearest"
    )
    view.set(xlabel="column", ylabel="row, from the gantry")
    view.set_title(f"line integrals of view {middle}", fontsize=9)
    figure.colorbar(image, ax=view, label="-ln(I/I₀)")

    return written(figure, "png")
