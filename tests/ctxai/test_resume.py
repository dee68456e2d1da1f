"""Every kind of task goes on from its checkpoint to the bits of a run that was never stopped."""

import pytest
from small_tasks import LARGE, MAKERS, STEPS, task

from ctxai.files.tensors import digest_tensors
from ctxai.training.loop import train

pytestmark = pytest.mark.usefixtures("one_thread")


def digests(trained):
    return [digest_tensors(module.state_dict()) for module in trained.modules.values()]


KINDS = [pytest.param(k, marks=pytest.mark.slow if k == LARGE else ()) for k in MAKERS]


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_stopped_at_any_step_ends_in_the_same_bits(kind, tmp_path):
    straight = task(kind)
    logs = train(straight, steps=STEPS, seed=3, progress=False)
    for stop in range(1, STEPS):
        broken, resumed = task(kind), task(kind)
        step, path = broken.step, tmp_path / f"stopped-{stop}"

        def until(index, generator, step=step, stop=stop):
            if index == stop:
                raise KeyboardInterrupt
            return step(index, generator)

        broken.step = until
        with pytest.raises(KeyboardInterrupt):
            train(broken, steps=STEPS, seed=3, checkpoint=path, every=1, progress=False)
        again = train(resumed, steps=STEPS, seed=3, checkpoint=path, every=1, progress=False)
        assert again == logs
        assert digests(resumed) == digests(straight)
