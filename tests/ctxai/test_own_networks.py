"""Networks that users bring: their forms, their units, and what is found before they are used."""

import re
import sys
import warnings
from pathlib import Path

import architectures
import pytest
import torch
from torch import nn
from torch.nn import functional

from ctxai.sampling.jacobian import linearise
from ctxai.weights.convention import convention_of
from ctxai.weights.derivative import require_differentiable
from ctxai.weights.fingerprint import fingerprint
from ctxai.weights.formats import give_weights
from ctxai.weights.load import load_denoiser
from ctxai.weights.trial_images import trial_images
from ctxai.weights.units import require_hu
from ctxai.wiretap.wiretap import Wiretap
from recon.errors import DataError

HERE = Path(architectures.__file__)
SMOOTH = "import torch\nfrom torch import nn\nfrom torch.nn import functional\n" + (
    "def smooth(x): return functional.avg_pool2d(functional.pad(x, (1,) * 4, mode='replicate'), "
    "3, 1)\n"
)

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*hardly denoises"),
    pytest.mark.filterwarnings("ignore:.*put into evaluation mode"),
]


@pytest.fixture
def own(tmp_path):
    """Load a factory ``make`` from the body of a file, with a smoothing function to build on."""

    def load(body, **how):
        (tmp_path / "mine.py").write_text(SMOOTH + body)
        return load_denoiser(f"{tmp_path / 'mine.py'}:make", **how)

    return load


def images(count=2):
    return trial_images((64, 64), count, seed=9).noisy


@pytest.mark.parametrize(
    "make", [*architectures.NETWORKS, *architectures.CLASSICAL], ids=lambda make: make.__name__
)
def test_architectures_are_taken_as_they_are(make):
    f, name, _ = load_denoiser(f"{HERE}:{make.__name__}")
    assert name == f"architectures.{make.__name__}"
    require_differentiable(f, name)
    assert Wiretap(f, "output").layers[-1] == "output"
    if make not in architectures.CLASSICAL:
        torch.testing.assert_close(f(images()), make().eval()(images()))


