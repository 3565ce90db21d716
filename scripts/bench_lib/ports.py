"""Host ports: portmap behind bridge, the suites taking turns.

The node has another pod with a host port, unless a row says otherwise: its first one makes the table.
"""

import json
import time

from attach import SUITES, columns, turns
from report import Row, at_least, median
from side import Side, read, run
from traffic import connect, rates

CROWD = 5000
EACH = 100  # mappings of each other attachment
PORTS = 8  # those that tests/examples/connect.rs listens on
FIRST_PORT = 5000


def mappings(first, count, to=80):
    return [{"hostPort": first + number, "containerPort": to, "protocol": "tcp"}
            for number in range(count)]


class Ports(Side):
    """A side whose node has a pod. Its ports come and go; those of others stay."""

    def __init__(self, stage, suite, backend=None, crowd=0):
        self.backend = backend
        super().__init__(stage, suite, "plain")
        self.plugin = [f"{self.bin}/portmap"]
        self.call("ADD")
        self.result = json.loads(read(self.output))
        self.reaches_gateways()
        for first in range(0, crowd, EACH):
            conf = self.ports(f"other-{first}", mappings(20000 + first, min(EACH, crowd - first)))
            self.call("ADD", conf=conf, argv=self.plugin, container=f"other-{first}")

    def ports(self, name, wanted):
        """A configuration, as the runtime makes it."""
        conf = json.loads(read(self.conf))
        conf = {key: conf[key] for key in ("cniVersion", "name", "runDir")}
        conf |= {"type": "portmap", "capabilities": {"portMappings": True},
                 "runtimeConfig": {"portMappings": wanted}, "prevResult": self.result}
        if self.backend:
            conf["backend"] = self.backend
        return self.write(f"{name}.json", conf)


def sides(stage, *wanted):
    return [Ports(stage, *arguments) for arguments in wanted]


def three(stage):
    return sides(stage, ("ferrule", None, 1), ("reference", "iptables", 1),
                 ("reference", "nftables", 1))


def rest():
    """What was deleted is freed meanwhile. The processor stays awake, as it is when a runtime starts
    a pod: asleep, it would add its 0.3 ms to every process."""
    end = time.perf_counter() + 0.06
    while time.perf_counter() < end:
        pass


def of_ports(stage, pairs, count):
    """ADD, CHECK and DEL of so many ports: of ours, and of the reference's two backends."""
    all_sides = three(stage)
    for side in all_sides:
        side.wanted = side.ports("ports", mappings(8000, count))

    def once(side):
        took = []
        for command in ("ADD", "CHECK", "DEL"):
            took.append(side.call(command, conf=side.wanted, argv=side.plugin))
            rest()
        return took

    try:
        return [columns(samples) for samples in turns(all_sides, pairs, once)]
    finally:
        for side in all_sides:
            side.close()


def portmap(stage, pairs, notes):
    rows = []
    musts = {1: (at_least(25), None, at_least(40)), 100: (at_least(300), at_least(200), None)}
    for count, must in musts.items():
        # The reference's backend iptables takes a second for 100 ports.
        ours, iptables, nftables = of_ports(stage, pairs if count == 1 else max(pairs // 5, 5), count)
        what = "1 port" if count == 1 else f"{count} ports"
        for at, command in enumerate(("ADD", "CHECK", "DEL")):
            rows.append(Row(f"{command}, portmap, {what}, backend iptables", ours[at], iptables[at],
                            must[at]))
            rows.append(Row(f"{command}, portmap, {what}, backend nftables", ours[at], nftables[at]))
    return rows + crowded(stage, pairs, notes)


def crowded(stage, pairs, notes):
    """ADD of one port beside 5,000 of others over beside none but another pod's one."""
    both = sides(stage, ("ferrule", None, 1), ("ferrule", None, CROWD))
    for side in both:
        side.wanted = side.ports("ports", mappings(8000, 1))

    def once(side):
        add = side.call("ADD", conf=side.wanted, argv=side.plugin)
        rest()
        delete = side.call("DEL", conf=side.wanted, argv=side.plugin)
        rest()
        return add, delete

    try:
        few, many = map(columns, turns(both, pairs, once))
    finally:
        for side in both:
            side.close()
    rows = []
    for at, command in enumerate(("ADD", "DEL")):
        notes.add(f"portmap, {command} of 1 port: {median(few[at]):.2f} ms beside 1 mapping, "
                  f"{median(many[at]):.2f} ms beside {CROWD:,}")
        rows.append(Row(f"{command}, portmap, 1 port, {CROWD:,} mappings / 1",
                        [median(many[at]) / median(few[at])], None,
                        ("≤ 1.2", lambda row: row.ours[0] <= 1.2) if command == "ADD" else None,
                        unit="×"))
    return rows


class Mapped(Ports):
    """A side with a host outside, which connects to the pod by host ports."""

    def __init__(self, stage, suite, crowd):
        # 5,000 mappings take the reference's other backend a quarter of an hour.
        super().__init__(stage, suite, "nftables", crowd)
        self.outside = f"{self.node}-outside"
        run("ip", "netns", "add", self.outside)
        run("ip", "-n", self.node, "link", "add", "uplink", "type", "veth",
            "peer", "name", "eth0", "netns", self.outside)
        for netns, link, address in ((self.node, "uplink", 1), (self.outside, "eth0", 2)):
            run("ip", "-n", netns, "address", "add", f"198.51.100.{address}/24", "dev", link)
            run("ip", "-n", netns, "link", "set", link, "up")
        # The measured mappings are the newest: the reference's rules are asked in their order.
        wanted = [{"hostPort": port, "containerPort": port, "protocol": "tcp"}
                  for port in range(FIRST_PORT, FIRST_PORT + PORTS)]
        self.call("ADD", conf=self.ports("ports", wanted), argv=self.plugin)
        self.address = self.result["ips"][0]["address"].split("/")[0]

    def rate(self):
        """Connections per second, made and ended one after the other."""
        return connect(self, (self.pod, self.outside), self.address, "198.51.100.2",
                       "connections by a host port", "198.51.100.1")

    def close(self):
        run("ip", "netns", "del", self.outside)
        super().close()


def mapped(stage, _pairs, notes):
    wanted = [(suite, crowd) for suite in SUITES for crowd in (0, CROWD)]
    found = rates(lambda *of: Mapped(stage, *of), wanted)
    for (suite, crowd), rate in zip(wanted, found):
        notes.add(f"{suite}: {median(rate):,.0f} new connections per second by a host port beside "
                  f"{crowd:,} other mappings")
    few, many, their_few, their_many = found
    ours = [median([a / b for a, b in zip(many, few)])]
    theirs = [median([a / b for a, b in zip(their_many, their_few)])]
    must = ("≥ 0.95", lambda row: row.ours[0] >= 0.95)
    return [Row(f"connections per second by a host port, {CROWD:,} mappings / {PORTS}", ours, theirs,
                must, "×", higher=True)]
