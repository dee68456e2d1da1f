"""HU and attenuation: a definition, its inverse, and refusals."""

import numpy as np
import pytest
import torch

from recon import DataError, hu_remark, hu_to_mu, mu_to_hu


def test_water_and_vacuum_define_the_scale() -> None:
    assert hu_to_mu(0.0, 0.0193) == pytest.approx(0.0193)
    assert hu_to_mu(-1000.0, 0.0193) == 0.0
    assert mu_to_hu(2 * 0.0193, 0.0193) == pytest.approx(1000.0)


def test_the_inverse_returns_the_input_and_carries_gradients() -> None:
    hu = torch.tensor([-1000.0, -37.5, 0.0, 1432.0], dtype=torch.float64, requires_grad=True)
    back = mu_to_hu(hu_to_mu(hu, 0.0193), 0.0193)
    torch.testing.assert_close(back, hu)
    back.sum().backward()
    torch.testing.assert_close(hu.grad, torch.ones_like(hu))


def test_arrays_keep_their_type() -> None:
    assert hu_to_mu(np.zeros(3, np.float32), 0.02).dtype == np.float32


@pytest.mark.parametrize("mu_water", [0.0, -0.02, 19.3, float("nan")])
def test_implausible_water_is_refused(mu_water: float) -> None:
    with pytest.raises(DataError, match="water attenuation"):
        hu_to_mu(0.0, mu_water)


@pytest.mark.parametrize(
    ("mean", "possible"), [(-1150.0, False), (-1050.0, True), (3050.0, True), (3150.0, False)]
)
def test_no_image_is_emptier_than_air_or_denser_than_bone(mean: float, possible: bool) -> None:
    hu = mean + np.tile([-200.0, 200.0], 50)
    said = hu_remark(hu) or ""
    assert ("a mean of" in said) != possible