class TestForms:
    @pytest.fixture
    def net(self):
        return architectures.dncnn().eval()

    @pytest.mark.parametrize("ending", ["pt", "ts"])
    def test_torchscript(self, net, tmp_path, ending):
        with warnings.catch_warnings(action="ignore"):
            torch.jit.save(torch.jit.trace(net, images()), tmp_path / f"net.{ending}")
        f, name, digest = load_denoiser(str(tmp_path / f"net.{ending}"))
        assert name == "net" and digest == fingerprint(f)
        torch.testing.assert_close(f(images()), net(images()))
        require_differentiable(f, name)
        assert Wiretap(f, "output").layers == ["input", "output"]
        with pytest.raises(DataError, match=r"TorchScript module has no layers inside"):
            Wiretap(f, "body.1")
        assert not any(p.requires_grad for p in f.parameters())
        f, _, _ = load_denoiser(str(tmp_path / f"net.{ending}"), input="hu+1024")
        require_differentiable(f, name)
        assert set(f.state_dict()) == {f"network.{key}" for key in net.state_dict()}
        with pytest.raises(DataError, match=r"TorchScript module has no layers inside"):
            Wiretap(f, "body.1")

    def test_an_exported_program_keeps_the_names_of_its_layers(self, net, tmp_path):
        dims = ({0: torch.export.Dim("batch"), 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO},)
        with warnings.catch_warnings(action="ignore"):
            program = torch.export.export(net, (images(),), dynamic_shapes=dims)
            torch.export.save(program, tmp_path / "net.pt2")
        f, _, _ = load_denoiser(str(tmp_path / "net.pt2"))
        torch.testing.assert_close(f(images()), net(images()))
        require_differentiable(f, "net.pt2")
        assert "body.1.0" in Wiretap(f, "output").layers

    def test_an_exported_program_of_one_image_is_given_one_after_the_other(self, net, tmp_path):
        with warnings.catch_warnings(action="ignore"):
            torch.export.save(torch.export.export(net, (images(1),)), tmp_path / "net.pt2")
        with pytest.warns(UserWarning, match=r"one image at a time"):
            f, _, _ = load_denoiser(str(tmp_path / "net.pt2"))
        torch.testing.assert_close(f(images()), net(images()))
        require_differentiable(f, "net.pt2")

    def test_onnx_has_answers_but_no_jacobian(self, tmp_path):
        pytest.importorskip("onnxruntime", reason="needs the extra onnx")
        onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
        kernel = onnx.numpy_helper.from_array((torch.ones(1, 1, 3, 3) / 9).numpy(), "kernel")
        node = onnx.helper.make_node("Conv", ["x", "kernel"], ["y"], pads=[1, 1, 1, 1])
        value = [
            onnx.helper.make_tensor_value_info(name, 1, ["b", 1, "h", "w"]) for name in ("x", "y")
        ]
        graph = onnx.helper.make_graph([node], "blur", value[:1], value[1:], [kernel])
        opset = [onnx.helper.make_opsetid("", 17)]
        model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=9)
        onnx.save(model, tmp_path / "blur.onnx")
        f, name, _ = load_denoiser(str(tmp_path / "blur.onnx"))
        expected = functional.avg_pool2d(images(), 3, 1, padding=1)
        torch.testing.assert_close(f(images()), expected, rtol=1e-5, atol=1e-2)
        with pytest.raises(DataError, match=r"\(blur\): got a network in .* no Jacobian"):
            require_differentiable(f, name)
        (tmp_path / "bad.onnx").write_bytes(b"no network")
        with pytest.raises(DataError, match=r"ONNX file cannot be read"):
            load_denoiser(str(tmp_path / "bad.onnx"))

    def test_onnx_without_its_package_says_what_to_install(self, tmp_path, monkeypatch):
        (tmp_path / "net.onnx").write_bytes(b"")
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        with pytest.raises(
            DataError, match=r"needs onnxruntime.*pip install .ctxai-invariances\[onnx\]"
        ):
            load_denoiser(str(tmp_path / "net.onnx"))

    def test_weights_beside_their_code(self, net, tmp_path):
        state = {name: 0.5 * value for name, value in net.state_dict().items()}
        plain = load_denoiser(f"{HERE}:dncnn")
        for number, content in enumerate(
            (state, {"epoch": 3, "model_state_dict": {f"module.{k}": v for k, v in state.items()}})
        ):
            path = tmp_path / f"weights{number}.pth"
            torch.save(content, path)
            f, name, digest = load_denoiser(f"{HERE}:dncnn:{path}")
            assert name == f"architectures.dncnn.weights{number}" and digest != plain[2]
            torch.testing.assert_close(
                f.state_dict()["body.0.0.weight"], state["body.0.0.weight"], rtol=0, atol=0
            )

    def test_weights_that_do_not_fit_or_are_pickles_are_refused(self, net, tmp_path):
        torch.save(architectures.unet().state_dict(), tmp_path / "other.pt")
        with pytest.raises(DataError, match=r"does not hold .*:dncnn: tensor 'body\."):
            load_denoiser(f"{HERE}:dncnn:{tmp_path / 'other.pt'}")
        torch.save(net, tmp_path / "whole.pt")
        with pytest.raises(DataError, match=r"not opened.*torch.save\(model.state_dict"):
            load_denoiser(f"{HERE}:dncnn:{tmp_path / 'whole.pt'}")
        with pytest.raises(DataError, match=r"no network with its code.*path.py:factory:weights"):
            load_denoiser(str(tmp_path / "other.pt"))
        with pytest.raises(DataError, match=r"not found"):
            load_denoiser(str(tmp_path / "absent.ts"))
        with pytest.raises(DataError, match=r"only a torch module can be given weights"):
            give_weights(lambda x: x, tmp_path / "other.pt", "mine.py:make")

    def test_neighbours_of_the_file_are_imported_and_forgotten(self, tmp_path):
        path = list(sys.path)
        for folder, value in (("a", 0.9), ("b", 0.95)):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "neighbour.py").write_text(f"value = {value}\n")
            mine = tmp_path / folder / "mine.py"
            mine.write_text(
                "from neighbour import value\ndef make():\n    return lambda x: value * x\n"
            )
            f, _, _ = load_denoiser(f"{mine}:make")
            assert f(100.0) == 100.0 * value
            assert sorted(item.name for item in mine.parent.iterdir()) == [
                "mine.py",
                "neighbour.py",
            ]
        assert sys.path == path and "neighbour" not in sys.modules

    def test_a_network_spread_over_devices_is_taken_out_of_that(self, own):
        f, _, _ = own(
            "def make(): return nn.DataParallel("
            "nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.Identity()))"
        )
        assert Wiretap(f, "0").layers == ["input", "0", "output"]


