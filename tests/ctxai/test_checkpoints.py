import hashlib
import time

import pytest
import safetensors.torch
import torch
from torch import nn

from ctxai.denoisers import Chen, Yang
from ctxai.files.modules import load_module, save_module
from ctxai.files.tensors import digest_tensors, load_tensors, save_tensors
from ctxai.weights.load import load_denoiser
from ctxai.weights.sets import SHIPPED
from recon.errors import DataError


@pytest.fixture
def chen():
    torch.manual_seed(4)
    return Chen(offset=-350.0, scale=432.1)


def test_a_network_comes_back_with_its_configuration_and_facts(tmp_path, chen):
    path = save_module(tmp_path / "chen.safetensors", chen, pixel_mm=1.0, recipe=[1, "two"])
    module, facts = load_module(path)
    assert type(module) is Chen and not module.training
    assert module.config == chen.config
    assert facts == {"pixel_mm": 1.0, "recipe": [1, "two"]}
    x = torch.linspace(-1000, 1000, 400).reshape(1, 1, 20, 20)
    assert torch.equal(module(x), chen(x))


def test_half_precision_halves_the_file_and_rounds_the_weights_only(tmp_path, chen):
    whole = save_module(tmp_path / "whole", chen)
    half = save_module(tmp_path / "half", chen, half=True)
    assert half.stat().st_size < 0.55 * whole.stat().st_size
    module, _ = load_module(half)
    for name, weight in chen.named_parameters():
        restored = module.get_parameter(name)
        assert restored.dtype == torch.float32
        assert torch.equal(restored, weight.half().float())
    assert module.scale == chen.scale  # 432.1 has no exact 16-bit form


def test_the_same_network_is_the_same_file(tmp_path, chen):
    first = save_module(tmp_path / "first", chen, a=1, b=2, c=3).read_bytes()
    assert save_module(tmp_path / "second", chen, a=1, b=2, c=3).read_bytes() == first


def test_the_digest_of_the_file_is_checked(tmp_path, chen):
    path = save_module(tmp_path / "chen", chen)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    load_module(path, digest=digest)
    with pytest.raises(DataError, match="not the file that was recorded"):
        load_module(path, digest="0" * 64)


def test_every_single_flipped_bit_is_refused_or_changes_nothing(tmp_path):
    tensors = {"w": torch.tensor([1.5, -2.0]), "n": torch.tensor(7)}
    record = {"kind": "test", "facts": {"mas": 10.5, "name": "chen"}}
    path = save_tensors(tmp_path / "file", tensors, record)
    content = bytearray(path.read_bytes())
    refused = 0
    for bit in range(8 * len(content)):
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        content[bit // 8] ^= 1 << bit % 8
        try:
            got, got_record = load_tensors(path)
        except DataError:
            refused += 1
        else:
            assert got_record == record and digest_tensors(got) == digest_tensors(tensors)
    assert refused == 8 * len(content)


def test_every_truncation_is_refused(tmp_path):
    path = save_tensors(tmp_path / "file", {"w": torch.arange(4.0)}, {"kind": "test"})
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DataError):
            load_tensors(path)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_network_with_nan_is_neither_written_nor_read(tmp_path, chen, value):
    good = save_module(tmp_path / "good", chen)
    kept = good.read_bytes()
    with torch.no_grad():
        chen.layers[2].bias[3] = value
    with pytest.raises(DataError, match=r"'layers\.2\.bias' holds NaN"):
        save_module(good, chen)
    assert good.read_bytes() == kept
    assert [item.name for item in tmp_path.iterdir()] == ["good"]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda content: content[: len(content) // 2], "truncated"),
        (lambda content: content[:40], "truncated"),
        (lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:], "not as it was"),
        (lambda content: content[:30] + bytes([content[30] ^ 1]) + content[31:], ""),
        (lambda content: safetensors.torch.save({"w": torch.zeros(2)}), "another program"),
        (lambda content: b"PK" + content, "not a safetensors file"),
        (None, "'layers.2.bias' holds NaN"),
    ],
    ids=["half", "cut in its header", "flipped", "header flipped", "foreign", "no tensors", "NaN"],
)
def test_what_is_not_whole_is_refused_by_name_before_a_network_is_built(
    tmp_path, chen, monkeypatch, spoil, why
):
    path = tmp_path / "chen.safetensors"
    if spoil is None:  # a file of our own, sealed with a NaN inside
        with torch.no_grad():
            chen.layers[2].bias[3] = torch.nan
        with monkeypatch.context() as unchecked:
            unchecked.setattr("ctxai.files.tensors.require_finite", lambda tensors, path: None)
            save_module(path, chen)
    else:
        path.write_bytes(spoil(save_module(path, chen).read_bytes()))

    def built(self, **config):
        raise AssertionError("a network was built")

    monkeypatch.setattr(Chen, "__init__", built)
    for load in (load_module, load_denoiser):
        with pytest.raises(DataError) as refused:
            load(str(path))
        assert "chen.safetensors" in str(refused.value) and why in str(refused.value)


