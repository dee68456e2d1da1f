"""The map of meaning: filters that are known to erase discs, and those that are known not to."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.fft import dctn, idctn

from analysis.lesions.lesion import Lesion
from analysis.projection_domain.inserted import image_of_rays, lesion_rays
from analysis.scanner.slice_scanner import SliceScanner
from analysis.target_domain.alterations import (
    RADII_MM,
    Alteration,
    LesionSearch,
    rank_alterations,
)
from analysis.target_domain.directions import Direction, see_directions, semantic_directions
from analysis.target_domain.latents import latent_directions
from analysis.target_domain.semantic import SemanticMap, noise_scale, semantic_map
from ctxai.sampling.near_null import unseen_part
from ctxai.wiretap.in_place import InPlace
from recon.errors import DataError
from recon.geometry import ImageGrid, flash_axial

MAS = 40.0
SIDE = 40
PLACE = (-19.5, 0.5)


@pytest.fixture(scope="module")
def scanner(body):
    grid = ImageGrid(shape=(SIDE, SIDE), spacing=(1.0, 1.0), centre=(-20.0, 0.0))
    return SliceScanner(
        body, (2.0, 2.0), kvp=120.0, slice_thickness=3.0, patch_grid=grid, seed=1,
        geometry=flash_axial(views=192),
    )  # fmt: skip


def erases_discs_below_3_mm(x):
    """The median over a disc of radius 3√2 mm: what is smaller than half of it is gone."""
    reach = 4
    rows, cols = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    inside = torch.from_numpy((np.hypot(rows, cols) <= 3.0 * math.sqrt(2.0)).ravel())
    padded = torch.nn.functional.pad(x, (reach,) * 4, mode="reflect")
    pieces = torch.nn.functional.unfold(padded, 2 * reach + 1)[:, inside]
    return pieces.median(1).values.reshape(x.shape)


def filters_noise(x):
    """A Gaussian of 0.7 pixels: noise goes, discs stay."""
    kernel = torch.exp(-0.5 * (torch.arange(-2.0, 3.0) / 0.7) ** 2)
    kernel = (kernel[:, None] * kernel / kernel.sum() ** 2)[None, None]
    return torch.nn.functional.conv2d(
        torch.nn.functional.pad(x, (2, 2, 2, 2), mode="reflect"), kernel
    )


@pytest.fixture(scope="module")
def anatomies(scanner):
    """Scans of y with small discs, with large ones, and as it is; and what was put in."""
    random, grid, lesions = np.random.default_rng(6), scanner.patch_grid, []
    for low, high, n in ((1.5, 2.7, 60), (5.0, 6.0, 30)):
        for _ in range(n):
            place = PLACE + random.uniform(-9.0, 9.0, 2)
            lesions.append(
                Lesion(
                    contrast=float(random.choice([-1.0, 1.0]) * 150.0),
                    radius=random.uniform(low, high), place=tuple(map(float, place)), edge=0.3,
                )
            )  # fmt: skip
    ybar = torch.stack([scanner.y + lesion.on(grid) for lesion in lesions])
    ybar = torch.cat([ybar, scanner.y.expand(60, -1, -1)])
    return lesions, scanner.rescan(ybar, MAS, seed=7)[:, 0]


def test_images_of_an_unaltered_anatomy_are_not_said_to_alter_it(body):
    """x̄ of a y with noise of its own have the noise of a whole scan: scans of y have half of it."""
    how = {"kvp": 120.0, "slice_thickness": 3.0, "geometry": flash_axial(views=192)}
    whole = ImageGrid(shape=body.shape, spacing=(2.0, 2.0))
    patch = ImageGrid(shape=(32, 32), spacing=(2.0, 2.0))
    images = SliceScanner(body, (2.0, 2.0), patch_grid=whole, seed=3, **how).low_dose(
        2.0 * MAS, draws=31
    )
    scanner, *others = (
        SliceScanner(
            image.numpy(), (2.0, 2.0), patch_grid=patch, image_mas=2.0 * MAS, seed=k, **how
        )
        for k, image in enumerate(images)
    )
    assert scanner.added_share(MAS) == pytest.approx(0.5, abs=0.02)
    scale = noise_scale(scanner, MAS)
    assert scale == pytest.approx(math.sqrt(3.0), rel=0.03)
    # as they would be sampled: scans of the anatomy with another noise of its own
    samples = torch.cat([other.low_dose(MAS) for other in others])
    counts = [
        len(semantic_map(filters_noise, scanner, samples, None, mas=MAS, scale=by, seed=1).altering)
        for by in (1.0, scale)
    ]
    assert counts[1] <= 3 and counts[0] > 5 * max(counts[1], 1)  # of 30, .3 by chance


def mapped(f, scanner, anatomies):
    lesion = Lesion(contrast=100.0, radius=2.5, place=PLACE)
    return semantic_map(f, scanner, anatomies[1], lesion, mas=MAS, seed=1)


@pytest.fixture(scope="module")
def erased(scanner, anatomies):
    return mapped(erases_discs_below_3_mm, scanner, anatomies)


@pytest.mark.slow
def test_a_filter_that_erases_discs_below_3_mm_yields_them(erased, anatomies, scanner):
    hidden = {found.sample: found for found in erased.hidden}
    small = [k for k in hidden if k < 60]
    assert len(small) > 0.9 * 60  # recall
    assert len([k for k in hidden if k >= 60]) <= 1  # neither discs of 5 mm, nor noise alone
    for k in small:
        lesion, put_in = hidden[k].lesion, anatomies[0][k]
        assert math.dist(lesion.place, put_in.place) < 2.0
        assert math.copysign(1.0, lesion.contrast) == math.copysign(1.0, put_in.contrast)


def test_samples_that_alter_anatomy_come_first(erased):
    altering = [found.sample for found in erased.altering]
    assert sum(k < 90 for k in altering) > 0.95 * 90
    assert sum(k >= 90 for k in altering) <= 3  # of 60 without any, at a level of 1 %
    first = [found.sample for found in erased.alterations[:80]]
    assert all(k < 90 for k in first)
    d = [found.d for found in erased.alterations]
    assert d == sorted(d, reverse=True)


class Largest:
    """Looks for lesions of a pixel: d' is the largest value, the contrast that of the first."""

    def largest(self, images):
        lesion = Lesion(contrast=2.0, radius=1.0, place=PLACE)
        return images.amax((1, 2)), torch.zeros(len(images), 2, dtype=int), [lesion] * len(images)

    def contrast_at(self, images, row, col, radius):
        return images[:, row, col].double()


