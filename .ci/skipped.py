"""Say in one line what was skipped and why; fail where the reason is not true on this machine.

python .ci/skipped.py RESULTS.xml      what `pytest --junitxml=RESULTS.xml` wrote
"""

import re
import shutil
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import torch  # noqa: E402
from headless import CHROMIUM  # noqa: E402
from real_data import DATA  # noqa: E402

REASONS = {  # a pattern of the reason, and whether it holds here
    "no CUDA device": not torch.cuda.is_available(),
    "there is a CUDA device": torch.cuda.is_available(),
    "tomosipo": find_spec("tomosipo") is None,
    "no real data": not DATA.is_dir(),
    "no Chromium": not CHROMIUM,
    "SimpleITK is not installed": find_spec("SimpleITK") is None,
    "dciodvfy is not installed": shutil.which("dciodvfy") is None,
    "needs the extra onnx": find_spec("onnxruntime") is None or find_spec("onnx") is None,
}


def main() -> int:
    """Count the reasons of the skipped tests."""
    results = ElementTree.parse(sys.argv[1]).getroot()
    reasons: Counter[str] = Counter()
    wrong = []
    for case in results.iter("testcase"):
        skipped = case.find("skipped")
        if skipped is None:
            continue
        reason = skipped.get("message", "")
        reasons[reason] += 1
        if not any(holds for pattern, holds in REASONS.items() if re.search(pattern, reason)):
            wrong.append(f"{case.get('classname')}::{case.get('name')} ({reason})")
    for name in wrong:
        print(f"ci: skipped without a reason that holds here: {name}", file=sys.stderr)
    said = ", ".join(f"{count} for {reason}" for reason, count in sorted(reasons.items()))
    print(f"skipped: {said or 'nothing'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
