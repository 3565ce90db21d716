"""host-local alone, many ADDs at once, processes and memory of one ADD."""

import os
import re
import time

from attach import SUITES, sides, turns
from report import Row, at_least, at_most, best, median
from side import Side, enter, read, run, spawn

LEASES = 60_000
BURST = 64
ROUNDS = 10


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
        took = self.wave("ADD")
        for self.pod in self.pods[:4]:
            self.reaches_gateways()
        self.wave("DEL")
        return BURST / took

    def close(self):
        for pod in self.pods[4:]:
            run("ip", "netns", "del", pod)
        for pod in self.pods[:3]:
            run("ip", "netns", "del", pod)
        super().close()


def burst(stage, _pairs, _notes):
    both = [Crowd(stage, suite) for suite in SUITES]
    try:
        ours, theirs = turns(both, ROUNDS, Crowd.once)
    finally:
        for side in both:
            side.close()
    return [Row("64 ADDs at once, ipMasq", ours, theirs, at_least(5), "pods/s", higher=True)]


def cost(stage, _pairs, _notes):
    """Processes executed and memory of an ADD and a DEL with ipMasq."""
    executed, memory = {}, {}
    with sides(stage, *((suite, "masquerade") for suite in SUITES)) as both:
        for side in both:
            trace, peak = f"{side.stage}/trace", f"{side.stage}/peak"
            plugin = f"{side.bin}/bridge"
            side.call("ADD")
            side.call("DEL")
            side.call("ADD", argv=["/usr/bin/strace", "-f", "-qq", "-e", "trace=execve",
                                   "-o", trace, plugin])
            side.call("DEL")
            # A fork of its own: Linux counts what a process was before its exec, here Python.
            measured = ["/usr/bin/time", "-o", peak, "-f", "%M", plugin]
            side.call("ADD", argv=measured)
            add = int(read(peak))
            side.call("DEL", argv=measured)
            executed[side.suite] = [len(re.findall(r"^.*execve\(.* = 0$", read(trace), re.M))]
            memory[side.suite] = [max(add, int(read(peak))) / 1024]
    ours, theirs = (executed[suite] for suite in SUITES)
    two = ("2", lambda row: row.ours == [2])
    return [
        Row("processes executed for one ADD, ipMasq", ours, theirs, two, "count"),
        Row("peak memory of a plugin", *(memory[suite] for suite in SUITES), at_most(4, "MB"),
            "MB"),
    ]
