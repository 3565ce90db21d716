"""The table of some runs of scripts/bench: summary.py PAIRS OUT..."""

import json
import os
import platform
import sys

from report import PERCENTILE, markdown


def main(pairs, *outs):
    runs = []
    for out in outs:
        with open(out, encoding="utf-8") as file:
            runs.append(json.load(file))
    print(markdown([run["rows"] for run in runs]))
    loads = "; ".join("{:.1f} before and {:.1f} after".format(*run["load"]) for run in runs)
    what = "Medians" if len(runs) == 1 else f"The lowest and the highest of {len(runs)} runs' medians"
    print(f"\n{what} of {pairs} each, the suites taking turns; beside their ratio that of the "
          f"{PERCENTILE}th percentiles. Linux {platform.release()}, {os.cpu_count()} CPUs. "
          f"Load: {loads}.\n")
    for number, run in enumerate(runs, 1):
        start = f"run {number}: " if len(runs) > 1 else ""
        for line in run["notes"]:
            print(f"- {start}{line}")


if __name__ == "__main__":
    main(*sys.argv[1:])
