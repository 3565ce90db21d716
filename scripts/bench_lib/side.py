"""A plugin suite on a node of its own, and the pod that is attached again and again."""

import ctypes
import itertools
import json
import os
import subprocess
import time

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
nodes = itertools.count()

CASES = {
    "plain": {"ipMasq": False, "v6": False},
    "masquerade": {"ipMasq": True, "v6": False},
    "dual": {"ipMasq": True, "v6": True},
}


class Failed(Exception):
    """A step that had to work did not."""


def run(*command, stdin=None):
    done = subprocess.run(command, check=False, capture_output=True, text=True, input=stdin)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def enter(netns):
    """This thread, and every process that it starts, from now on in that netns."""
    fd = os.open(f"/run/netns/{netns}", os.O_RDONLY)
    try:
        if libc.setns(fd, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {netns}")
    finally:
        os.close(fd)


def spawn(command, env, stdin, output):
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, stdin, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_OPEN, 2, f"{output}.stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
    ]
    return os.posix_spawn(command[0], command, env, file_actions=actions)


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


class Side:
    """A suite ("ferrule" or "reference"), a case, a number of other pods on the node."""

    age = 0.0  # seconds that a pod lives before its DEL

    def __init__(self, stage, suite, case, others=0):
        self.suite = suite
        self.bin = f"{stage}/{suite}"
        self.node = f"node{next(nodes)}"
        self.pod = f"{self.node}-pod"
        self.stage = f"{stage}/{self.node}"
        self.count = 0
        os.makedirs(self.stage)
        self.conf = self.configure(case)
        for netns in (self.node, self.pod, f"{self.node}-others"):
            run("ip", "netns", "add", netns)
            run("ip", "-n", netns, "link", "set", "lo", "up")
        # Their interfaces share a namespace: to the node each is a pod. New pods solicit routers, at
        # growing intervals (RFC 7559), and each solicitation is 3.5 ms of the kernel with 500 ports:
        # pods of some age are wanted.
        quiet = "net.ipv6.conf.default.router_solicitations=0"
        run("ip", "netns", "exec", f"{self.node}-others", "sysctl", "-qw", quiet)
        for other in range(others):
            pod = {"netns": f"{self.node}-others", "ifname": f"eth{other}"}
            self.call("ADD", container=f"other-{other}", **pod)

    def configure(self, case, name="bench0", net=88):
        ranges = [[{"subnet": f"10.{net}.0.0/16"}]]
        routes = [{"dst": "0.0.0.0/0"}]
        gateways = [f"10.{net}.0.1"]
        if CASES[case]["v6"]:
            ranges.append([{"subnet": f"fd00:10:{net}::/64"}])
            routes.append({"dst": "::/0"})
            gateways.append(f"fd00:10:{net}::1")
        self.gateways = gateways
        conf = {
            "cniVersion": "1.0.0",
            "name": name,
            "type": "bridge",
            "bridge": name,
            "runDir": f"{self.stage}/run",  # a node of its own
            "isGateway": True,
            "ipMasq": CASES[case]["ipMasq"],
            "ipam": {
                "type": "host-local",
                "dataDir": f"{self.stage}/leases",
                "ranges": ranges,
                "routes": routes,
            },
        }
        return self.write(f"{name}.json", conf)

    def write(self, name, conf):
        path = f"{self.stage}/{name}"
        with open(path, "w", encoding="utf-8") as file:
            json.dump(conf, file)
        return path

    def env(self, command, container=None, netns=None, ifname="eth0"):
        return {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container or f"bench-{self.count}",
            "CNI_NETNS": f"/run/netns/{netns or self.pod}",
            "CNI_IFNAME": ifname,
            "CNI_PATH": self.bin,
            "PATH": os.environ["PATH"],
        }

    def call(self, command, conf=None, argv=None, **pod):
        """Milliseconds from spawn to exit. What it printed is in `self.output`."""
        self.output = f"{self.stage}/output"
        env = self.env(command, **pod)
        argv = argv or [f"{self.bin}/bridge"]
        enter(self.node)
        start = time.perf_counter_ns()
        pid = spawn(argv, env, conf or self.conf, self.output)
        _, status = os.waitpid(pid, 0)
        took = time.perf_counter_ns() - start
        if status != 0:
            said = read(self.output) + read(f"{self.output}.stderr")
            raise Failed(f"{self.suite}: {command} {env['CNI_CONTAINERID']}: {said}")
        return took / 1e6

    def reaches_gateways(self, pod=None):
        """Is every gateway's answer there for the first packet? It must be, in the end."""
        enter(pod or self.pod)
        first = True
        for gateway in self.gateways:
            for _ in range(6):
                ping = ["ping", "-n", "-q", "-c1", "-W1", gateway]
                if subprocess.run(ping, check=False, capture_output=True).returncode == 0:
                    break
                first = False
            else:
                raise Failed(f"{self.suite}: the pod does not reach its gateway {gateway}")
        return first

    def close(self):
        for netns in (self.pod, f"{self.node}-others", self.node):
            run("ip", "netns", "del", netns)


def version(stage, suite):
    """The first line of what a plugin says when it is run by hand."""
    about = subprocess.run([f"{stage}/{suite}/bridge"], check=False, stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    lines = (about.stdout + about.stderr).strip().splitlines()
    return lines[0] if about.returncode == 0 and lines else "unknown version"
