"""`ctxai phantom`: a synthetic helical scan as DICOM-CT-PD files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

__all__ = ["phantom"]


def phantom(
    *,
    out: Annotated[Path, arg(metavar="SCAN")],
    anatomy: Literal["water"] = "water",
    scanner: Literal["flash", "discovery"] = "flash",
    length: Annotated[float, arg(metavar="MM")] = 76.8,
    pitch: float = 1.0,
    table: Literal["in", "out"] = "in",
    mas: float = 200.0,
    kvp: float = 120.0,
    noise: bool = True,
    seed: int = 1,
) -> None:
    """Scan an analytic phantom on a helix: exact line integrals, flying focal spot, bowtie, noise.

    The water cylinder of 240 mm holds rods of 60, -100, 300 and -20 HU and a sphere of 200 HU.

    Example: ctxai phantom --anatomy water --mas 200 --out SCAN

    Writes a DICOM-CT-PD series that `ctxai inspect` reads; a turn of the Flash is 110 MB.

    Args:
        out: Folder for the series, new or empty.
        anatomy: What is scanned.
        scanner: Geometry: Siemens Flash with z-flying focal spot, or GE Discovery.
        length: Way of the focal spot along z [mm].
        pitch: Feed a turn over the collimation.
        table: Whether the table moves into the gantry or out of it.
        mas: Tube current × rotation time [mAs].
        kvp: Tube voltage [kV].
        noise: Whether quantum and electronic noise are in the measurement.
        seed: Seed of the noise.
    """
    from analysis import commands
    from recon.errors import DataError

    (exposure,) = commands.require_mas([mas])
    commands.require_count(seed, "--seed", least=0)
    for name, value in (("--length", length), ("--pitch", pitch)):
        if not 0.0 < value < 1e5:
            raise DataError("not positive", where=name, expected="> 0", got=value)

    from recon.ctpd_write import write_scan
    from recon.phantom.ellipsoids import water_with_inserts
    from recon.scan_simulation import simulate_scan
    from recon.scanners import SCANNERS, VENDORS
    from recon.tube import mu_water

    water = mu_water(kvp)
    geometry = SCANNERS[scanner](length=length, pitch=pitch, table=table)
    scan = simulate_scan(
        water_with_inserts(water).views(geometry),
        geometry,
        mas=exposure,
        kvp=kvp,
        mu_water=water,
        name=anatomy,
        seed=seed if noise else None,
        vendor=VENDORS[scanner],
    )
    files = write_scan(scan, out, progress="views")
    print(f"{len(files)} views in {out}")