class TestConventions:
    @pytest.mark.parametrize(
        ("text", "given"),
        [
            ("hu", 60.0),
            ("hu+1024", 1084.0),
            ("hu+1000", 1060.0),
            ("water", 1.06),
            ("scale=4096,offset=1024", 1084 / 4096),
            ("offset=-40, scale=400", 0.05),
        ],
    )
    def test_what_a_network_is_given_and_how_its_answer_is_turned_back(self, text, given):
        convention = convention_of(text)
        assert convention.given(60.0) == pytest.approx(given)
        assert convention.back(given) == pytest.approx(60.0)

    @pytest.mark.parametrize(
        "text", ["", "HU-1024", "scale=2", "scale=0,offset=1", "scale=a,offset=1"]
    )
    def test_other_conventions_are_refused(self, text):
        with pytest.raises(DataError, match=r"--input"):
            convention_of(text)

    @pytest.mark.parametrize("text", ["hu+1024", "water", "scale=4096,offset=1024"])
    def test_f_is_the_network_between_its_own_unit_and_hu(self, own, text):
        """A network that leaves its input alone changes no HU; one that adds .01 adds .01 S."""
        f, _, _ = own("def make(): return nn.Identity()", input=text)
        assert (f(images()) - images()).abs().max() < 1e-3
        f, _, _ = own("def make(): return lambda x: smooth(x) + 0.01", input=text)
        change = f(images()) - functional.avg_pool2d(
            functional.pad(images(), (1,) * 4, mode="replicate"), 3, 1
        )
        assert change.mean() == pytest.approx(0.01 * convention_of(text).scale, rel=1e-2)

    def test_layers_keep_their_names_inside(self, own):
        body = "def make(): return nn.Sequential(nn.AvgPool2d(3, 1, 1), nn.Hardtanh(-3e3, 3e3))"
        plain, given = own(body)[0], own(body, input="hu+1024")[0]
        assert Wiretap(given, "0").layers == ["input", "0", "1", "output"]
        assert torch.equal(Wiretap(given, "0").phi(images()), plain[0](images() + 1024))
        tap = Wiretap(given, "0")
        assert torch.equal(tap.psi(tap.phi(images())), given(images()))
        require_differentiable(given, "mine.py:make")

    @pytest.mark.parametrize("offset", [-1024, -1000, 1000, 1024])
    def test_an_offset_is_named_with_what_to_do(self, own, offset):
        with pytest.raises(DataError, match=r"does not answer in HU") as caught:
            own(f"def make(): return lambda x: smooth(x) + {offset}")
        found = re.search(
            r"answers lie ([-+]\d+) HU from its input.*lambda x: (.*)", str(caught.value)
        )
        assert float(found[1]) == pytest.approx(offset, abs=5)
        assert found[2] == (f"net(x) - {offset}" if offset > 0 else f"net(x + {-offset})")

    @pytest.mark.parametrize(
        ("takes", "low", "high"),
        [("water", 0, 4), ("scale=4096,offset=1024", 0, 1), ("hu+1024", 0, 4095)],
    )
    def test_the_convention_that_fits_is_proposed(self, own, takes, low, high):
        """A network whose answers are cut off at the ends of its own range."""
        body = f"def make(): return lambda x: smooth(x).clamp({low}, {high})"
        own(body, input=takes)
        with pytest.raises(DataError, match=r"does not answer in HU.*try --input") as caught:
            own(body)
        proposed = str(caught.value).rpartition("--input ")[2]
        own(body, input=proposed)
        assert proposed == takes

    def test_scale_and_offset_in_each_others_place_are_refused(self, own):
        body = "def make(): return lambda x: smooth(x).clamp(0, 1)"
        with pytest.raises(DataError, match="the same for every image"):
            own(body, input="scale=1024,offset=4096")
        own(body, input="scale=4096,offset=1024")

    def test_a_network_of_0_to_1_is_refused_with_the_range(self, own):
        with pytest.raises(DataError, match=r"it returns 0 to 1.*try --input"):
            own("def make(): return lambda x: smooth(x).clamp(0, 1)")
        with pytest.raises(DataError, match=r"300 HU comes out as (9|10)[0-9] HU"):
            own("def make(): return lambda x: smooth(x) / 3")

    def test_a_scale_that_only_the_answer_has_is_refused_with_the_number(self, own):
        with pytest.raises(DataError, match=r"it returns -0\.\d+ to 0\.\d+ .*scale=S"):
            own("def make(): return lambda x: smooth(x) / 4096")

    def test_one_that_hardly_denoises_is_told_not_refused(self, own):
        with pytest.warns(UserWarning, match=r"hardly denoises: .* 40.0 HU rms .* itself 40.0"):
            own("def make(): return lambda x: 1.0 * x")
        with warnings.catch_warnings(action="error"):
            own("def make(): return smooth")

    def test_one_that_denoises_in_another_unit_only_is_told_so(self, own):
        """Noise estimated from what lies between 0 and 1."""
        body = "def make(): return lambda x: x - (x - smooth(x)) * (x.abs() < 4).float()"
        with pytest.warns(UserWarning, match=r"hardly denoises.*with --input (scale|water)"):
            own(body)
        with warnings.catch_warnings(action="error"):
            own(body, input="water")

    def test_bone_that_is_cut_off_is_told(self, own):
        with pytest.warns(UserWarning, match=r"bone \(700 HU\) comes out -4\d\d HU off"):
            own("def make(): return lambda x: smooth(x).clamp(-1024, 240)")

    @pytest.mark.parametrize(("side", "tried"), [(48, True), (47, False)])
    def test_a_network_of_one_size_is_tried_on_it_down_to_48_pixels(self, side, tried):
        """Below, 64 × 64 is tried, which a network of one size does not take."""
        asked = []

        def blind(x):
            asked.append(tuple(x.shape[2:]))
            if asked[-1] != (side, side):
                raise ValueError("positional embedding")
            return torch.zeros_like(x)

        if tried:
            with pytest.raises(DataError, match=r"it returns 0 to 0"):
                require_hu(blind, convention_of("hu"), "mine.py:make", (side, side))
        else:
            require_hu(blind, convention_of("hu"), "mine.py:make", (side, side))
        assert set(asked) == ({(48, 48)} if tried else {(64, 64)})

    def test_networks_that_come_along_have_a_unit(self):
        with pytest.raises(DataError, match=r"input is known"):
            load_denoiser("chen", input="water")


