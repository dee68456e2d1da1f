"""One slice in the scanner: R⁻¹𝒫R at any exposure, on a patch of it, with the patch exchanged.

The forward projection R y of the slice is computed once, with the patch y on its own pixels in
place of the slice's, which may hold more detail: that would stay behind in every ȳ. By linearity
the slice whose patch is exchanged for another anatomy ȳ projects to ``R y + R(ȳ - y)``, with the
second term from the patch's own small grid. Noise (𝒫) is drawn on the rays that cross the patch
and its surroundings, and on 32 columns beside them, and FBP (R⁻¹) reconstructs the grid of both.
Noise is keyed by (seed, image, draw, view, ray), so every image can be had again.

A slice without noise gets all the noise of a scan, ``x = R⁻¹𝒫R y``. A slice that was measured has
the noise of its own exposure already, and has been through R⁻¹: it gets what it lacks at a lower
one, 𝒫_a being `recon.insert_noise` (thinning; see :mod:`analysis.scanner.low_dose`),

    x = y + R⁻¹(𝒫_a R y - R y) = R⁻¹𝒫_a R y + (y - R⁻¹R y),

so that x has the noise of a scan at the lower exposure, and no more. The term in brackets, what a
second R⁻¹R would take from y, stays for every anatomy that is put in y's place, as y's own noise
does: y and ȳ are treated alike, and ȳ = y gives the scans of y.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from recon import (
    AIR_HU,
    ELECTRONIC_NOISE,
    DataError,
    FanBeam,
    ImageGrid,
    flash_axial,
    hu_to_mu,
    insert_noise,
    mu_to_hu,
    mu_water,
    operator,
    photons_per_column,
    sample_transmission,
    starved_rays,
)

from .columns import crossing_columns
from .slices import patch_weight, resample_to
from .surroundings import window_in

__all__ = ["SliceScanner", "chunks", "derived_seed", "missing_seed", "seam_weight"]

_CHUNK = 16  # fills the lanes of a CPU
_CHUNK_ON_GPU = 128  # images at once, about 6 GB
_MEDIAN_OF_NORMAL = 0.6745  # of |x| for x of standard deviation 1


def derived_seed(seed: int, purpose: str) -> int:
    """A seed for one purpose of a study, so that its noise is independent of another purpose's.

    Examples
    --------
    >>> from analysis.scanner.slice_scanner import derived_seed
    >>> derived_seed(1, "null") != derived_seed(1, "samples")
    True
    """
    words = [int(seed) & 0xFFFFFFFFFFFFFFFF, *purpose.encode()]
    return int(np.random.SeedSequence(words).generate_state(1)[0] >> 1)


def missing_seed(seed: int, image_mas: float) -> int:
    """Seed of the noise that images of an exposure [mAs] lack, apart from that of other images."""
    return derived_seed(seed, f"what {image_mas:g} mAs lack")


class SliceScanner:
    """Low-dose images of a patch of a slice, and of the slice with another patch in its place.

    One axial rotation of 1152 views with a Flash's arc and an aperture equal to the slice
    thickness. A slice is noise-free, or has the noise of an exposure that is stated.

    Parameters
    ----------
    y_hu : ndarray, (rows, cols)
        High-dose slice [HU], the rotation axis at its centre; clipped at -1000 HU.
    spacing : (sy, sx)
        Pixel spacing [mm].
    kvp : float
        Tube voltage [kV].
    slice_thickness : float
        [mm]; the quanta per ray are proportional to it.
    patch_grid : ImageGrid
        Where anatomy is exchanged.
    context_grid : ImageGrid, optional
        Where images are reconstructed: the patch with what a denoiser needs around it, on the same
        pixels; the patch alone by default.
    window : str
        Apodisation of the FBP.
    electronic_noise : float
        [quanta].
    image_mas : float, optional
        Exposure whose noise the slice has [mAs]; noise-free by default. At this exposure and above
        there is nothing that could be added: the slice is taken as noise-free there.
    seed : int
        Seed of the noise, where a method is not given another.
    image : int
        Number of the slice in its series, the key of its noise.
    geometry : FanBeam, optional
        The rotation; a Flash's by default.
    device : str
        Where projections and images live.

    Attributes
    ----------
    y : Tensor, (H, W)
        The slice on the patch's grid [HU], the truth.
    place : Window
        The patch in the images that are reconstructed.
    p : Tensor, (views, columns)
        Noise-free line integrals, with y in the patch.
    chunk : int
        Images that are treated at once.
    """

    def __init__(
        self,
        y_hu: np.ndarray,
        spacing: tuple[float, float],
        *,
        kvp: float,
        slice_thickness: float,
        patch_grid: ImageGrid,
        context_grid: ImageGrid | None = None,
        window: str = "hann",
        electronic_noise: float = ELECTRONIC_NOISE,
        image_mas: float | None = None,
        seed: int,
        image: int = 0,
        geometry: FanBeam | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        y_hu = np.maximum(np.asarray(y_hu, np.float32), np.float32(AIR_HU))
        if y_hu.ndim != 2:
            raise DataError("not one slice", expected="(rows, cols)", got=y_hu.shape)
        self.hu = y_hu
        self.spacing = (float(spacing[0]), float(spacing[1]))
        if image_mas is not None and not 0.0 < image_mas < float("inf"):
            raise DataError(
                "exposure is not positive", where="image_mas", expected="> 0", got=image_mas
            )
        self.image_mas = None if image_mas is None else float(image_mas)
        self.kvp, self.slice_thickness = float(kvp), float(slice_thickness)
        self.patch_grid = patch_grid
        self.context_grid = patch_grid if context_grid is None else context_grid
        self.place = window_in(self.context_grid, patch_grid)
        self.window, self.electronic_noise = window, float(electronic_noise)
        self.seed, self.image = int(seed), int(image)
        self.device = torch.device(device)
        self.chunk = _CHUNK if self.device.type == "cpu" else _CHUNK_ON_GPU
        self.mu_water = mu_water(self.kvp)
        self.geometry = flash_axial() if geometry is None else geometry
        self.y = torch.from_numpy(resample_to(y_hu, self.spacing, patch_grid)).to(self.device)
        self.slice_operator = operator(
            self.geometry, ImageGrid(shape=y_hu.shape, spacing=self.spacing)
        )
        self.patch_operator = operator(self.geometry, patch_grid)
        self.context_operator = operator(self.geometry, self.context_grid)
        self.crossing = crossing_columns(self.geometry, self.context_grid)
        mu, patch_mu = (
            hu_to_mu(hu, self.mu_water) for hu in (torch.from_numpy(y_hu).to(self.device), self.y)
        )
        on_slice, on_patch = (
            torch.from_numpy(patch_weight(of.grid, patch_grid)).to(self.device)
            for of in (self.slice_operator, self.patch_operator)
        )
        level = patch_mu.mean()  # cancels, but for the pixels' share in the seam
        self.p = self.slice_operator(mu) + (
            self.patch_operator((patch_mu - level) * on_patch)
            - self.slice_operator((mu - level) * on_slice)
        )
        self._kept: Tensor | None = None  # y - R⁻¹R y of a slice that has noise
        if self.image_mas is not None:
            around = resample_to(y_hu, self.spacing, self.context_grid)
            self._kept = torch.from_numpy(around).to(self.device) - self._fbp(self.p)

    def has_noise(self, mas: float) -> bool:
        """Whether the slice has a part of the noise of a scan at an exposure [mAs]."""
        return self.image_mas is not None and mas < self.image_mas

    def added_share(self, mas: float) -> float:
        """Part of a scan's noise variance that is added to the slice at an exposure [mAs].

        Draws vary by that part alone. Of quantum noise; of electronic noise it is a little more.
        """
        if self.image_mas is None or mas >= self.image_mas:
            return 1.0
        return 1.0 - mas / self.image_mas

    def stays(self, mas: float) -> Tensor:
        """What every low-dose image keeps of y, whatever anatomy lies in the patch: y - R⁻¹R y.

        (H, W) on the patch [HU]; zero of a slice without noise, and from its own exposure on, where
        R⁻¹R y stands in y's place.
        """
        if self._kept is None or not self.has_noise(mas):
            return torch.zeros_like(self.y)
        return self.place.of(self._kept)

    def finer_noise(self, mas: float) -> Tensor:
        """Noise of the slice that no scan of this kernel has, (H, W) on the patch [HU].

        A slice that was reconstructed with a sharper kernel has it in what stays of y. Edges lie
        there as well, and are no noise: values are clipped at three standard deviations, as the
        median of their size tells these.
        """
        kept = self.stays(mas)
        most = 3.0 * float(kept.abs().median()) / _MEDIAN_OF_NORMAL
        return kept.clamp(-most, most)

    def photons(self, mas: float) -> np.ndarray:
        """Noise-equivalent quanta incident on each column, per view, at an exposure [mAs]."""
        return photons_per_column(
            mas=mas, kvp=self.kvp, geometry=self.geometry, slice_thickness=self.slice_thickness
        )

    def draw_noise(self, p: Tensor, mas: float, *, seed: int, image: int, draw: int) -> Tensor:
        """𝒫 p of the columns that matter to the patch, keyed as told above.

        (..., views, all columns) in, (..., views, these columns) out: all the noise of a scan at
        the exposure, or what a slice with noise of its own lacks of it.
        """
        rays = p[..., self.crossing].contiguous()
        how: dict[str, Any] = {
            "electronic_noise": self.electronic_noise,
            "first_ray": self.crossing.start,
            "image": image,
            "draw": draw,
        }
        if self.image_mas is None or not self.has_noise(mas):
            photons = self.photons(mas)[self.crossing]
            return sample_transmission(rays, photons=photons, seed=seed, **how)
        return insert_noise(
            rays,
            photons=self.photons(self.image_mas)[self.crossing],
            dose_fraction=mas / self.image_mas,
            seed=missing_seed(seed, self.image_mas),
            **how,
        )

    def _fbp(self, p: Tensor) -> Tensor:
        return mu_to_hu(self.context_operator.fbp(p, window=self.window), self.mu_water)

    def _reconstructed(self, p: Tensor, mas: float) -> Tensor:
        """R⁻¹ of rays at an exposure, with what y has of its own."""
        hu = self._fbp(p)
        return hu + self._kept if self._kept is not None and self.has_noise(mas) else hu

    def low_dose(
        self,
        mas: float,
        *,
        draws: int = 1,
        seed: int | None = None,
        first_draw: int = 0,
        progress: str | None = None,
    ) -> Tensor:
        """R⁻¹𝒫R y, several independent draws of the noise: x, in its surroundings.

        Of a slice with noise of its own, y and the noise that it lacks.

        Parameters
        ----------
        mas : float
            Exposure [mAs].
        draws, first_draw : int
            How many, and the number of the first: draw k is the same image in every call.
        seed : int, optional
            The scanner's own by default.
        progress : str, optional
            Label of a progress bar on stderr.

        Returns
        -------
        Tensor, (draws, rows, cols)
            On the context's grid [HU]; x is `place.of` them.
        """
        seed = self.seed if seed is None else seed
        out = torch.empty(draws, *self.context_grid.shape, device=self.device)
        at = self.crossing
        for first in chunks(draws, progress, self.chunk):
            part = out[first : first + self.chunk]
            noisy = self.p.repeat(len(part), 1, 1)
            for k, scan in enumerate(noisy, first_draw + first):
                scan[:, at] = self.draw_noise(self.p, mas, seed=seed, image=self.image, draw=k)
            part[:] = self._reconstructed(noisy, mas)
        return out

    def rescan(
        self,
        ybar: Tensor,
        mas: float,
        *,
        draws: int = 1,
        seed: int | None = None,
        progress: str | None = None,
    ) -> Tensor:
        """R⁻¹𝒫R of the slice with its patch exchanged for each ȳ, several draws of the noise.

        ``p = R y + R(max(ȳ, -1000) - y)``, exact by linearity; along the patch's border, four
        pixels wide, some of the slice's finer detail remains. Of a slice with noise of its own,
        what it lacks is added, and ``y - R⁻¹R y`` stays. Noise is independent between the ȳ
        and between draws; draw k of the first ȳ is that of draw k of :meth:`low_dose`.

        Parameters
        ----------
        ybar : Tensor, (n, H, W)
            Anatomies [HU] on the patch's grid.
        mas : float
            Exposure [mAs].

        Returns
        -------
        Tensor, (n, draws, rows, cols)
            On the context's grid [HU].
        """
        if ybar.ndim != 3 or tuple(ybar.shape[1:]) != tuple(self.patch_grid.shape):
            raise DataError(
                "anatomies do not lie on the patch's grid",
                where="rescan",
                expected=f"(n, {self.patch_grid.shape[0]}, {self.patch_grid.shape[1]})",
                got=tuple(ybar.shape),
            )
        seed = self.seed if seed is None else seed
        out = torch.empty(len(ybar), draws, *self.context_grid.shape, device=self.device)
        at = self.crossing
        for first in chunks(len(ybar), progress, self.chunk):
            part = ybar[first : first + self.chunk].to(self.device)
            change = (part.clamp(min=AIR_HU) - self.y) * (self.mu_water / 1000.0)
            p = self.p + self.patch_operator(change)
            together = max(1, self.chunk // len(part))  # draws, reconstructed at once
            noisy = p.repeat(min(together, draws), 1, 1, 1)
            for k in range(0, draws, together):
                some = noisy[: draws - k]
                for draw, scans in enumerate(some, k):
                    scans[..., at] = self.draw_noise(
                        p, mas, seed=seed, image=self.image + first, draw=draw
                    )
                images = self._reconstructed(some.flatten(0, 1), mas)
                images = images.unflatten(0, some.shape[:2]).transpose(0, 1)
                out[first : first + self.chunk, k : k + together] = images
        return out

    def without_noise(self) -> Tensor:
        """R⁻¹R y on the context's grid, (rows, cols) [HU]."""
        return self._fbp(self.p)

    def signals(self, ybar: Tensor) -> Tensor:
        """What ȳ in y's place adds to a scan but for the noise: R⁻¹R(max(ȳ, -1000) - y).

        (n, H, W) in, (n, rows, cols) on the context's grid out [HU].
        """
        out = torch.empty(len(ybar), *self.context_grid.shape, device=self.device)
        for first in chunks(len(ybar), None, self.chunk):
            part = ybar[first : first + self.chunk].to(self.device)
            change = (part.clamp(min=AIR_HU) - self.y) * (self.mu_water / 1000.0)
            rays = torch.zeros(len(part), *self.p.shape, device=self.device)
            rays[:] = self.patch_operator(change)
            added = self.context_operator.fbp(rays, window=self.window)
            out[first : first + len(part)] = added * (1000.0 / self.mu_water)
        return out

    def redraw(self, n: int, seed: int, *, mas: float) -> Tensor:
        """The same anatomy with fresh noise, (n, rows, cols): what further scans would give.

        Its draws are never those of :meth:`low_dose` with the same seed.
        """
        return self.low_dose(mas, draws=n, seed=derived_seed(seed, "redraw"))

    def facts(self, mas: float) -> dict[str, Any]:
        """What a record of the scan needs: quanta at the centre, starved rays, backend and why."""
        photons = self.photons(mas)
        return {
            "mas": float(mas),
            "image_mas": self.image_mas,
            "added_share": self.added_share(mas),
            "kvp": self.kvp,
            "slice_thickness_mm": self.slice_thickness,
            "mu_water_per_mm": self.mu_water,
            "quanta_at_centre": float(photons[len(photons) // 2]),
            "electronic_noise_quanta": self.electronic_noise,
            "starved_share": starved_rays(
                self.p.cpu(), photons=photons, electronic_noise=self.electronic_noise
            ),
            "views": len(self.geometry.angles),
            "columns": int(self.geometry.n_cols),
            "window": self.window,
            "backend": self.context_operator.backend,
            "backend_reason": self.context_operator.reason,
            "device": str(self.device),
        }


def seam_weight(scanner: SliceScanner) -> Tensor:
    """Weight (H, W) of an image that is put into a scan's patch: 0 outside it, 1 within.

    1 everywhere where nothing surrounds the patch, and no seam can be seen.
    """
    if scanner.place.whole:
        return torch.ones(scanner.patch_grid.shape, device=scanner.device)
    weight = patch_weight(scanner.patch_grid, scanner.patch_grid)
    return torch.from_numpy(weight).to(scanner.device)


def chunks(n: int, label: str | None, chunk: int) -> Any:
    """First index of each chunk, behind a progress bar on stderr if it has a label."""
    return tqdm(range(0, n, chunk), desc=label, disable=label is None, unit="chunk", leave=False)