def test_alterations_are_ranked_among_redrawn_scans():
    """p counts the sample itself; what the output shows, and its error, are shares of contrast."""
    null = torch.arange(1.0, 41.0)[:, None, None].expand(40, 2, 2)
    samples = torch.tensor([38.5, 60.0, 0.5])[:, None, None].expand(3, 2, 2)
    outputs = {"outputs": 20.5 + samples / 60.0, "null_outputs": null}
    found = rank_alterations(Largest(), samples, null, **outputs)
    assert [one.sample for one in found] == [1, 0, 2]
    assert [one.p for one in found] == [1 / 41, 3 / 41, 1.0]
    assert found[0].shown == pytest.approx(0.5)  # 1 of 2 HU
    assert found[0].error == pytest.approx(np.arange(1.0, 41.0).std(ddof=1) / 2)
    with pytest.raises(DataError, match="at least 40"):
        rank_alterations(Largest(), samples, null[:39], **outputs)


@pytest.mark.parametrize(
    ("p", "shown", "alters", "hidden"),
    [(0.01, 0.29, True, True), (0.01, 0.31, True, False), (0.011, 0.0, False, False)],
)
def test_anatomy_is_hidden_if_less_than_half_of_it_is_surely_shown(p, shown, alters, hidden):
    lesion = Lesion(contrast=2.0, radius=1.0, place=PLACE)
    one = Alteration(0, lesion, d=9.0, p=p, shown=shown, error=0.1)
    assert (one.alters, one.hidden) == (alters, hidden)