class TestBehaviour:
    @pytest.mark.parametrize(
        "law",
        [
            "smooth(x) * (1 + 1e-4 * (x.amax() - x.amin()))",
            "smooth(x) + 0.01 * x.mean()",
            "smooth(x) + 0.02 * x[0].max()",
            "smooth(x) + 5 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))",
            "smooth(x) + 20 * torch.tanh((smooth(x) - x.mean()) / x.std())",
            "smooth(x) + 5.0 * (len(x) == 3)",
            "smooth(x) + functional.batch_norm(smooth(x), None, None, training=True)",
        ],
        ids=["range", "mean", "largest", "noise", "z-score", "three", "statistics"],
    )
    def test_batch_dependence_is_refused_with_the_number(self, own, law):
        with pytest.raises(DataError, match=r"alone and in a batch of [23].*got [\d.]+ HU"):
            own(f"def make(): return lambda x: {law}")

    def test_a_tenth_of_a_hu_is_the_bound_of_what_a_batch_may_change(self, own):
        own("def make(): return lambda x: smooth(x) + 0.08 * (len(x) > 1)")
        with pytest.raises(DataError, match=r"alone and in a batch of 2.*got 0\.12 HU"):
            own("def make(): return lambda x: smooth(x) + 0.12 * (len(x) > 1)")

    def test_scaling_by_each_image_itself_is_taken(self, own):
        own("def make(): return lambda x: smooth(x) + 0.01 * x.mean((1, 2, 3), keepdim=True)")

    def test_random_numbers_and_state_are_told_apart(self, own):
        with pytest.raises(DataError, match=r"draws random numbers.*dropout"):
            own("def make(): return lambda x: functional.dropout(smooth(x), 0.2)")
        with pytest.raises(DataError, match=r"keeps something from call to call"):
            own(
                "class Net(nn.Module):\n"
                "    calls = 0\n"
                "    def forward(self, x):\n"
                "        self.calls += 1\n"
                "        return smooth(x) + self.calls\n"
                "def make(): return Net()\n"
            )

    @pytest.mark.filterwarnings("default:.*put into evaluation mode")
    def test_batchnorm_in_training_mode_is_put_right_and_told(self, own):
        with pytest.warns(UserWarning, match=r"BatchNorm2d were put into evaluation mode"):
            f, _, _ = own(
                "def make(): return nn.Sequential(nn.BatchNorm2d(1), nn.AvgPool2d(3, 1, 1))"
            )
        assert not f[0].training

    def test_a_fixed_size_is_tried_at_the_size_of_use(self, own):
        body = (
            "def make():\n"
            "    def f(x):\n"
            "        assert x.shape[2:] == (128, 128), 'of 128 pixels alone'\n"
            "        return smooth(x)\n"
            "    return f\n"
        )
        with pytest.raises(DataError, match=r"not take 64 × 64 pixels, but 128 × 128.*--patch 128"):
            own(body)
        f, _, digest = own(body, shape=(128, 128))
        require_differentiable(f, "mine.py:make", (128, 128))
        assert len(digest) == 64

    def test_poolings_that_do_not_fit_are_named(self, own):
        body = (
            "def make():\n"
            "    def f(x):\n"
            "        low = functional.interpolate(functional.avg_pool2d(x, 16), scale_factor=16)\n"
            "        return smooth(x) + 0.01 * low\n"
            "    return f\n"
        )
        own(body)
        with pytest.raises(DataError, match=r"not take 72 × 72 pixels, but 64 × 64 and 80 × 80"):
            own(body, shape=(72, 72))


