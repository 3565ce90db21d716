"""ADD, DEL and CHECK of one pod, the suites taking turns.

Where addresses are masqueraded the node has another pod, unless a row says otherwise: its first one
makes the table.
"""

import contextlib
import json
import time

from report import Row, at_least, best, median
from side import Side, read

WARM_UP = 3  # attachments of each side that are not counted
SUITES = ("ferrule", "reference")
CROWD = 500
CALM = 5  # seconds after the last pod of a crowd


@contextlib.contextmanager
def sides(stage, *wanted):
    """Sides (suite, case[, others]), closed in the end."""
    open_sides = []
    try:
        for arguments in wanted:
            open_sides.append(Side(stage, *arguments))
        yield open_sides
    finally:
        for side in open_sides:
            side.close()


def turns(open_sides, pairs, once):
    """`once(side)` by turns, and in going first; of each side [what it returned, …]."""
    results = {side: [] for side in open_sides}
    for turn in range(-WARM_UP, pairs):
        for side in open_sides if turn % 2 else reversed(open_sides):
            result = once(side)
            if turn >= 0:
                results[side].append(result)
    return list(results.values())


def attachment(side):
    """(ADD ms, DEL ms, did the first packets arrive)"""
    side.count += 1
    add = side.call("ADD")
    first = side.reaches_gateways()
    time.sleep(side.age)
    return add, side.call("DEL"), first


def columns(samples):
    return [list(column) for column in zip(*samples)]


def plain(stage, pairs, notes):
    with sides(stage, *((suite, "plain") for suite in SUITES)) as both:
        ours, theirs = map(columns, turns(both, pairs, attachment))
    notes.first_packets(ours[2], theirs[2])
    return [
        Row("ADD, plain", ours[0], theirs[0], at_least(3.5)),
        Row("DEL, plain", ours[1], theirs[1], at_least(8)),
    ]


def dual(stage, pairs, notes):
    with sides(stage, *((suite, "dual", 1) for suite in SUITES)) as both:
        ours, theirs = map(columns, turns(both, pairs, attachment))
    notes.first_packets(ours[2], theirs[2])
    return [
        Row("ADD, dual stack, ipMasq", ours[0], theirs[0], at_least(12)),
        Row("DEL, dual stack, ipMasq", ours[1], theirs[1], at_least(40)),
    ]


def masquerade(stage, pairs, notes):
    """With no, one and 500 other pods on the node, all by turns."""
    wanted = [(suite, "masquerade", others) for others in (0, 1, CROWD) for suite in SUITES]
    with sides(stage, *wanted) as six:
        time.sleep(CALM)
        samples = list(map(columns, turns(six, pairs, attachment)))
    ours, theirs = samples[::2], samples[1::2]
    notes.first_packets(sum((side[2] for side in ours), []), sum((side[2] for side in theirs), []))
    adds, dels = [], []
    for others, mine, other, add, delete in zip(
            ("no other pod", "1 other pod", f"{CROWD} other pods"), ours, theirs,
            (at_least(9), at_least(9), at_least(18)), (at_least(25), at_least(25), at_least(30))):
        adds.append(Row(f"ADD, ipMasq, {others}", mine[0], other[0], add))
        dels.append(Row(f"DEL, ipMasq, {others}", mine[1], other[1], delete))
    (_, one, crowded), (_, their_one, their_crowded) = ours, theirs
    flat = Row(f"ADD, ipMasq, {CROWD} other pods / 1", [median(crowded[0]) / median(one[0])],
               [median(their_crowded[0]) / median(their_one[0])],
               ("≤ 1.15", lambda row: row.ours[0] <= 1.15), unit="×")
    notes.add(f"ADD with {CROWD} other pods on the node / with one, of 10th percentiles: "
              f"{best(crowded[0]) / best(one[0]):.2f}")
    return [*adds, flat, *dels]


def again(stage, pairs, notes):
    """ADD right after DEL of the same pod, whose link the kernel may not be done with."""

    def once(side):
        side.count += 1
        side.call("ADD")
        side.reaches_gateways()
        side.call("DEL")
        add = side.call("ADD")
        first = side.reaches_gateways()
        side.call("DEL")
        return add, first

    with sides(stage, *((suite, "masquerade", 1) for suite in SUITES)) as both:
        ours, theirs = map(columns, turns(both, pairs, once))
    notes.first_packets(ours[1], theirs[1])
    return [Row("ADD right after DEL, ipMasq, 1 other pod", ours[0], theirs[0], at_least(9))]


def routed(stage, pairs, _notes):
    """Our plugin bgp beside our bridge."""

    def once(side):
        side.count += 1
        add = side.call("ADD", argv=side.plugin)
        side.reaches_gateways()
        time.sleep(side.age)
        return add, side.call("DEL", argv=side.plugin)

    rows = []
    for case in ("masquerade", "dual"):
        with sides(stage, ("ferrule", case), ("ferrule", case)) as (bgp, bridge):
            bgp.plugin, bridge.plugin = [f"{bgp.bin}/bgp"], [f"{bgp.bin}/bridge"]
            conf = json.loads(read(bgp.conf))
            conf["ipam"].pop("routes")
            bgp.conf = bgp.write("bgp.json", {**conf, "type": "bgp", "mtu": 1500})
            bgp.gateways = ["169.254.1.1"]
            ours, theirs = map(columns, turns((bgp, bridge), pairs, once))
        name = "dual stack" if case == "dual" else "IPv4"
        slower = ("ratio ≥ 0.95", lambda row: row.ratio(median) >= 0.95)
        rows.append(Row(f"ADD by bgp / by bridge, {name}", ours[0], theirs[0], slower,
                        beside="bridge"))
        rows.append(Row(f"DEL by bgp / by bridge, {name}", ours[1], theirs[1], beside="bridge"))
    return rows


def check(stage, pairs, _notes):
    def once(side):
        if not hasattr(side, "checked"):
            side.count += 1
            side.call("ADD")
            side.reaches_gateways()
            conf = json.loads(read(side.conf))
            conf["prevResult"] = json.loads(read(side.output))
            side.checked = side.write("check.json", conf)
        return side.call("CHECK", conf=side.checked)

    with sides(stage, *((suite, "masquerade") for suite in SUITES)) as both:
        ours, theirs = turns(both, pairs, once)
    return [Row("CHECK, ipMasq", ours, theirs, at_least(4))]


def floor(stage, pairs, notes):
    """What our DEL takes beyond an equally small process that only deletes such a link."""

    def attach(side):
        side.count += 1
        side.call("ADD")
        side.reaches_gateways()
        time.sleep(side.age)
        interfaces = json.loads(read(side.output))["interfaces"]
        return interfaces[1]["name"]

    def delete(side):
        attach(side)
        return side.call("DEL")

    def bare(side):
        link = attach(side)
        took = side.call("DEL", argv=[f"{stage}/tools/dellink", link])
        side.call("DEL")
        return took

    rows = []
    for case in ("plain", "masquerade"):
        with sides(stage, ("ferrule", case, 1)) as (side,):
            ours, theirs = turns((delete, bare), pairs, lambda way, side=side: way(side))
        over = [mine - other for mine, other in zip(ours, theirs)]
        notes.add(f"a bare RTM_DELLINK, {case}: {median(theirs):.2f} ms")
        must = ("≤ 1.5 ms", lambda row: median(row.ours) <= 1.5)
        rows.append(Row(f"DEL − bare RTM_DELLINK, {case}", over, None, must))
    return rows