def test_a_pure_noise_filter_yields_none(scanner, anatomies):
    found = mapped(filters_noise, scanner, anatomies)
    assert len(found.hidden) < 0.05 * 150
    assert len(found.altering) > 0.95 * 90  # it is not that nothing was found
    seen = {one.direction.name: one for one in found.directions}
    for name in ("lesion contrast", "lesion radius", "tissue density"):
        assert seen[name].invisible_share < 0.1 * seen["noise level"].invisible_share
        assert seen[name].gain > 1.5 * seen["noise level"].gain


@pytest.mark.slow  # two seconds more; the coordinates are a least-squares fit
def test_samples_lie_along_the_directions_as_far_as_they_were_moved(scanner):
    lesion = Lesion(contrast=80.0, radius=4.0, place=PLACE)
    truth = scanner.y + lesion.on(scanner.patch_grid)
    samples = scanner.rescan(truth.expand(40, -1, -1), MAS, seed=8)[:, 0]
    found = semantic_map(filters_noise, scanner, samples, lesion, mas=MAS, seed=1)
    names = [one.direction.name for one in found.directions]
    along = found.coordinates[:, names.index("lesion contrast")]
    assert float(along.mean()) == pytest.approx(80.0, abs=4 * float(along.std()) / 40**0.5 + 4.0)
    assert found.unusual("lesion contrast") == 1.0
    assert found.unusual("tissue density") < 0.3
    null = found.null[:, names.index("lesion contrast")]
    assert abs(float(null.mean())) < 4 * float(null.std()) / 199**0.5 + 1e-6


def test_the_unusual_lie_outside_the_middle_95_percent_of_redrawn_scans():
    """Of 0, 1, ... 1000 the middle 95 % reach from 25 to 975, whatever another direction does."""
    seen = [SimpleNamespace(direction=SimpleNamespace(name=name)) for name in ("flat", "contrast")]
    null = torch.stack([torch.zeros(1001), torch.arange(1001.0)], dim=1)
    along = torch.tensor([24.0, 26.0, 500.0, 974.0, 976.0])
    found = SemanticMap(seen, torch.stack([torch.zeros(5), along], dim=1), null, [])
    assert found.unusual("contrast") == pytest.approx(2 / 5)
    assert found.unusual("flat") == 0.0


def test_a_disc_of_any_size_in_the_range_is_like_one_that_is_looked_for():
    """In white noise the filter for a disc of b keeps a/b of the d' for one of a < b, at best 1."""
    radii = np.array(RADII_MM)
    assert (radii[0], radii[-1]) == (1.5, 6.0) and (np.diff(radii) > 0).all()
    true = np.geomspace(1.5, 6.0, 400)[:, None]
    kept = (np.minimum(radii, true) / np.maximum(radii, true)).max(1)
    assert kept.min() > 0.86


def test_a_contrast_is_in_units_of_the_lesion_that_is_looked_for(scanner):
    """Among the same pixels: a lesion of 100 HU for a unit has a hundredth of the contrast."""
    noise = torch.randn(60, SIDE, SIDE, generator=torch.Generator().manual_seed(4))
    search = LesionSearch(scanner, noise, radii=(1.5, 2.5))
    for radius, template in zip((1.5, 2.5), search.templates.clone()):
        image = 30.0 + 7.0 * template.float()
        assert search.contrast_at(image[None], 20, 20, radius).item() == pytest.approx(7.0, 1e-4)
    plain = search.contrast_at(noise, 17, 22, 1.5)
    search.templates *= 100.0
    assert torch.allclose(search.contrast_at(noise, 17, 22, 1.5), plain / 100.0, rtol=1e-6)


def test_directions_are_the_derivatives_of_the_scan(scanner):
    """A lesion a little brighter, larger and farther, against its directions."""
    lesion = Lesion(contrast=50.0, radius=4.0, place=PLACE, edge=1.0)

    def image(at):
        return image_of_rays(scanner, lesion_rays(scanner, at))

    found = {d.name: d.image for d in semantic_directions(scanner, torch.zeros(SIDE, SIDE), lesion)}
    x, y = lesion.place
    for name, moved in (
        ("lesion contrast", replace(lesion, contrast=50.1)),
        ("lesion radius", replace(lesion, radius=4.1)),
        ("lesion place x", replace(lesion, place=(x + 0.1, y))),
        ("lesion place y", replace(lesion, place=(x, y + 0.1))),
    ):
        slope = (image(moved) - image(lesion)) / 0.1
        assert float((slope - found[name]).norm() / slope.norm()) < 0.12, name


