"""One run of scripts/bench, inside its namespaces: bench_lib STAGE OUT PAIRS AGE SVG_DIR MEASURE...

STAGE holds the two suites in ferrule/ and reference/ and helpers in tools/, and whatever this
writes. What was measured goes to the file OUT, for summary.py. Without measures, all are made.
"""

import json
import os
import sys

import across
import attach
import chain
import flaps
import other
import ports
import routes
import traffic
from report import svg
from side import Failed, Side, version

MEASURES = {
    "plain": attach.plain,
    "masquerade": attach.masquerade,
    "dual": attach.dual,
    "check": attach.check,
    "chain": chain.chain,
    "bgp": attach.routed,
    "floor": attach.floor,
    "host-local": other.host_local,
    "burst": other.burst,
    "again": attach.again,
    "cost": other.cost,
    "connections": traffic.connections,
    "portmap": ports.portmap,
    "mapped": ports.mapped,
    "sync": routes.sync,
    "flaps": flaps.flaps,
    "across": across.across,
}


class Notes:
    """What stands below the table."""

    def __init__(self):
        self.lines = []
        self.first = {suite: [] for suite in attach.SUITES}

    def add(self, line):
        self.lines.append(line)

    def first_packets(self, ours, theirs):
        self.first["ferrule"] += ours
        self.first["reference"] += theirs


def main(stage, out, pairs, age, svg_dir, *names):
    Side.age = float(age)
    notes, rows = Notes(), []
    load = os.getloadavg()[0]
    for name in names or MEASURES:
        print(f"{name} …", file=sys.stderr)
        measured = MEASURES[name](stage, int(pairs), notes)
        rows += measured
        picture = svg(name, measured)
        if svg_dir and any(row.theirs for row in measured):
            with open(f"{svg_dir}/{name}.svg", "w", encoding="utf-8") as file:
                file.write(picture)
    for suite in attach.SUITES:
        firsts = notes.first[suite]
        pings = (f"; the first ping to each gateway was answered after {sum(firsts)} of "
                 f"{len(firsts)} ADDs" if firsts else "")
        notes.add(f"{suite}: {version(stage, suite)}{pings}")
    run = {"load": [load, os.getloadavg()[0]], "rows": [row.record() for row in rows],
           "notes": notes.lines}
    with open(out, "w", encoding="utf-8") as file:
        json.dump(run, file)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Failed as failed:
        sys.exit(f"bench: {failed}")