def test_weights_too_large_for_sixteen_bits_are_refused(tmp_path, chen):
    with torch.no_grad():
        chen.layers[0].weight[0, 0, 0, 0] = 1e5
    save_module(tmp_path / "whole", chen)
    with pytest.raises(DataError, match="infinity"):
        save_module(tmp_path / "half", chen, half=True)


def test_files_of_other_programs_are_named_as_such(tmp_path, chen):
    foreign = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file(chen.state_dict(), foreign)
    with pytest.raises(DataError, match="another program"):
        load_module(foreign)
    text = tmp_path / "text.safetensors"
    text.write_text("not tensors at all")
    with pytest.raises(DataError, match="not a safetensors file"):
        load_module(text)
    with pytest.raises(DataError, match=r"cannot be read .*missing"):
        load_module(tmp_path / "missing")


def test_a_class_that_is_not_ours_is_neither_saved_nor_built(tmp_path):
    with pytest.raises(DataError, match="not a network of this toolbox"):
        save_module(tmp_path / "linear", nn.Linear(1, 1))
    record = {"kind": "module", "class": "os.system", "config": {}, "facts": {}}
    path = save_tensors(tmp_path / "evil", {"w": torch.zeros(1)}, record)
    with pytest.raises(DataError, match="not a network of this toolbox"):
        load_module(path)


def test_tensors_or_a_configuration_that_do_not_fit_are_named(tmp_path, chen):
    record = {"kind": "module", "class": "Yang", "config": chen.config, "facts": {}}
    path = save_tensors(tmp_path / "mixed", chen.state_dict(), record)
    with pytest.raises(DataError, match=r"does not hold Yang: tensor 'layers\.0\.bias'"):
        load_module(path)
    record = {"kind": "module", "class": "Yang", "config": {"depth": 8}, "facts": {}}
    path = save_tensors(tmp_path / "other", Yang().state_dict(), record)
    with pytest.raises(DataError, match="configuration does not fit Yang"):
        load_module(path)
    path = save_tensors(tmp_path / "training", {}, {"kind": "training"})
    with pytest.raises(DataError, match="not the checkpoint of a network"):
        load_module(path)


@pytest.mark.parametrize(
    ("shipped", "size"),
    [
        ("cinn-chen-output-x", {"blocks": 10**6}), ("cinn-chen-output-x", {"blocks": 1000}),
        ("cinn-chen-output-x", {"hidden": 10**6}), ("flow-chen-1-x", {"widths": [8, 10**5, 8]}),
        ("vae_x", {"width": 10**6}), ("vae_x", {"shape": [10**7, 10**7]}),
    ],
)  # fmt: skip
def test_a_network_larger_than_its_file_is_refused_before_it_is_built(shipped, size, tmp_path):
    """A sealed file of 340 bytes took 80 s and 10 GB to find that out."""
    _, record = load_tensors(SHIPPED.folder / f"{shipped}.safetensors")
    record["config"] |= size
    path = tmp_path / "small.safetensors"
    save_tensors(path, {"a": torch.zeros(1)}, record)
    start = time.process_time()
    with pytest.raises(DataError, match=r"describes a network that the file does not hold.*small"):
        load_module(path)
    assert time.process_time() - start < 1.0


def test_a_record_that_is_no_json_is_refused(tmp_path):
    with pytest.raises(DataError, match="no JSON"):
        save_tensors(tmp_path / "file", {}, {"where": tmp_path})
    with pytest.raises(DataError, match="no JSON"):
        save_tensors(tmp_path / "file", {}, {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_tensors_that_share_memory_or_are_strided_are_kept_apart(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    path = save_tensors(tmp_path / "file", {"a": base, "b": base.T, "c": base[1]}, {})
    tensors, _ = load_tensors(path)
    assert torch.equal(tensors["b"], base.T) and torch.equal(tensors["c"], base[1])


def test_the_digest_of_tensors_sees_names_types_shapes_and_bits():
    a = torch.arange(6.0)
    digests = {
        digest_tensors(tensors)
        for tensors in (
            {"a": a},
            {"b": a},
            {"a": a.double()},
            {"a": a.reshape(2, 3)},
            {"a": torch.nextafter(a, a + 1)},
            {"a": a.bfloat16()},
            {"a": torch.zeros(0)},
        )
    }
    assert len(digests) == 7
    assert digest_tensors({"a": a.reshape(2, 3).T.contiguous().T.reshape(6)}) in digests
