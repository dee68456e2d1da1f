#!/usr/bin/env python3
"""The curves of a training for TensorBoard: nothing writes them unless it is asked for here.

    pip install tensorboard
    python scripts/tensorboard_curves.py RUN --out CURVES
    tensorboard --logdir CURVES

RUN is the folder of a training, finished or not: every CSV log in it becomes a run of that name.
Asked again, it takes the steps that came since and replaces those that are there.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from recon import DataError


def main() -> int:
    """Write the curves; 2 if there are none, or TensorBoard is not installed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a training")
    parser.add_argument("--out", type=Path, required=True, help="folder of the curves")
    asked = parser.parse_args()
    try:
        for name in write_curves(asked.run, asked.out):
            print(asked.out / name)
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def write_curves(run: Path, out: Path) -> list[str]:
    """Names of the logs of a training, each written as a run of TensorBoard's."""
    logs = {path.stem: rows for path in sorted(run.rglob("*.csv")) if (rows := log_of(path))}
    if not logs:
        raise DataError("no log of a training", where=run, expected="checkpoints/NAME.csv in it")
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise DataError("TensorBoard is not installed", remedy="pip install tensorboard") from None
    for name, rows in logs.items():
        with SummaryWriter(str(out / name), purge_step=0) as writer:
            for row in rows:
                step = int(row.pop("step"))
                for quantity, value in row.items():
                    writer.add_scalar(quantity, float(value), step)
    return list(logs)


def log_of(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV log, none of a file that is another table."""
    with open(path, newline="") as handle:
        reader = csv.DictReader(handle)
        return list(reader) if (reader.fieldnames or [""])[0] == "step" else []


if __name__ == "__main__":
    sys.exit(main())
