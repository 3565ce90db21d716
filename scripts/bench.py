"""What scripts/bench runs inside its namespaces: bench.py STAGE PAIRS CASE

STAGE holds the two suites in ferrule/ and reference/, and whatever this writes.
"""

import ctypes
import json
import os
import platform
import statistics
import subprocess
import sys
import time

SIDES = ("ferrule", "reference")
WARM_UP = 3  # attachments of each side that are not counted
CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)

CASES = {
    "plain": {"ipMasq": False, "v6": False},
    "masquerade": {"ipMasq": True, "v6": False},
    "dual": {"ipMasq": True, "v6": True},
}
TITLES = {
    "plain": "IPv4",
    "masquerade": "IPv4, masquerade",
    "dual": "IPv4 and IPv6, masquerade",
}


class Failed(Exception):
    """A step that had to work did not."""


def run(*command):
    subprocess.run(command, check=True, capture_output=True, text=True)


def enter(netns):
    """This thread, and every process that it starts, from now on in that netns."""
    fd = os.open(f"/run/netns/{netns}", os.O_RDONLY)
    try:
        if libc.setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {netns}")
    finally:
        os.close(fd)


class Side:
    """One plugin suite on a node of its own, with one pod after the other."""

    def __init__(self, stage, name, case):
        self.name = name
        self.node = f"node-{name}"
        self.pod = f"pod-{name}"
        self.count = 0
        self.bin = f"{stage}/{name}"
        self.stage = f"{stage}/{name}-{case}"
        os.makedirs(self.stage)
        self.conf = self.configure(case)
        for netns in (self.node, self.pod):
            run("ip", "netns", "add", netns)
            run("ip", "-n", netns, "link", "set", "lo", "up")

    def configure(self, case):
        v6 = CASES[case]["v6"]
        ranges = [[{"subnet": "10.88.0.0/16"}]]
        routes = [{"dst": "0.0.0.0/0"}]
        self.gateways = ["10.88.0.1"]
        if v6:
            ranges.append([{"subnet": "fd00:10:88::/64"}])
            routes.append({"dst": "::/0"})
            self.gateways.append("fd00:10:88::1")
        conf = {
            "cniVersion": "1.0.0",
            "name": f"bench-{case}",
            "type": "bridge",
            "bridge": "bench0",
            "isGateway": True,
            "ipMasq": CASES[case]["ipMasq"],
            "ipam": {
                "type": "host-local",
                "dataDir": f"{self.stage}/leases",
                "ranges": ranges,
                "routes": routes,
            },
        }
        path = f"{self.stage}/conf.json"
        with open(path, "w", encoding="utf-8") as file:
            json.dump(conf, file)
        return path

    def call(self, command):
        """Milliseconds from spawn to exit."""
        env = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": f"bench-{self.count}",
            "CNI_NETNS": f"/run/netns/{self.pod}",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": self.bin,
            "PATH": os.environ["PATH"],
        }
        output = f"{self.stage}/output"
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, self.conf, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        path = f"{self.bin}/bridge"
        enter(self.node)
        start = time.perf_counter_ns()
        pid = os.posix_spawn(path, [path], env, file_actions=actions)
        _, status = os.waitpid(pid, 0)
        took = time.perf_counter_ns() - start
        if status != 0:
            with open(output, encoding="utf-8", errors="replace") as file:
                raise Failed(f"{self.name}: {command} of attachment {self.count}: {file.read()}")
        return took / 1e6

    def reaches_gateways(self):
        """Is every gateway's answer there for the first packet? It must be, in the end."""
        enter(self.pod)
        first = True
        for gateway in self.gateways:
            for attempt in range(6):
                ping = ["ping", "-n", "-q", "-c1", "-W1", gateway]
                if subprocess.run(ping, check=False, capture_output=True).returncode == 0:
                    break
                first = False
            else:
                raise Failed(f"{self.name}: the pod does not reach its gateway {gateway}")
        return first

    def attach(self):
        """One attachment and its end: (ADD ms, DEL ms, did the first packets arrive)"""
        self.count += 1
        add = self.call("ADD")
        first = self.reaches_gateways()
        return add, self.call("DEL"), first

    def close(self):
        for netns in (self.pod, self.node):
            run("ip", "netns", "del", netns)


def version(stage, name):
    """The first line of what a plugin says when it is run by hand."""
    about = subprocess.run([f"{stage}/{name}/bridge"], check=False, stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    lines = (about.stdout + about.stderr).strip().splitlines()
    return lines[0] if about.returncode == 0 and lines else "unknown version"


def measure(stage, case, pairs):
    """{side: [(add, del, first), ...]}, the two sides taking turns, and in going first."""
    sides = [Side(stage, name, case) for name in SIDES]
    results = {side.name: [] for side in sides}
    try:
        for turn in range(-WARM_UP, pairs):
            for side in sides if turn % 2 else reversed(sides):
                result = side.attach()
                if turn >= 0:
                    results[side.name].append(result)
    finally:
        for side in sides:
            side.close()
    return results


def table(measured):
    lines = [
        "| Case | | Ferrule, ms | reference, ms | reference / Ferrule |",
        "|---|---|---:|---:|---:|",
    ]
    for case, results in measured.items():
        for index, verb in enumerate(("ADD", "DEL")):
            ours, reference = (
                statistics.median(result[index] for result in results[name])
                for name in ("ferrule", "reference")
            )
            lines.append(
                f"| {TITLES[case]} | {verb} | {ours:.2f} | {reference:.2f} | {reference / ours:.1f} |"
            )
    return "\n".join(lines)


def main():
    stage, pairs, only = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    measured = {}
    for case in [only] if only else CASES:
        print(f"{TITLES[case]}: {pairs} pairs", file=sys.stderr)
        measured[case] = measure(stage, case, pairs)
    print(table(measured))
    print(f"\nMedians of {pairs} pairs each, Linux {platform.release()}, {os.cpu_count()} CPUs.")
    for name in SIDES:
        firsts = [first for results in measured.values() for _, _, first in results[name]]
        print(f"- {name}: {version(stage, name)}; the first ping to each gateway was answered "
              f"after {sum(firsts)} of {len(firsts)} ADDs")


if __name__ == "__main__":
    try:
        main()
    except Failed as failed:
        sys.exit(f"bench: {failed}")
