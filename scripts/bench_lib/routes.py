"""route-sync: the first sync, a pass without changes, repairs, memory and CPU, by the number of nodes.

All other nodes are behind the tunnel, which takes most of the kernel: of each node two routes, two
neighbours and an FDB entry. Beside the first sync stands what `ip -batch`, `bridge -batch` and
`nft -f` take for the very same objects.
"""

import ipaddress
import itertools
import json
import os
import re
import signal
import socket
import struct
import subprocess
import time
import urllib.request

from report import Row, at_most, median
from side import Failed, enter, read, run

SIZES = (100, 1000, 5000)
ROUNDS = 10
CALM = 2  # seconds after a machine is gone
PASSES = 10
REPAIRS = 1000
IDLE = 10  # seconds
LIMIT = 60
METRICS = "127.0.0.1:9478"
DEVICE = "fvxlan.100"
machines = itertools.count()


def until(condition, what):
    """What `condition` gives once it gives something."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.0005)
    raise Failed(f"not within {LIMIT} s: {what}")


def node_list(nodes):
    """The TOML of that many nodes, in whose midst none shares a link with another."""
    entries = []
    for number in range(nodes):
        outer = ipaddress.ip_address("172.16.0.1") + number
        v4 = ipaddress.ip_address("10.0.0.0") + 256 * number
        v6 = ipaddress.ip_address("fd00::") + (number << 64)
        entries.append(
            f'[[node]]\nname = "node-{number}"\n'
            f'addresses = ["{outer}", "2001:db8::{number + 1:x}"]\n'
            f'pod-cidrs = ["{v4}/24", "{v6}/64"]\n\n')
    return "".join(entries)


class Machine:
    """A network namespace with an underlay, and a folder."""

    def __init__(self, stage, addresses=("172.16.0.1/32", "2001:db8::1/128")):
        self.netns = f"machine{next(machines)}"
        self.bin = f"{stage}/ferrule"
        self.folder = f"{stage}/{self.netns}"
        os.makedirs(self.folder)
        run("ip", "netns", "add", self.netns)
        self.ip("link set lo up")
        # The end of duplicate address detection is an event, seconds later.
        enter(self.netns)
        with open("/proc/sys/net/ipv6/conf/default/accept_dad", "w", encoding="ascii") as file:
            file.write("0")
        self.ip("link add eth0 type veth peer name wire")
        for link in ("wire", "eth0"):
            self.ip(f"link set {link} up")
        for address in addresses:
            self.ip(f"address add {address} dev eth0")

    def ip(self, words):
        return run("ip", "-n", self.netns, *words.split())

    def close(self):
        run("ip", "netns", "del", self.netns)


class Daemon:
    """route-sync on a machine; `synced` is how many seconds after its start all was in place."""

    def __init__(self, machine, nodes, name="node-0", mode="auto"):
        self.machine, self.name, self.mode = machine, name, mode
        self.config = f"{machine.folder}/route-sync.toml"
        with open(f"{machine.folder}/nodes.toml", "w", encoding="utf-8") as file:
            file.write(nodes)
        self.configure(3600)
        enter(machine.netns)
        started = time.perf_counter()
        with open(f"{machine.folder}/log", "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [f"{machine.bin}/route-sync", "--config", self.config], stderr=log)
        node_json = f"{machine.folder}/run/node.json"
        until(lambda: os.path.exists(node_json), "the first sync")
        self.synced = time.perf_counter() - started
        if not json.loads(read(node_json))["synced"]:
            raise Failed(f"route-sync is not in step: {read(machine.folder + '/log')}")

    def configure(self, interval):
        folder = self.machine.folder
        with open(f"{self.config}.new", "w", encoding="utf-8") as file:
            file.write(f'node-name = "{self.name}"\nmode = "{self.mode}"\n'
                       f'run-dir = "{folder}/run"\nstate-dir = "{folder}/state"\n'
                       f'resync-interval = {interval}\n[source]\ntype = "file"\n'
                       f'path = "{folder}/nodes.toml"\n[metrics]\nlisten = "{METRICS}"\n')
        os.rename(f"{self.config}.new", self.config)

    def metric(self, name):
        enter(self.machine.netns)
        with urllib.request.urlopen(f"http://{METRICS}/metrics") as answer:
            text = answer.read().decode()
        return float(re.search(rf"^ferrule_route_sync_{name} (\S+)$", text, re.M)[1])

    def passes(self):
        """Seconds of full passes that had nothing to change, as the daemon counts them."""
        seconds = []
        for number in range(PASSES):
            before = self.metric("passes_total")
            self.configure(3601 + number)  # another configuration is a reason for a pass
            until(lambda: self.metric("passes_total") > before, "a full pass")
            seconds.append(self.metric("last_pass_duration_seconds"))
        return seconds

    def cpu(self):
        """Nanoseconds on a CPU."""
        return int(read(f"/proc/{self.process.pid}/schedstat").split()[0])

    def peak(self):
        """Most memory it ever had, in MB."""
        status = read(f"/proc/{self.process.pid}/status")
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1000

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


class Rtnetlink:
    """Deletes IPv4 routes, and hears when they come back."""

    RTM_NEWROUTE, RTM_DELROUTE = 24, 25
    REQUEST, RTMGRP_IPV4_ROUTE, RTA_DST = 1, 0x40, 1

    def __init__(self, netns):
        enter(netns)
        self.ear = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        self.ear.bind((0, self.RTMGRP_IPV4_ROUTE))
        self.ear.settimeout(5)
        self.mouth = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)

    def repair(self, destination):
        """Milliseconds from the order to delete a /24 until it is there again."""
        attribute = struct.pack("HH4s", 8, self.RTA_DST, destination.packed)
        # Main table, any scope, any type, route-sync's protocol.
        body = struct.pack("BBBBBBBBI", socket.AF_INET, 24, 0, 0, 254, 118, 255, 0, 0) + attribute
        header = struct.pack("IHHII", 16 + len(body), self.RTM_DELROUTE, self.REQUEST, 1, 0)
        begin = time.perf_counter()
        self.mouth.send(header + body)
        while True:
            message = self.ear.recv(4096)
            kind = struct.unpack_from("IH", message)[1]
            if kind == self.RTM_NEWROUTE and attribute in message:
                return (time.perf_counter() - begin) * 1000


def by_hand(machine):
    """Batches for `ip`, `bridge` and `nft` that make what the daemon made on a machine."""
    netns = machine.netns
    shown = run("ip", "-n", netns, "-d", "link", "show", DEVICE)
    mac = re.search(r"link/ether (\S+)", shown)[1]
    mtu = re.search(r"mtu (\d+)", shown)[1]
    ip = [f"link add {DEVICE} address {mac} mtu {mtu} type vxlan id 100 dstport 4789 "
          f"local 172.16.0.1 dev eth0 nolearning", f"link set {DEVICE} up"]
    for line in run("ip", "-n", netns, "-o", "address", "show", "dev", DEVICE).splitlines():
        address = line.split()[3]
        if not address.startswith("fe80"):
            ip.append(f"address add {address} dev {DEVICE} nodad")
    for line in run("ip", "-n", netns, "neighbour", "show", "nud", "permanent",
                    "dev", DEVICE).splitlines():
        words = line.split()
        ip.append(f"neighbour add {words[0]} lladdr {words[2]} dev {DEVICE} nud permanent")
    for family in ("-4", "-6"):
        shown = run("ip", family, "-n", netns, "route", "show", "proto", "118")
        # What `ip` shows of a route it does not all take back.
        taken = (re.sub(r" (pref \S+|error \S+)", "", line) for line in shown.splitlines())
        ip += [f"route add {line} proto 118" for line in taken]
    fdb = run("bridge", "-n", netns, "fdb", "show", "dev", DEVICE)
    bridge = [f"fdb add {line.replace(' self', '')} dev {DEVICE} self"
              for line in fdb.splitlines()]
    nft = run("ip", "netns", "exec", netns, "nft", "list", "ruleset")
    return {"ip": "\n".join(ip) + "\n", "bridge": "\n".join(bridge) + "\n", "nft": nft}


def state(machine):
    """What of a first sync can be compared."""
    netns = machine.netns
    routes = [run("ip", family, "-n", netns, "route", "show", "proto", "118")
              for family in ("-4", "-6")]
    neighbours = run("ip", "-n", netns, "neighbour", "show", "nud", "permanent", "dev", DEVICE)
    fdb = run("bridge", "-n", netns, "fdb", "show", "dev", DEVICE)
    return [sorted(text.splitlines()) for text in (*routes, neighbours, fdb)]


def carry_out(machine, batches):
    """Seconds for the batches; on a machine of its own."""
    for tool, batch in batches.items():
        with open(f"{machine.folder}/{tool}", "w", encoding="utf-8") as file:
            file.write(batch)
    enter(machine.netns)
    begin = time.perf_counter()
    for tool in ("ip", "bridge"):
        run(tool, "-batch", f"{machine.folder}/{tool}")
    run("nft", "-f", f"{machine.folder}/nft")
    return time.perf_counter() - begin


def first_syncs(stage, nodes):
    """Seconds of route-sync and of the batches, by turns, and in going first."""
    ours, theirs, batches = [], [], None
    for turn in range(ROUNDS):
        machine, other = Machine(stage), Machine(stage)
        if turn % 2:
            theirs.append(carry_out(other, batches))
        daemon = Daemon(machine, node_list(nodes))
        daemon.stop()
        ours.append(daemon.synced)
        batches = batches or by_hand(machine)
        if not turn % 2:
            theirs.append(carry_out(other, batches))
        if state(machine) != state(other):
            raise Failed("ip -batch did not make what route-sync made")
        machine.close()
        other.close()
        # The kernel takes a namespace down after `ip netns del`, and holds RTNL meanwhile.
        time.sleep(CALM)
    return ours, theirs


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, len(values) * part // 100)]


def long_run(stage, nodes, notes):
    """Rows of a daemon that runs on: passes, and with most nodes memory, CPU and repairs."""
    machine = Machine(stage)
    daemon = Daemon(machine, node_list(nodes))
    rows = [Row(f"pass without a change, {nodes:,} nodes", [s * 1000 for s in daemon.passes()])]
    if nodes == max(SIZES):
        cpu = daemon.cpu()
        time.sleep(IDLE)
        idle = (daemon.cpu() - cpu) / 1e6 / IDLE
        routes = Rtnetlink(machine.netns)
        cidrs = (ipaddress.ip_address("10.0.0.0") + 256 * (1 + number % (nodes - 1))
                 for number in range(REPAIRS))
        took = [routes.repair(cidr) for cidr in cidrs]
        notes.add(f"repair of one deleted route at {nodes:,} nodes: median {median(took):.2f} ms, "
                  f"worst of {REPAIRS:,} {max(took):.2f} ms")
        rows += [
            Row(f"CPU when nothing happens, {nodes:,} nodes", [idle], unit="ms per s"),
            Row(f"repair of a deleted route, 99th percentile, {nodes:,} nodes",
                [percentile(took, 99)], must=at_most(10, "ms")),
            Row(f"peak memory of route-sync, {nodes:,} nodes", [daemon.peak()],
                must=at_most(12, "MB"), unit="MB"),
        ]
    daemon.stop()
    machine.close()
    return rows


def sync(stage, _pairs, notes):
    rows = []
    must = ("≤ 1.5 × by hand", lambda row: median(row.ours) <= 1.5 * median(row.theirs))
    for nodes in SIZES:
        ours, theirs = ([s * 1000 for s in seconds] for seconds in first_syncs(stage, nodes))
        rows.append(Row(f"first sync, {nodes:,} nodes; beside it ip -batch", ours, theirs, must,
                        beside="ip -batch"))
    for nodes in SIZES:
        rows += long_run(stage, nodes, notes)
    return rows
