"""TCP between pods of two nodes: route-sync and the vxlan plugin beside the same made by hand."""

import json
import os
import subprocess

from report import Row
from routes import Daemon, Machine, until
from side import Failed, enter, run

RUNS = 20
SECONDS = 1
UNDERLAY = "192.0.2"
# Each end has a CPU of its own where there are two: where the scheduler puts them decides more
# than all that is measured here.
CPUS = sorted(os.sched_getaffinity(0))


class Pair:
    """Two nodes on a wire, a pod on each. `way` is "direct" or "vxlan"."""

    def __init__(self, stage, way):
        self.way = way
        self.nodes = [Machine(stage, addresses=[]) for _ in range(2)]
        one, two = (node.netns for node in self.nodes)
        for node in self.nodes:
            node.ip("link del eth0")
        run("ip", "-n", one, "link", "add", "eth0", "type", "veth",
            "peer", "name", "eth0", "netns", two)
        for number, node in enumerate(self.nodes, 1):
            node.ip(f"address add {UNDERLAY}.{number}/24 dev eth0")
            node.ip("link set eth0 up")
        self.pods = [f"{node.netns}-pod" for node in self.nodes]
        for pod in self.pods:
            run("ip", "netns", "add", pod)

    def rate(self):
        """Gbit/s from the first pod to the second."""
        enter(self.pods[1])
        server = subprocess.Popen(["iperf3", "-s", "-1", "--forceflush", "-A", str(CPUS[-1])],
                                  stdout=subprocess.PIPE, text=True)
        for line in server.stdout:
            if "listening" in line:
                break
        enter(self.pods[0])
        done = subprocess.run(
            ["iperf3", "-c", "10.244.2.2", "-t", str(SECONDS), "-C", "cubic", "-A", str(CPUS[0]),
             "--json"], check=False, capture_output=True, text=True)
        if done.returncode != 0:
            server.kill()
            raise Failed(f"{type(self).__name__}, {self.way}: {done.stdout}{done.stderr}")
        server.communicate()
        return json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] / 1e9

    def reaches(self):
        enter(self.pods[0])
        ping = ["ping", "-n", "-q", "-c1", "-W1", "10.244.2.2"]
        until(lambda: subprocess.run(ping, check=False, capture_output=True).returncode == 0,
              f"{type(self).__name__}, {self.way}: a ping from pod to pod")

    def close(self):
        for pod in self.pods:
            run("ip", "netns", "del", pod)
        for node in self.nodes:
            node.close()


class Ours(Pair):
    """With the daemon on each node."""

    def __init__(self, stage, way):
        super().__init__(stage, way)
        nodes = "".join(
            f'[[node]]\nname = "node-{number}"\naddresses = ["{UNDERLAY}.{number}"]\n'
            f'pod-cidrs = ["10.244.{number}.0/24"]\n\n' for number in (1, 2))
        mode = {"direct": "auto", "vxlan": "vxlan"}[way]
        self.daemons = [Daemon(node, nodes, f"node-{number}", mode)
                        for number, node in enumerate(self.nodes, 1)]
        for node, pod in zip(self.nodes, self.pods):
            self.attach(node, pod)
        self.reaches()

    def attach(self, node, pod):
        conf = {"cniVersion": "1.0.0", "name": "bench", "type": "vxlan",
                "runDir": f"{node.folder}/run",
                "ipam": {"type": "host-local", "dataDir": f"{node.folder}/leases"}}
        env = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": pod, "CNI_NETNS": f"/run/netns/{pod}",
               "CNI_IFNAME": "eth0", "CNI_PATH": node.bin}
        enter(node.netns)
        done = subprocess.run([f"{node.bin}/vxlan"], check=False, capture_output=True, text=True,
                              input=json.dumps(conf), env={**os.environ, **env})
        if done.returncode != 0:
            raise Failed(f"vxlan: ADD: {done.stdout}")

    def close(self):
        for daemon in self.daemons:
            daemon.stop()
        super().close()


class ByHand(Pair):
    """With bridge, veth pair, routes and tunnel made by `ip`, as a manual would have it."""

    def __init__(self, stage, way):
        super().__init__(stage, way)
        for number, (node, pod) in enumerate(zip(self.nodes, self.pods), 1):
            self.attach(node, pod, number)
            self.route(node, 3 - number)
        self.reaches()

    def attach(self, node, pod, number):
        mtu = 1450  # the tunnel's, as in mode "auto" every pod has it
        for words in (
            f"link add cni0 mtu {mtu} type bridge",
            f"address add 10.244.{number}.1/24 dev cni0",
            "link set cni0 up",
            f"link add pod mtu {mtu} type veth peer name eth0 mtu {mtu} netns {pod}",
            "link set pod master cni0 up",
        ):
            node.ip(words)
        for words in (f"address add 10.244.{number}.2/24 dev eth0", "link set eth0 up",
                      f"route add default via 10.244.{number}.1"):
            run("ip", "-n", pod, *words.split())
        enter(node.netns)
        with open("/proc/sys/net/ipv4/ip_forward", "w", encoding="ascii") as file:
            file.write("1")

    def route(self, node, other):
        if self.way == "direct":
            node.ip(f"route add 10.244.{other}.0/24 via {UNDERLAY}.{other}")
            return
        own, mac = 3 - other, f"02:00:00:00:00:0{other}"
        for words in (
            f"link add vxlan0 address 02:00:00:00:00:0{own} mtu 1450 type vxlan id 100 "
            f"dstport 4789 local {UNDERLAY}.{own} dev eth0 nolearning",
            f"address add 10.244.{own}.0/32 dev vxlan0",
            "link set vxlan0 up",
            f"neighbour add 10.244.{other}.0 lladdr {mac} dev vxlan0 nud permanent",
            f"route add 10.244.{other}.0/24 via 10.244.{other}.0 dev vxlan0 onlink",
        ):
            node.ip(words)
        run("bridge", "-n", node.netns, "fdb", "add", mac, "dev", "vxlan0",
            "dst", f"{UNDERLAY}.{other}", "self")


def across(stage, _pairs, notes):
    rows = []
    must = ("ratio ≥ 0.98", lambda row: row.turns() >= 0.98)
    for way in ("direct", "vxlan"):
        both = []
        try:
            for kind in (Ours, ByHand):
                both.append(kind(stage, way))
            rates = [[] for _ in both]
            for turn in range(-1, RUNS):
                for index in (0, 1) if turn % 2 else (1, 0):
                    rate = both[index].rate()
                    if turn >= 0:
                        rates[index].append(rate)
        finally:
            for pair in both:
                pair.close()
        row = Row(f"TCP across nodes, {way}; beside it by hand", *rates, must, "Gbit/s",
                  higher=True, beside="by hand")
        notes.add(f"TCP across nodes, {way}: Ferrule / by hand {row.turns():.3f}, median of the "
                   f"ratios of {RUNS} turns")
        rows.append(row)
    return rows
