"""ADD and DEL of one pod by a whole chain of plugins, as podman, nerdctl and Kubernetes have it.

What is timed is the processes of the plugins, each from spawn to exit, added up.
"""

import json
import time

from attach import SUITES, columns, sides, turns
from report import Row, at_least
from side import read

RATE = 1_000_000_000  # bits a second, and bits at once
LIMITS = {"ingressRate": RATE, "ingressBurst": RATE, "egressRate": RATE, "egressBurst": RATE}


def lists(side, port):
    """The configuration of each plugin of a side's network, for a pod with that host port."""
    ports = [{"hostPort": port, "containerPort": 80, "protocol": "tcp"}]
    main = json.loads(read(side.conf))
    common = {key: main[key] for key in ("cniVersion", "name", "runDir")}
    behind = [
        {"type": "portmap", "capabilities": {"portMappings": True},
         "runtimeConfig": {"portMappings": ports}},
        {"type": "bandwidth", "runtimeConfig": {"bandwidth": LIMITS}},
        {"type": "firewall", "backend": "iptables"},
        {"type": "tuning", "sysctl": {"net.core.somaxconn": "1024"}},
    ]
    return [main, *({**common, **keys} for keys in behind)]


def call(side, command, conf, result, **pod):
    """Milliseconds of one plugin, and its result."""
    if result is not None:
        conf = {**conf, "prevResult": result}
    path = side.write("chained.json", conf)
    took = side.call(command, conf=path, argv=[f"{side.bin}/{conf['type']}"], **pod)
    return took, json.loads(read(side.output)) if command == "ADD" else result


def add(side, port=8080, **pod):
    total, result = 0, None
    for conf in lists(side, port):
        took, result = call(side, "ADD", conf, result, **pod)
        total += took
    return total, result


def delete(side, result, port=8080):
    return sum(call(side, "DEL", conf, result)[0] for conf in reversed(lists(side, port)))


def once(side):
    """(ADD ms, DEL ms, did the first packets arrive)"""
    side.count += 1
    took, result = add(side)
    first = side.reaches_gateways()
    time.sleep(side.age)
    return took, delete(side, result), first


def chain(stage, pairs, notes):
    with sides(stage, *((suite, "masquerade") for suite in SUITES)) as both:
        for side in both:
            add(side, port=8081, container="other", netns=f"{side.node}-others")
        ours, theirs = map(columns, turns(both, pairs, once))
    notes.first_packets(ours[2], theirs[2])
    names = "bridge, portmap, bandwidth, firewall, tuning"
    return [
        Row(f"ADD, {names}", ours[0], theirs[0], at_least(15)),
        Row(f"DEL, {names}", ours[1], theirs[1], at_least(20)),
    ]
