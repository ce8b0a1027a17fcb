"""Runs benchmarks and prints a table: python3 -m benchmarks [NAME ...] [--json] [--save KIND] [--scale X]."""

import argparse
import json
import sys
import traceback
from pathlib import Path

from core.ops import bootstrap

ROOT = Path(__file__).resolve().parents[1]
TRYING = 0.1  # below that scale servers start as in tests, in a fraction of the time


def main():
    from benchmarks import report
    from benchmarks.goals import BENCHMARKS

    parser = argparse.ArgumentParser(prog="python3 -m benchmarks", description=__doc__, allow_abbrev=False)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones: {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of the table")
    parser.add_argument("--save", metavar="KIND", help="also write benchmarks/results/DATE-KIND.md")
    parser.add_argument("--scale", type=float, default=1, help="sizes are multiplied by it; other than 1 is for trying")
    flags = parser.parse_args()
    if unknown := set(flags.names) - set(BENCHMARKS):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}. There are {', '.join(BENCHMARKS)}.")
    if flags.scale <= 0:
        parser.error("--scale must be over 0.")
    measurements, failed = [], []
    for name in flags.names or BENCHMARKS:
        try:
            for measurement in run(name, flags.scale):
                measurements.append(measurement)
                print(json.dumps(measurement.row()) if flags.json else report.line(measurement), flush=True)
        except Exception:  # the numbers of the others are not lost
            failed.append(name)
            traceback.print_exc()
    if flags.save:
        print(f"saved {report.save(flags.save, measurements)}", file=sys.stderr)
    return 1 if failed or any(measurement.ok is False for measurement in measurements) else 0


def run(name, scale):
    """The measurements of one benchmark, as they come."""
    import importlib

    from benchmarks.goals import Measurement
    from tests import serving, warm

    serving.WATCH.clear()  # it costs time
    warm.allowed = warm.allowed and scale < TRYING
    for metric, value, unit in importlib.import_module(f"benchmarks.{name}").measure(scale):
        yield Measurement(name, metric, round(value, 4), unit, judged=scale == 1)


if __name__ == "__main__":
    bootstrap.ensure([ROOT / "requirements.lock", ROOT / "requirements-test.lock"])
    sys.exit(main())
