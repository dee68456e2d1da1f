"""`ctxai phantom`: a synthetic helical scan as DICOM-CT-PD files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import arg

if TYPE_CHECKING:
    from recon import HelicalScan
    from recon.phantom import EllipsoidPhantom, VoxelPhantom

__all__ = ["phantom"]

_LENGTH = 76.8  # mm


def phantom(
    *,
    out: Annotated[Path, arg(metavar="SCAN")],
    overwrite: bool = False,
    anatomy: Literal["water", "thorax", "abdomen", "head"] = "water",
    volume: Annotated[Path | None, arg(metavar="FILE")] = None,
    scanner: Literal["flash", "discovery"] = "flash",
    length: Annotated[float | None, arg(metavar="MM")] = None,
    pitch: float = 1.0,
    table: Literal["in", "out"] = "in",
    focal_spot: Literal["own", "FFSZ", "FFSNONE"] = "own",
    mas: float = 200.0,
    kvp: float = 120.0,
    modulation: bool = False,
    noise: bool = True,
    seed: int = 1,
) -> None:
    """Scan a phantom, or a volume in HU, on a helix: a measurement whose object is known.

    The object is one of four made of ellipsoids, with exact line integrals: a water cylinder of
    240 mm with rods of 60, -100, 300 and -20 HU and a sphere of 200 HU; or a thorax, an abdomen
    or a head of some 300 mm. Or it is a voxel volume, interpolated between its voxels and air
    outside. Its middle lies on the axis at z = 0.

    The scanner has the Flash's bowtie, quanta from its tube, and electronic noise; the rays run
    from the flying focal spot of each view to the middle of each element.

    Example: ctxai phantom --anatomy thorax --mas 200 --modulation --out SCAN

    Example: ctxai phantom --volume torso.npz --no-noise --out SCAN

    Then: ctxai inspect SCAN, ctxai recon SCAN --out IMAGES, ctxai simulate SCAN --mas 10 --out LOW

    Writes a DICOM-CT-PD series, one file a view, and run.json, which says what was scanned and how.
    A turn of the Flash is 110 MB, and takes half a minute at most on two cores.

    Args:
        out: Folder for the series, new or empty.
        overwrite: Replace the results of an earlier run in SCAN; files that are of no run stay, and
            must not be views, which would mix.
        anatomy: What is scanned.
        volume: What is scanned instead: a NumPy archive (.npz) with hu (slices, rows, cols), z
            upwards, and spacing_mm of the three; a folder with an axial CT series; or a NIfTI or
            NRRD file in HU.
        scanner: Geometry: Siemens Flash with z-flying focal spot, or GE Discovery.
        length: Way of the focal spot along z [mm]: 76.8 by default, and for a volume its height
            and one turn, so that every slice is complete.
        pitch: Feed a turn over the collimation.
        table: Whether the table moves into the gantry or out of it.
        focal_spot: Whether the focal spot flies along z; the Flash's own does, the Discovery's
            cannot.
        mas: Tube current × rotation time [mAs], the mean of all views.
        kvp: Tube voltage [kV]: 70 to 140, in steps of 10.
        modulation: Tube current after the root of the attenuation, around and along the body;
            constant otherwise.
        noise: Whether quantum and electronic noise are in the measurement.
        seed: Seed of the noise.
    """
    from analysis import session
    from recon import DataError
    from recon.storage import require_there, versions

    (exposure,) = session.require_mas([mas])
    session.require_count(seed, "--seed", least=0)
    if volume is not None:
        require_there(volume)
    out = session.require_out(out, overwrite=overwrite)
    for name, value in (("--length", _LENGTH if length is None else length), ("--pitch", pitch)):
        if not 0.0 < value < 1e5:
            raise DataError("not positive", where=name, expected="> 0", got=value)
    if anatomy != "water" and volume is not None:
        raise DataError("one object at a time", expected="--anatomy or --volume", got="both")

    from recon import VENDORS, modulated_exposures, mu_water, simulate_scan, write_scan

    water = mu_water(kvp)
    name, what, height = _object(anatomy, volume, water)
    geometry = _geometry(scanner, focal_spot, pitch, table, length, height)
    scan = simulate_scan(
        what.views(geometry),
        geometry,
        mas=modulated_exposures(what, geometry, exposure) if modulation else exposure,
        kvp=kvp,
        mu_water=water,
        name=name,
        seed=seed if noise else None,
        vendor=VENDORS[scanner],
    )
    run = session.current()

    def record() -> dict[str, Any]:
        return {
            "command": run.command,
            "configuration": {
                "out": out, "object": name, "volume": volume, "scanner": scanner,
                "length_mm": length, "pitch": pitch, "table": table, "focal_spot": focal_spot,
                "mas": exposure, "kvp": kvp, "modulation": modulation, "noise": noise, "seed": seed,
            },
            "scan": dict(scan.describe()),
            "seconds": round(run.seconds, 1),
            "versions": versions(),
        }  # fmt: skip

    files = write_scan(scan, out, progress="views", record=record)
    print(f"{len(files)} views in {out}")


def _object(
    anatomy: str, volume: Path | None, mu_water: float
) -> tuple[str, EllipsoidPhantom | VoxelPhantom, float | None]:
    """Name and phantom, and how high it is, where that decides the scan's length."""
    if volume is None:
        from recon.phantom import body

        return anatomy, body(anatomy, mu_water), None
    from recon.phantom import read_volume

    voxels = read_volume(volume, mu_water=mu_water)
    return f"volume {voxels.digest}", voxels, voxels.size[0]


def _geometry(
    scanner: str,
    focal_spot: str,
    pitch: float,
    table: str,
    length: float | None,
    height: float | None,
) -> HelicalScan:
    from recon import SCANNERS, DataError

    options = {"pitch": pitch, "table": table}
    if scanner == "flash" and focal_spot != "own":
        options["focal_spot"] = focal_spot
    elif focal_spot == "FFSZ":
        raise DataError(
            "the focal spot of this scanner does not fly", where="--focal-spot",
            expected="FFSNONE", got=focal_spot, remedy="use --scanner flash",
        )  # fmt: skip
    make = SCANNERS[scanner]
    if length is None:
        turn = abs(make(length=_LENGTH, **options).feed)
        length = _LENGTH if height is None else height + turn
    return make(length=length, **options)
