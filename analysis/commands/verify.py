"""`ctxai verify`: whether a downloaded projection series is whole and sound."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

__all__ = ["verify"]


def verify(scan: Positional[Path]) -> None:
    """Check the files of a projection scan: all there, of one scan, and of a kind that is read.

    Reads all headers, in seconds, and then all pixels, as fast as the disk gives them: views that
    are constant, repeated, or unlike those before and after them are found, and rays of the air
    beside the body that are not 0 are told.

    One line says OK; a series with a fault is refused with the file, the element, what was
    expected, what was found and what to do, and exit status 2.

    Example: ctxai verify SCAN

    Args:
        scan: Folder of one DICOM-CT-PD series, one file a view.
    """
    from tqdm import tqdm

    from analysis import session
    from analysis.projections.figures import exposure_words

    found = session.open_scan(scan)
    pieces = list(found.chunks())
    for chunk in tqdm(pieces, desc="pixels", unit="chunk", leave=False, delay=2):  # views
        _ = found.line_integrals[chunk]
    g = found.geometry
    print(
        f"OK: {len(found)} views of {g.n_rows} × {g.n_cols}, {g.rotations:.4g} turns, "
        f"z {g.z.min():.1f} to {g.z.max():.1f} mm, {g.focal_spot}, {found.kvp:g} kV, "
        f"{exposure_words(found)}"
    )