class TestJacobian:
    @pytest.mark.parametrize(
        "body",
        [
            # a branch without its gradient
            "def make():\n    def f(x):\n        with torch.no_grad(): s = smooth(x)\n"
            "        return 0.5 * x + 0.5 * s\n    return f\n",
            "def make(): return lambda x: 0.5 * smooth(x) + 0.5 * smooth(x.detach()).relu().sin()"
            " + 0.5 * smooth(x.detach())\n",
            # a backward pass of its own
            "class Wrong(torch.autograd.Function):\n"
            "    generate_vmap_rule = True\n"
            "    @staticmethod\n    def forward(x): return smooth(x)\n"
            "    @staticmethod\n    def setup_context(ctx, inputs, output): pass\n"
            "    @staticmethod\n    def backward(ctx, g): return 0.5 * g\n"
            "def make(): return Wrong.apply\n",
            # answers in steps
            "def make(): return lambda x: (smooth(x) / 10).round() * 10 + 0 * smooth(x)",
        ],
        ids=["no_grad", "detached", "wrong backward", "steps"],
    )
    def test_a_derivative_that_is_not_that_of_the_answers_is_refused(self, own, body):
        f, name, _ = own(body)
        with pytest.raises(DataError, match=r"is \d+ % off finite differences"):
            require_differentiable(f, name)

    def test_a_gradient_taken_without_its_graph_is_refused(self, own):
        f, name, _ = own(
            "def make():\n"
            "    def f(x):\n"
            "        with torch.enable_grad():\n"
            "            y = x.detach().requires_grad_(True)\n"
            "            step, = torch.autograd.grad((200 * torch.tanh((y - smooth(y)) / 200))"
            ".square().sum() / 8, y)\n"
            "        return x - step\n"
            "    return f\n"
        )
        with pytest.raises(DataError, match=r"off finite differences|cannot be differentiated"):
            require_differentiable(f, name)

    @pytest.mark.parametrize("make", [architectures.swin, architectures.vit])
    def test_attention_has_both_products(self, make):
        f, x = make().eval().requires_grad_(False), images(1)
        w = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
        at = linearise(f, x)
        change = (f(x + 0.3 * w) - f(x - 0.3 * w)) / 0.6
        assert (at.times_j(w) - change).norm() < 1e-3 * change.norm()
        assert float((at.times_jt(change) * w).sum()) == pytest.approx(
            float(change.square().sum()), rel=1e-3
        )