def test_the_unseen_part_is_that_of_the_singular_vectors(scanner):
    """Sixteen pixels, by the dense Jacobian of a small network."""
    generator = torch.Generator().manual_seed(3)
    J = torch.randn(16, 16, generator=generator) @ torch.diag(torch.logspace(0, -3, 16))
    directions = torch.randn(3, 1, 4, 4, generator=generator)

    def layer(x):
        return (x.flatten(1) @ J.T).reshape(x.shape)

    found = unseen_part(layer, torch.zeros(1, 1, 4, 4), directions, steps=16)
    _, sigma, vectors = torch.linalg.svd(J.double())
    below = vectors[sigma < 0.1 * sigma[0]]
    exact = directions.flatten(1).double() @ below.T @ below
    assert torch.allclose(found.flatten(1).double(), exact, atol=1e-3)
    assert 0.1 < float(exact.norm() / directions.norm()) < 0.99


def test_the_parts_of_a_direction_add_up(scanner):
    f = InPlace(filters_noise, scanner.place, scanner.low_dose(MAS)[0])
    lesion = Lesion(contrast=50.0, radius=3.0, place=PLACE)
    noise = torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    for seen in see_directions(f, semantic_directions(scanner, noise, lesion)):
        whole = seen.direction.image
        assert torch.allclose(
            seen.visible + seen.invisible, whole, atol=1e-4 * float(whole.abs().max())
        )
        shown = filters_noise(whole[None, None])[0, 0]
        assert torch.allclose(seen.output, shown, atol=1e-4 * float(whole.abs().max()))
        assert 0.0 <= seen.invisible_share <= 1.0 and 0.0 < seen.gain <= 1.01


class Coarse:
    """An autoencoder that keeps the lowest 8 × 8 cosines of 16 × 16 pixels, given nothing."""

    def decode(self, latent):
        spectrum = torch.nn.functional.pad(latent.reshape(-1, 8, 8), (0, 8, 0, 8))
        return torch.from_numpy(idctn(spectrum.numpy(), axes=(-2, -1), norm="ortho"))[:, None]


def test_the_latent_keeps_of_a_direction_what_the_autoencoder_keeps():
    def encode(images, z):
        spectrum = dctn(images[:, 0].numpy(), axes=(-2, -1), norm="ortho")
        return SimpleNamespace(mean=torch.from_numpy(spectrum[:, :8, :8].reshape(-1, 64)))

    model = SimpleNamespace(
        vae=Coarse(), represent=lambda x: x, condition=lambda z: None, encode=encode
    )
    generator = torch.Generator().manual_seed(5)
    scans = 20.0 * torch.randn(40, 16, 16, generator=generator)
    spectrum = torch.zeros(16, 16)
    spectrum[2, 3], spectrum[12, 1] = 3.0, 4.0  # 9 of 25 of its energy are kept
    image = torch.from_numpy(idctn(spectrum.numpy(), axes=(-2, -1), norm="ortho"))
    corner = np.zeros((16, 16), np.float32)
    corner[15, 15] = 5.0  # the finest cosine
    fine = torch.from_numpy(idctn(corner, axes=(-2, -1), norm="ortho"))
    kept, lost = latent_directions(
        model, scans,
        [(Direction("both", "1", image), image, 40.0), (Direction("fine", "1", fine), fine, 40.0)],
    )  # fmt: skip
    assert kept.kept == pytest.approx(9 / 25, rel=1e-4)
    assert kept.consistency == pytest.approx(1.0, abs=1e-4)
    assert kept.coordinates(kept.latent[None] * 2.5).item() == pytest.approx(2.5)
    assert abs(lost.kept) < 1e-4 and lost.probe < 0.3 < 0.8 < kept.probe
    with pytest.raises(DataError, match="too few scans"):
        latent_directions(model, scans[:4], [])
