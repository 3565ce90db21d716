"""route-sync: what flapping prefixes of a BGP peer cost beside few and many other routes.

The peer is this script: as much of a BGP speaker as it takes, in a namespace of its own.
"""

import glob
import ipaddress
import socket
import struct
import subprocess
import time

from report import Row
from routes import Daemon, LIMIT, Machine, until
from side import Failed, enter, read, run

OTHERS = (1000, 100_000)
FLAPPING = 20
ROUNDS = 100  # each announces and withdraws every one of them
PAUSE = 0.02  # seconds before and after
IN_ONE = 700  # prefixes of an UPDATE
NODE, PEER = "192.0.2.1", "192.0.2.254"


class Heard(Daemon):
    """route-sync with one peer, which dials."""

    def __init__(self, machine):
        self.machine = machine
        folder = machine.folder
        with open(f"{folder}/nodes.toml", "w", encoding="utf-8") as file:
            file.write(f'[[node]]\nname = "node"\naddresses = ["{NODE}"]\n'
                       'pod-cidrs = ["10.244.1.0/24"]\n')
        with open(f"{folder}/route-sync.toml", "w", encoding="utf-8") as file:
            file.write(f'node-name = "node"\nmode = "direct"\ncluster-cidrs = ["10.0.0.0/8"]\n'
                       f'run-dir = "{folder}/run"\nstate-dir = "{folder}/state"\n'
                       f'[bgp]\nasn = 65001\nlisten = ["{NODE}"]\n'
                       f'[[bgp.peer]]\naddress = "{PEER}"\nasn = 65100\npassive = true\n'
                       f'[source]\ntype = "file"\npath = "{folder}/nodes.toml"\n')
        enter(machine.netns)
        with open(f"{folder}/log", "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [f"{machine.bin}/route-sync", "--config", f"{folder}/route-sync.toml"],
                stderr=log)

    def cpu(self):
        """Nanoseconds on a CPU, of all threads."""
        tasks = glob.glob(f"/proc/{self.process.pid}/task/*/schedstat")
        return sum(int(read(task).split()[0]) for task in tasks)

    def settle(self, routes):
        """Waits until there are that many routes and nothing is left to do."""
        end, before = time.monotonic() + LIMIT, None
        while time.monotonic() < end:
            now = self.cpu()
            # A list of all is work for the kernel too: only when the daemon has done its own.
            if before is not None and now - before < 1e6:
                shown = run("ip", "-n", self.machine.netns, "route", "show", "proto", "119")
                if shown.count("\n") == routes:
                    return
            before = now
            time.sleep(0.5)
        raise Failed(f"not {routes:,} routes within {LIMIT} s: {read(self.machine.folder + '/log')}")


class Peer:
    """The other end of a session, without a hold time: it needs to send no KEEPALIVE."""

    def __init__(self, machine):
        self.netns = f"{machine.netns}-peer"
        run("ip", "netns", "add", self.netns)
        machine.ip(f"link set wire netns {self.netns}")
        for words in (f"address add {PEER}/24 dev wire", "link set wire up"):
            run("ip", "-n", self.netns, *words.split())
        enter(self.netns)
        self.socket = until(self.dial, "a connection to route-sync")
        capabilities = bytes([1, 4, 0, 1, 0, 1, 65, 4]) + struct.pack("!I", 65100)
        self.send(1, struct.pack("!BHH4sBBB", 4, 65100, 0, socket.inet_aton(PEER),
                                 len(capabilities) + 2, 2, len(capabilities)) + capabilities)
        self.take(1)
        self.send(4, b"")
        self.take(4)

    @staticmethod
    def dial():
        """A connection, unless no process listens yet."""
        try:
            return socket.create_connection((NODE, 179), 9, (PEER, 0))
        except OSError:
            time.sleep(0.05)
            return None

    def send(self, kind, body):
        self.socket.sendall(b"\xff" * 16 + struct.pack("!HB", 19 + len(body), kind) + body)

    def take(self, wanted):
        """Reads one message, which must be of this type."""
        head = self.socket.recv(19, socket.MSG_WAITALL)
        length, kind = struct.unpack("!HB", head[16:])
        body = self.socket.recv(length - 19, socket.MSG_WAITALL) if length > 19 else b""
        if kind != wanted:
            raise Failed(f"route-sync sent a message of type {kind} instead of {wanted}: {body}")

    def announce(self, prefixes):
        attributes = (b"\x40\1\1\0\x40\2\6\2\1" + struct.pack("!I", 65100)
                      + b"\x40\3\4" + socket.inet_aton(PEER))
        self.send(2, struct.pack("!HH", 0, len(attributes)) + attributes + b"".join(prefixes))

    def withdraw(self, prefixes):
        withdrawn = b"".join(prefixes)
        self.send(2, struct.pack("!H", len(withdrawn)) + withdrawn + b"\0\0")

    def flap(self, prefixes):
        """Each alone, as a peer sends what changes by itself."""
        for tell in (self.announce, self.withdraw):
            for prefix in prefixes:
                tell([prefix])
            time.sleep(PAUSE)

    def close(self):
        self.socket.close()
        run("ip", "netns", "del", self.netns)


def hosts(begin, count):
    """Host routes from an address on, as NLRI."""
    first = int(ipaddress.ip_address(begin))
    return [b"\x20" + struct.pack("!I", first + number) for number in range(count)]


def flaps(stage, _pairs, notes):
    machine = Machine(stage, addresses=(f"{NODE}/24",))
    daemon = Heard(machine)
    peer = Peer(machine)
    known, rows = 0, []
    flapping = hosts("10.59.0.0", FLAPPING)
    for others in OTHERS:
        new = hosts("10.60.0.0", others)[known:]
        for at in range(0, len(new), IN_ONE):
            peer.announce(new[at:at + IN_ONE])
        known = others
        daemon.settle(others)
        cpu = daemon.cpu()
        for _ in range(ROUNDS):
            peer.flap(flapping)
        daemon.settle(others)
        spent = (daemon.cpu() - cpu) / 1e6 * 1000 / (ROUNDS * FLAPPING)
        rows.append(Row(f"CPU for 1,000 flaps of BGP prefixes, {others:,} other routes", [spent]))
    rows[-1].must = (f"≤ 2 × with {OTHERS[0]:,}",
                     lambda row: row.ours[0] <= 2 * rows[0].ours[0])
    rows.append(Row(f"peak memory of route-sync, {others:,} BGP routes", [daemon.peak()],
                    unit="MB"))
    notes.add(f"a flap is one UPDATE that announces a prefix and one that withdraws it; "
              f"{ROUNDS * FLAPPING:,} of {FLAPPING} prefixes, at most {FLAPPING} in "
              f"{PAUSE * 1000:.0f} ms")
    peer.close()
    daemon.stop()
    machine.close()
    return rows
