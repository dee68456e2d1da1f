"""Quanta per ray against the figures of two real scanners."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from tolerances import TUBE

from recon import tube
from recon.errors import DataError
from recon.geometry import FanBeam, ParallelBeam, flash_axial
from recon.scan.scan import quanta_from_tube
from recon.scan.scanners import flash_helical
from recon.tube import MU_WATER, OUTPUT, bowtie_transmission, mu_water, photons_per_column

SPECTRA = {
    # published with three digits; a per cent is what the table must keep
    "published spectrum, rel": 0.01,
}


def quanta(**changes):
    setting = {"mas": 192.0, "kvp": 120, "geometry": flash_axial(2304), "slice_thickness": 0.6}
    return photons_per_column(**{**setting, **changes})


def test_a_flash_at_384_ma_has_120_thousand_quanta_at_the_centre():
    assert quanta(mas=384 * 0.5).max() == pytest.approx(1.2e5, rel=TUBE["quanta of a Flash, rel"])


def test_a_scan_that_states_no_quanta_is_given_the_tube_s():
    """Each view at its own exposure, for rows of 0.6 mm and 2304 views a turn."""
    helix = flash_helical(length=0.2, views_per_rotation=2304)[:2]
    found = quanta_from_tube(helix, np.array([192.0, 96.0]), kvp=120)
    assert found.shape == (2, 736) and found.dtype == np.float32
    assert found.max(axis=1) == pytest.approx([1.2e5, 6e4], rel=TUBE["quanta of a Flash, rel"])


def test_the_air_view_of_a_real_scan():
    """0.258 mAs per view, cells of 2.815 mm² = 1.2858 mm × 1.2 mm at the isocentre."""
    n0 = quanta(mas=0.258 * 1152, geometry=flash_axial(1152), slice_thickness=1.2)
    # channel c of the headers is column c - 1; the quoted ones are rounded to tens anyway
    found = [n0[369], n0[250], n0[160], n0[10]]
    assert found == pytest.approx([7.5e5, 3.4e5, 1.8e5, 1.2e5], rel=TUBE["two digits, rel"])


def test_quanta_follow_exposure_thickness_and_views():
    n0 = quanta()
    assert quanta(mas=19.2) == pytest.approx(n0 / 10, rel=1e-12)
    assert quanta(slice_thickness=1.5) == pytest.approx(n0 * 2.5, rel=1e-12)
    assert quanta(geometry=flash_axial(1152)) == pytest.approx(n0 * 2, rel=1e-12)
    assert quanta(kvp=80) == pytest.approx(n0 * OUTPUT[80] / OUTPUT[120], rel=1e-12)


def test_views_are_counted_per_rotation_not_per_scan():
    whole = flash_axial(720)
    half = FanBeam(
        angles=np.asarray(whole.angles)[::-1][:300], n_cols=736, col_pitch=1.2858, src_iso=595.0,
        src_det=1085.6, col_offset=-1.125,
    )  # fmt: skip
    assert quanta(geometry=half) == pytest.approx(quanta(geometry=whole), rel=1e-12)


def test_the_bowtie_is_symmetric_smooth_and_monotonic():
    angle = np.linspace(0.0, 0.45, 2000)
    b = bowtie_transmission(angle)
    assert bowtie_transmission(-angle) == pytest.approx(b, rel=1e-12)
    assert b[0] == 1.0 and b[-1] == pytest.approx(1 / 6.4)
    assert (np.diff(b) <= 1e-15).all()
    assert np.abs(np.diff(b)).max() < 5e-3  # no step: the steepest slope is about 6 per rad
    assert abs(b[1] - b[0]) < 1e-5  # no kink at the centre
    assert quanta(bowtie=None) == pytest.approx(np.full(736, quanta(bowtie=None)[0]))


def test_a_flat_detector_loses_by_distance_and_obliqueness():
    flat = FanBeam(
        angles=np.arange(360) * math.tau / 360, n_cols=401, col_pitch=2.0, src_iso=500.0,
        src_det=1000.0, detector="flat",
    )  # fmt: skip
    n0 = quanta(geometry=flat, bowtie=None)
    edge = math.atan(0.4)
    assert n0[0] / n0[200] == pytest.approx(math.cos(edge) ** 3)


def test_water_attenuates_as_nist_says_at_a_plausible_energy():
    """µ/ρ of NIST (NISTIR 5632) at 50, 60 and 80 keV bounds each constant; log-log between."""
    energy, mass_attenuation = [50.0, 60.0, 80.0], [0.2269, 0.2059, 0.1837]
    for kvp, effective in ((80, 55), (100, 63), (120, 71), (140, 77)):
        nist = np.exp(np.interp(np.log(effective), np.log(energy), np.log(mass_attenuation))) / 10
        assert mu_water(kvp) == pytest.approx(nist, rel=TUBE["attenuation of water, rel"])
    assert mu_water(120) == 0.0193  # what images and shipped networks are made with
    assert list(MU_WATER) == list(OUTPUT) == list(range(70, 141, 10))
    assert (np.diff(list(MU_WATER.values())) < 0).all() and (
        np.diff(list(OUTPUT.values())) > 0
    ).all()


def test_the_table_is_that_of_the_literature():
    """Tungsten, 7°, 3 mm Al + 0.9 mm Ti: Φ, mean energy and half-value layer of four spectra."""
    with (Path(tube.__file__).with_name("tube_spectra.csv")).open(newline="") as handle:
        rows = {int(row["kvp"]): row for row in csv.DictReader(handle)}
    for kvp, *expected in (
        (80, 5.89e5, 51.8, 5.82),
        (100, 1.149e6, 58.7, 7.08),
        (120, 1.811e6, 64.4, 8.13),
        (140, 2.526e6, 69.6, 9.05),
    ):
        names = ("photons_per_mm2_mas", "mean_kev", "hvl_mm_al")
        found = [float(rows[kvp][name]) for name in names]
        assert found == pytest.approx(expected, rel=SPECTRA["published spectrum, rel"])
        assert quanta(kvp=kvp).max() == pytest.approx(
            quanta().max() * expected[0] / 1.811e6, rel=SPECTRA["published spectrum, rel"]
        )


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"mas": 0.0}, "mas"),
        ({"mas": -10.0}, "mas"),
        ({"mas": math.nan}, "mas"),
        ({"mas": "much"}, "mas"),
        ({"slice_thickness": 0.0}, "slice_thickness"),
        ({"kvp": 125}, "110 or 120 or 130 or 140"),
        ({"bowtie": "large"}, "bowtie"),
        ({"geometry": ParallelBeam(angles=[0.0, 1.0], n_cols=8, col_pitch=1.0)}, "FanBeam"),
        ({"geometry": flash_axial(1)}, "views"),
    ],
)
def test_unusable_settings_are_refused(change, word):
    with pytest.raises(DataError, match=word):
        quanta(**change)
