#!/usr/bin/env python3
"""Measure what the network of exercise_attn costs, and fit it against items N, width K, window w.

    scripts/cost.py                 the whole grid, under 3 minutes
    scripts/cost.py --quick         a smaller one, under half a minute
    scripts/cost.py --csv FILE      where the measurements are written (default: cost.csv)

The paper claims O(K w). fitexp/report/cost.py says how it is fitted, fitexp/cost.py what is
measured. Times depend on the machine, operations do not.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

for threads in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[threads] = "1"  # before anything imports torch or numpy

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer sizes and turns")
    parser.add_argument("--csv", type=Path, default=Path("cost.csv"), metavar="FILE")
    options = parser.parse_args()
    if not options.csv.parent.is_dir():
        parser.error(f"--csv {options.csv}: there is no folder {options.csv.parent}")

    from fitexp.cost import document
    from fitexp.report.document import as_csv, as_text

    found = document(options.quick)
    print(as_text(found))
    options.csv.write_text(as_csv(found) + "\n", encoding="utf-8")
    print(f"\nmeasurements: {options.csv}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
