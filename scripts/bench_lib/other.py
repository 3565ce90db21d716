"""host-local alone, many ADDs at once, processes and memory of one ADD."""

import json
import os
import re
import time

from attach import SUITES, columns, sides, turns
from report import Row, at_least, at_most, best, median
from side import Side, enter, read, run, spawn

LEASES = 60_000
BURST = 64
ROUNDS = 10
CALLS = 5  # of each command, whose memory is looked at


def host_local(stage, pairs, notes):
    """An ADD of host-local in a /16 without leases and in one with 60,000; on tmpfs."""

    def fill(side):
        directory = f"{side.stage}/leases/bench0"
        os.makedirs(directory, exist_ok=True)
        for number in range(2, LEASES + 2):
            address = f"10.88.{number >> 8}.{number & 255}"
            with open(f"{directory}/{address}", "w", encoding="ascii") as file:
                file.write(f"other-{number}\r\neth0")
        with open(f"{directory}/last_reserved_ip.0", "w", encoding="ascii") as file:
            file.write(address)

    def once(side):
        side.count += 1
        argv = [f"{side.bin}/host-local"]
        took = side.call("ADD", argv=argv)
        side.call("DEL", argv=argv)
        return took

    # Each suite beside itself: what the other does would decide what is in the caches.
    taken = {}
    for suite in SUITES:
        with sides(stage, (suite, "plain"), (suite, "plain")) as both:
            fill(both[1])
            taken[suite] = turns(both, pairs, once)
    (ours, ours_full), (theirs, theirs_full) = (taken[suite] for suite in SUITES)
    flat = ("≤ 1.2", lambda row: row.ours[0] <= 1.2)
    notes.add(f"host-local with 60,000 leases / with none, of 10th percentiles: "
              f"{best(ours_full) / best(ours):.2f}")
    return [
        Row("host-local ADD, no leases", ours, theirs),
        Row("host-local ADD, 60,000 leases", ours_full, theirs_full),
        Row("host-local ADD, 60,000 leases / none", [median(ours_full) / median(ours)],
            [median(theirs_full) / median(theirs)], flat, unit="×"),
    ]


class Crowd(Side):
    """A side with 64 pods, attached at once."""

    def __init__(self, stage, suite):
        super().__init__(stage, suite, "masquerade")
        self.pods = [f"{self.node}-{number}" for number in range(BURST)]
        for pod in self.pods:
            run("ip", "netns", "add", pod)

    def wave(self, command):
        """Seconds until the last has ended."""
        enter(self.node)
        self.count += command == "ADD"
        started, running = time.perf_counter(), {}
        for pod in self.pods:
            env = self.env(command, container=f"{pod}-{self.count}", netns=pod)
            output = f"{self.stage}/{pod}"
            running[spawn([f"{self.bin}/bridge"], env, self.conf, output)] = output
        for pid, output in running.items():
            if os.waitpid(pid, 0)[1] != 0:
                raise RuntimeError(f"{self.suite}: {command}: {read(output)}")
        return time.perf_counter() - started

    def once(self):
        """(pods per second of ADD, how many had an answer to their first packet, of DEL)"""
        added = self.wave("ADD")
        first = sum(self.reaches_gateways(pod) for pod in self.pods)
        deleted = self.wave("DEL")
        return BURST / added, first, BURST / deleted

    def close(self):
        for pod in self.pods:
            run("ip", "netns", "del", pod)
        super().close()


def burst(stage, _pairs, notes):
    both = [Crowd(stage, suite) for suite in SUITES]
    try:
        ours, theirs = map(columns, turns(both, ROUNDS, Crowd.once))
    finally:
        for side in both:
            side.close()
    for suite, (_, first, _) in zip(SUITES, (ours, theirs)):
        notes.add(f"{suite}: after {BURST} ADDs at once the gateway answered the first ping of "
                  f"{sum(first)} of {BURST * ROUNDS} pods")
    return [
        Row("64 ADDs at once, ipMasq", ours[0], theirs[0], at_least(5), "pods/s", higher=True),
        Row("64 DELs at once, ipMasq", ours[2], theirs[2], at_least(10), "pods/s", higher=True),
    ]


# strace begins a line anew where another process came between.
EXECUTED = re.compile(r"^\d+ +(?:execve\(.*|<\.\.\. execve resumed>.*)\) += 0$", re.M)


def peaks(side):
    """The peak memory of calls of every command, in MB."""
    peak = f"{side.stage}/peak"
    # A fork of its own: Linux counts what a process was before its exec, here Python.
    argv = ["/usr/bin/time", "-o", peak, "-f", "%M", f"{side.bin}/bridge"]
    conf = json.loads(read(side.conf))
    found = []

    def measured(command, **keys):
        side.call(command, conf=side.write("cost.json", {**conf, **keys}), argv=argv)
        found.append(int(read(peak)) / 1024)

    for _ in range(CALLS):
        side.count += 1
        measured("ADD")
        measured("CHECK", prevResult=json.loads(read(side.output)))
        # Version 1.1.1 of the reference has no GC, and of v1.10.0 only host-local.
        if side.suite == "ferrule":
            valid = [{"containerID": f"bench-{side.count}", "ifname": "eth0"}]
            measured("GC", cniVersion="1.1.0", **{"cni.dev/valid-attachments": valid})
        measured("DEL")
    return found


def cost(stage, _pairs, _notes):
    """Processes executed for an ADD with ipMasq, and memory of all commands."""
    executed, memory = {}, {}
    with sides(stage, *((suite, "masquerade") for suite in SUITES)) as both:
        for side in both:
            trace = f"{side.stage}/trace"
            side.call("ADD")
            side.call("DEL")
            side.call("ADD", argv=["/usr/bin/strace", "-f", "-qq", "-e", "trace=execve",
                                   "-o", trace, f"{side.bin}/bridge"])
            side.call("DEL")
            executed[side.suite] = [len(EXECUTED.findall(read(trace)))]
            memory[side.suite] = [max(peaks(side))]
    ours, theirs = (executed[suite] for suite in SUITES)
    two = ("2", lambda row: row.ours == [2])
    return [
        Row("processes executed for one ADD, ipMasq", ours, theirs, two, "count"),
        Row("peak memory of a plugin", *(memory[suite] for suite in SUITES), at_most(4, "MB"),
            "MB"),
    ]
