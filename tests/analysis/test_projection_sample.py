"""`ctxai projection-domain --other sample`: the anatomy that `ctxai target-domain` numbers."""

import numpy as np
import pytest
import torch

from analysis.main import main
from analysis.runs.store import read_run
from ctxai.denoisers import Chen
from ctxai.files.modules import save_module
from ctxai.representation.cinn import ConditionalINN
from ctxai.representation.vae import VAE
from ctxai.sampling.draw import _coordinates
from ctxai.weights.sets import WeightSet, cinn_name


@pytest.fixture(scope="module")
def samplers(tiny_weights, tmp_path_factory):
    """Chen, VAE_y and a cINN of 16 latents, untrained: draws come in blocks of 16."""
    point = tiny_weights.manifest["recipe"]["working_point"]
    folder = tmp_path_factory.mktemp("samplers")
    torch.manual_seed(0)
    vae = VAE(shape=(16, 16), latent=16, widths=(8, 8), offset=0.0, scale=200.0)
    cinn = ConditionalINN(latent=16, condition_shape=(1, 16, 16), blocks=2, hidden=8, embedding=8)
    modules = {"chen": Chen(), "vae_y": vae, cinn_name("chen", "output", "y"): cinn}
    for name, module in modules.items():
        save_module(folder / f"{name}.safetensors", module, **point, recipe="untrained")
    weights = WeightSet(folder)
    weights.seal(recipe={"name": "untrained", "working_point": point}, figures={})
    return weights


def test_draws_do_not_depend_on_how_many_there_are(samplers):
    """Number K of n samples, for the latents that ship: images of 64², and vectors of 128."""
    for latent in (16, 128, 4096):
        few, many = (_coordinates(None, n, latent, 5, torch.zeros(1)) for n in (4, 40))
        assert torch.equal(few, many[:4])


@pytest.mark.slow
def test_a_sampled_anatomy_is_that_of_the_target_domain(ct_folder, samplers, tmp_path):
    """The third, drawn for the scan at the first exposure, and followed at both."""
    common = ["--images", str(ct_folder), "--denoiser", "chen", "--weights", str(samplers.folder)]
    first, second = (tmp_path / name for name in ("target", "pair"))
    target = ["target-domain", *common, "--mas", "30", "-n", "5", "--draws", "1"]
    assert main([*target, "--out", str(first)]) == 0
    more = ["--other", "sample", "--sample", "3", "--mas", "30", "10", "--draws", "12"]
    assert main(["projection-domain", *common, *more, "--out", str(second)]) == 0
    [expected] = [study.arrays["ybar"] for study in read_run(first).studies]
    run = read_run(second)
    assert run.record["configuration"]["sample"] == 3
    assert [study.mas for study in run.studies] == [30.0, 10.0]
    for study in run.studies:
        np.testing.assert_allclose(study.arrays["ybar"], expected[2].clip(-1000), atol=1e-3)
        assert study.facts["other"] == "sampled ȳ 3"
    assert abs(expected[2] - expected[[0, 1, 3, 4]]).max((1, 2)).min() > 1.0
