"""`ctxai verify`: whether a downloaded projection series is whole and sound."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

__all__ = ["verify"]


def verify(scan: Positional[Path]) -> None:
    """Check the files of a projection scan: all there, of one scan, and of a kind that is read.

    One line says OK; a series with a fault is refused with the file, the element, what was
    expected, what was found and what to do, and exit status 2.

    Example: ctxai verify SCAN

    Args:
        scan: Folder of one DICOM-CT-PD series, one file a view.
    """
    from recon import read_scan

    found = read_scan(scan, progress="headers")
    g = found.geometry
    print(
        f"OK: {len(found)} views of {g.n_rows} × {g.n_cols}, {g.rotations:.4g} turns, "
        f"z {g.z.min():.1f} to {g.z.max():.1f} mm, {g.focal_spot}, {found.kvp:g} kV, "
        f"{found.mas:.4g} mAs"
    )