class TestKey:
    def test_it_follows_what_f_answers(self, own):
        closure = "def make():\n    w = {}\n    return lambda x: smooth(x) + w * (x - smooth(x))\n"
        key = own(closure.format(0.1))[2]
        assert own(closure.format(0.1) + "# another comment\n")[2] == key
        assert own(closure.format(0.12))[2] != key

    def test_it_follows_a_module_that_the_file_imports(self, own, tmp_path):
        keys = []
        for share in (0.1, 0.1, 0.12):
            (tmp_path / "law.py").write_text(f"share = {share}\n")
            body = "def make(): return lambda x: smooth(x) + share * (x - smooth(x))\n"
            keys.append(own("from law import share\n" + body)[2])
        assert keys[0] == keys[1] != keys[2]

    def test_it_follows_tensors_where_the_answers_are_the_same(self):
        def net(order):
            f = architectures.dncnn().eval()
            first, second = f.body[0][0], f.body[1]
            with torch.no_grad():
                first.weight.copy_(first.weight[order])
                first.bias.copy_(first.bias[order])
                second[0].weight.copy_(second[0].weight[:, order])
            return f

        f, turned = net(list(range(8))), net(list(range(8))[::-1])
        torch.testing.assert_close(f(images()), turned(images()))
        assert fingerprint(lambda x: f(x)) == fingerprint(lambda x: turned(x))
        assert fingerprint(f) != fingerprint(turned)

    def test_it_does_not_follow_the_last_bits(self):
        f = architectures.unet().eval()
        keys = set()
        for seed in range(20):
            generator = torch.Generator().manual_seed(seed)

            def rounded(x, generator=generator):
                return f(x) * (1 + 6e-8 * torch.randn(x.shape, generator=generator))

            keys.add(fingerprint(rounded))
        assert len(keys) == 1

    def test_it_does_not_follow_the_number_of_threads(self):
        f, before = architectures.redcnn().eval(), torch.get_num_threads()
        try:
            keys = set()
            for threads in (1, 2):
                torch.set_num_threads(threads)
                keys.add(fingerprint(f))
        finally:
            torch.set_num_threads(before)
        assert len(keys) == 1

    def test_it_follows_half_a_hu(self):
        smooth = nn.AvgPool2d(3, 1, 1)
        other = images(1)[0] - smooth(images(1))[0]
        pattern = 0.5 * other / other.std()
        assert fingerprint(lambda x: smooth(x)) != fingerprint(lambda x: smooth(x) + pattern)

    def test_it_stays_from_version_to_version(self):
        """Samplers that users have trained are kept by it: it must not change unnoticed.

        No mean of the identity lies within 0.02 HU of an edge, and rounding moves it by 1e-4 HU.
        """
        assert fingerprint(lambda x: x) == (
            "b23d49837363db634ba659852d6f73ee27e2d4b517b9705d8b3ff7c9e6e85f1d"
        )
