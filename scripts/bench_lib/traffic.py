"""New connections per second: from a pod through masquerade, by the number of pods on the node; and what
measures others too, as those by a host port."""

import os
import re
import subprocess

from attach import SUITES
from report import Row, median
from side import Failed, Side, enter, run

RUNS = 20
SECONDS = 0.5
PODS = 2000
PORTS = 500  # a bridge has 1023


class Gateway(Side):
    """A side whose node leads to a host outside, with more pods than one bridge holds."""

    def __init__(self, stage, suite, pods):
        super().__init__(stage, suite, "masquerade")
        self.outside = f"{self.node}-outside"
        run("ip", "netns", "add", self.outside)
        run("ip", "-n", self.node, "link", "add", "uplink", "type", "veth",
            "peer", "name", "eth0", "netns", self.outside)
        for netns, link, address in ((self.node, "uplink", 1), (self.outside, "eth0", 2)):
            run("ip", "-n", netns, "address", "add", f"198.51.100.{address}/24", "dev", link)
            run("ip", "-n", netns, "link", "set", link, "up")
        # The measured pod is the newest: the reference's rules are asked in their order.
        if pods > 1:
            self.crowd(pods) if suite == "ferrule" else self.rules(pods)
        self.call("ADD")
        self.reaches_gateways()

    def crowd(self, pods):
        for number in range(pods):
            if number % PORTS == 0:
                net = 100 + number // PORTS
                conf = self.configure("masquerade", f"bench{net}", net)
            self.call("ADD", conf=conf, container=f"other-{number}",
                      netns=f"{self.node}-others", ifname=f"eth{number}")
        self.configure("masquerade")

    def rules(self, pods):
        """The reference's rules of so many pods, as its rules of one: 2,000 ADDs take minutes."""
        self.call("ADD", container="other", netns=f"{self.node}-others")
        enter(self.node)
        saved = run("iptables-save", "-t", "nat")
        [jump] = re.findall(r"^-A POSTROUTING -s \S+ .*-j (CNI-[0-9a-f]+)$", saved, re.M)
        own = [line for line in saved.splitlines() if jump in line]
        [address] = set(re.findall(r"-s (\d+\.\d+\.\d+\.\d+)/32", saved))
        lines = ["*nat"]
        for number in range(2, pods + 2):
            other = f"10.88.{100 + number // 250}.{number % 250}"
            chain = f"CNI-{number:024x}"
            lines += [line.replace(jump, chain).replace(f"{address}/32", f"{other}/32")
                      for line in own]
        run("iptables-restore", "--noflush", stdin="\n".join(lines) + "\nCOMMIT\n")

    def rate(self):
        """Connections per second, made and ended one after the other."""
        return connect(self, (self.outside, self.pod), "198.51.100.2", "198.51.100.1",
                       "connections through masquerade")

    def close(self):
        run("ip", "netns", "del", self.outside)
        super().close()


def connect(side, namespaces, server, source, what, *dialled):
    """`tools/connect` from the second namespace to a server in the first, from the side's node:
    connections per second. The server holds that each comes from `source`; the client dials the
    server, or another address."""
    paths = [f"/run/netns/{netns}" for netns in namespaces]
    tool = f"{os.path.dirname(side.bin)}/tools/connect"
    enter(side.node)
    done = subprocess.run([tool, *paths, server, source, str(SECONDS), *dialled], check=False,
                          capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"{side.suite}: {what}: {done.stderr.strip()}")
    return float(done.stdout)


def rates(make, wanted):
    """What `rate` of a side made with each of these arguments returns, by turns: RUNS numbers of each,
    and first one that is not counted."""
    sides = []
    try:
        for arguments in wanted:
            sides.append(make(*arguments))
        found = [[] for _ in sides]
        for turn in range(-1, RUNS):
            order = range(len(sides))
            for index in order if turn % 2 else reversed(order):
                rate = sides[index].rate()
                if turn >= 0:
                    found[index].append(rate)
        return found
    finally:
        for side in sides:
            side.close()


def connections(stage, _pairs, notes):
    wanted = [(suite, pods) for suite in SUITES for pods in (1, PODS)]
    found = rates(lambda *of: Gateway(stage, *of), wanted)
    for (suite, pods), rate in zip(wanted, found):
        notes.add(f"{suite}: {median(rate):,.0f} new connections per second from the newest of "
                  f"{pods:,} pods")
    ours, theirs = ([median(many) / median(few)] for few, many in (found[:2], found[2:]))
    must = ("≥ 0.95", lambda row: row.ours[0] >= 0.95)
    return [Row("connections per second, 2,000 pods / 1 pod", ours, theirs, must, "×", higher=True)]
