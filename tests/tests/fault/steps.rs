//! Each kernel and file operation of ADD and of DEL, made to fail one at a time.

use std::panic::AssertUnwindSafe;

use ferrule_tests::conf;
use ferrule_tests::packets::ping;
use ferrule_tests::{Attachment, Outcome, long};
use serde_json::Value;

use crate::bench::{Bench, Left};
use crate::report::Counts;
use crate::seam::{Operation, Victim};
use crate::{gateway, routed};

/// Which failures are tried on an operation, with the text by which an error names each.
fn errors(operation: &Operation) -> Vec<(&'static str, &'static str)> {
    let usual = match operation.name.as_str() {
        // What the kernel says of a full socket, and of a full disk.
        "sendto" | "recvfrom" => ("ENOBUFS", "(os error 105)"),
        _ => ("ENOSPC", "(os error 28)"),
    };
    // By number: musl has other words for EIO than glibc.
    let all = [("EIO", "(os error 5)"), usual];
    all[..if long() { 2 } else { 1 }].to_vec()
}

/// What is made to fail, and where.
struct Scenario {
    title: &'static str,
    command: &'static str,
    config: Value,
    victim: Victim,
    /// Whether each step is the first on its node.
    fresh: bool,
    /// Of how many operations the normal run takes one.
    stride: usize,
    /// What may fail without failing the call, besides [`EVERYWHERE`].
    harmless: &'static [&'static [&'static str]],
}

/// Whether strace's line is one of these: `…` stands for anything.
fn is_one_of(line: &str, list: &[&str]) -> bool {
    let fits = |form: &&str| {
        let mut rest = Some(line);
        for part in form.split('…') {
            rest = rest.and_then(|rest| rest.split_once(part)).map(|(_, rest)| rest);
        }
        rest.is_some()
    };
    list.iter().any(fits)
}

/// How a step ended, and all that is wrong with it.
#[derive(Default)]
struct End {
    what: String,
    wrong: Vec<String>,
}

impl End {
    fn expect(&mut self, right: bool, wrong: impl FnOnce() -> String) {
        if !right {
            self.wrong.push(wrong());
        }
    }

    /// Whether a call succeeded; its error is wrong.
    fn succeeds(&mut self, outcome: &Outcome) -> bool {
        let ok = outcome.code == Some(0);
        self.expect(ok, || format!("then {} fails: {}", outcome.command, outcome.stdout));
        ok
    }
}

impl Scenario {
    /// Every step; what is wrong is collected, to be seen at once.
    fn run(&self) {
        let mut bench = self.bench();
        let operations = self.operations(&bench);
        let stride = if long() { 1 } else { self.stride };
        let (mut counts, mut wrong, mut tried) = (Counts::default(), vec![], 0);
        for operation in operations.iter().step_by(stride) {
            for error in errors(operation) {
                if self.fresh && tried > 0 {
                    bench = Bench::fresh();
                }
                tried += 1;
                let end = self.guarded(&bench, operation, error);
                let Operation { name, nth, line } = operation;
                let place = format!("{} of {name} {nth}: {line}", error.0);
                wrong.extend(end.wrong.iter().map(|what| format!("{place}\n    {what}")));
                counts.add(end.what);
                if !end.wrong.is_empty() {
                    bench = self.bench();
                }
            }
        }
        let all = operations.len();
        counts
            .print(&format!("{}: {tried} failures, {all} operations", self.title), "how it ended");
        assert!(wrong.is_empty(), "{}: {} wrong:\n{}", self.title, wrong.len(), wrong.join("\n"));
        assert!(counts.of(|what| what.starts_with("error")) > 0, "no operation failed the call");
    }

    fn bench(&self) -> Bench {
        if self.fresh { Bench::fresh() } else { Bench::used(&self.config) }
    }

    fn operations(&self, bench: &Bench) -> Vec<Operation> {
        let attachment = bench.attach(&self.config);
        let added = (self.command == "DEL").then(|| attachment.add());
        let call = || drop(attachment.call(self.command, added.as_ref()).run(&bench.node).ok());
        let list = bench.seam().list(self.victim, call);
        attachment.del(None);
        assert!(list.len() > 20, "{}: {list:#?}", self.title);
        list
    }

    /// A step; a broken expectation of the harness is one more thing that is wrong.
    fn guarded(&self, bench: &Bench, operation: &Operation, error: (&str, &str)) -> End {
        let step = || self.step(bench, operation, error);
        std::panic::catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            End { what: "panic".to_owned(), wrong: vec![text] }
        })
    }

    fn step(&self, bench: &Bench, operation: &Operation, (errno, text): (&str, &str)) -> End {
        let mut end = End::default();
        let attachment = bench.attach(&self.config);
        let added = (self.command == "DEL").then(|| attachment.add());
        let call = || attachment.call(self.command, added.as_ref()).run(&bench.node);
        let (outcome, struck) = bench.seam().fail(self.victim, operation, errno, call);
        let left = bench.left();
        let ok = outcome.code == Some(0);
        let line = struck.clone().unwrap_or_default();
        if ok {
            let what = if struck.is_some() { "success" } else { "success: it did not come to it" };
            end.what = what.to_owned();
            let mut lists = self.harmless.iter().chain([&EVERYWHERE]);
            let harmless = struck.is_none() || lists.any(|list| is_one_of(&line, list));
            end.expect(harmless, || {
                format!("success, where it is not known to do no harm: {line}")
            });
        } else {
            let text_of_error = outcome.err().text();
            end.expect(text_of_error.contains(text), || {
                format!("the cause is not named: {text_of_error}")
            });
        }
        match (self.command, ok) {
            ("ADD", true) => self.works(&attachment, bench, &outcome.ok(), &mut end),
            ("ADD", false) => {
                end.expect(left.is_nothing(), || format!("ADD left, after {line}:\n{left}"));
                let again = attachment.try_add();
                if end.succeeds(&again) {
                    self.works(&attachment, bench, &again.ok(), &mut end);
                }
            }
            (_, true) => end.expect(left.is_nothing(), || format!("DEL left:\n{left}")),
            (_, false) => self.is_torn_down(&left, &line, &mut end),
        }
        if !ok {
            end.what = format!("error: {}", left.brief());
        }
        end.succeeds(&attachment.try_del(added.as_ref()));
        let last = bench.left();
        end.expect(last.is_nothing(), || format!("the last DEL left:\n{last}"));
        end
    }

    /// After a DEL that failed: what the struck operation was not of is torn down all the same.
    fn is_torn_down(&self, left: &Left, line: &str, end: &mut End) {
        // An address may be leased again as soon as it is free.
        end.expect(left.has_lease() || !left.is_connected(), || {
            format!("the address is free, and its pod still sends:\n{left}")
        });
        let in_ipam = self.victim == Victim::Ipam;
        if !in_ipam && is_one_of(line, DEL_NEEDS) {
            return;
        }
        let kinds = [
            ("the pod is connected", left.is_connected(), false),
            ("rules are left", left.has_rules(), is_one_of(line, OF_RULES)),
            ("a lease is left", left.has_lease(), in_ipam || is_one_of(line, OF_IPAM)),
        ];
        for (what, there, allowed) in kinds {
            end.expect(!there || allowed, || format!("after {line}: {what}:\n{left}"));
        }
    }

    /// What succeeded is whole.
    fn works(&self, attachment: &Attachment, bench: &Bench, result: &Value, end: &mut End) {
        ping(&bench.pod, gateway(&self.config));
        end.succeeds(&attachment.try_check(result));
    }
}

/// What may fail and does no harm: ADD succeeds, and the pod is whole by ping and CHECK; DEL
/// succeeds, and nothing is left. First what is so in every executable.
const EVERYWHERE: &[&str] = &[
    // A file's size before it is read, which is a hint, and of which file system a namespace is.
    "statx(",
    "fstat(",
    "fstatfs(",
    // musl's second thought after open(2) with O_CLOEXEC.
    "F_SETFD, FD_CLOEXEC",
    "lseek(",
    // A lock ends with the process.
    "LOCK_UN",
];

/// In a plugin that attaches pods.
const IN_A_PLUGIN: &[&str] = &[
    // Whether CNI_NETNS is the node's own: where that is not to be seen, it is taken for a pod's.
    "\"/proc/thread-self/ns/net\"",
    "readlink(\"/proc/self/fd/",
    "/fd/",
    // A record's name, which is looked at again.
    "stat(\"",
    // By this pipe a child reports that it could not be run: posix_spawn(3) of musl.
    "read(…<pipe:[…, 4) ",
    // The kernel's words for its errors.
    "NETLINK_EXT_ACK, [1]",
    "NETLINK_CAP_ACK, [1]",
    // The way back from the pod's namespace is tried three times.
    "setns(",
];

const IN_ADD: &[&str] = &[
    // What sysfs says of the bridge: without it, its MAC address is looked for in the FDB.
    "\"/sys/class/net/cni0/",
    "</sys/devices/virtual/net/cni0/",
    // Sysctls of the pod are written again, after a look.
    "\"/proc/sys/net/ipv…/conf/eth0/",
    "write(…</proc/sys/net/ipv…/conf/eth0/",
    "\"/proc/sys/net/ipv4/conf/all/accept_redirects\"",
    "write(…</proc/sys/net/ipv4/conf/all/accept_redirects>",
    // Whose filters may have gone with the table that this call makes anew.
    "\"/run/ferrule/attachments\", O_RDONLY",
    "getdents64(…</run/ferrule/attachments>",
];

const IN_DEL: &[&str] = &[
    // A link that cannot be set down is deleted, and only then its lease freed.
    "nlmsg_type=RTM_GETLINK",
    "nlmsg_type=RTM_NEWLINK",
    "recvfrom(…<NETLINK:[ROUTE:",
    // Without the process that deletes the link, its report, or the notification of the link's
    // end, DEL deletes the link itself and waits for the kernel's acknowledgement.
    "fork(",
    "clone(child_stack=NULL, flags=SIGCHLD",
    "pipe2(",
    "read(…<pipe:[",
    "poll([{fd=…<NETLINK:[ROUTE:",
    "NETLINK_ROUTE) = -1",
    "bind(",
    "connect(…<NETLINK:[ROUTE:",
    "ioctl(…<NETLINK:[ROUTE:",
    "getsockname(…<NETLINK:[ROUTE:",
    "setsockopt(…<NETLINK:[ROUTE:",
    // What the daemon says, which DEL needs not.
    "/node.json\"",
    // The record, without which DEL goes by the marks in the kernel, and its lock.
    "/run/ferrule",
    "flock(",
];

/// What host-local can do without: its index and its map are made anew by the next call, and
/// without the boot's ID no lease counts as one from before it.
const IN_IPAM: &[&str] = &[
    "\"/proc/",
    "</proc/sys/kernel/random/boot_id>",
    "\"/etc/machine-id\"",
    "</etc/machine-id>",
    "readlink(",
    // Whether others changed the directory: then all of it is read.
    "stat(\"/var/lib/cni/networks/pods\"",
    "\"/var/lib/cni/networks/.ferrule/",
    "pread64(",
    "pwrite64(",
    "ftruncate(",
    "utimensat(",
    "\"/var/lib/cni/networks/pods/last_reserved_ip.",
    "read(…</var/lib/cni/networks/pods/last_reserved_ip.",
];

/// What DEL can do nothing without: its configuration, and the socket by which the kernel reports
/// whose the link is, and stops it. As long as the pod may send, its address and its rules stay.
const DEL_NEEDS: &[&str] = &[
    "read(0<",
    "NETLINK_ROUTE)",
    "bind(",
    "connect(…<NETLINK:[ROUTE:",
    "getsockname(…<NETLINK:[ROUTE:",
    "setsockopt(…<NETLINK:[ROUTE:",
];

/// How an IPAM plugin is run and given its configuration: without, the lease stays.
const OF_IPAM: &[&str] = &["pipe2(", "memfd_create(\"cni-stdin\"", "</memfd:cni-stdin>", "clone("];

/// Of netfilter. Its socket has no name before the first message, which asks for the generation.
const OF_RULES: &[&str] = &["NETLINK_NETFILTER", "<NETLINK:[NETFILTER:", "nlmsg_type=0xa10 "];

/// A scenario of one command with one configuration, where it is not the first of its node.
fn scenario(title: &'static str, command: &'static str, victim: Victim) -> Scenario {
    let harmless: &[&[&str]] = match (victim, command) {
        (Victim::Ipam, _) => &[IN_IPAM],
        (_, "DEL") => &[IN_A_PLUGIN, IN_DEL],
        _ => &[IN_A_PLUGIN, IN_ADD],
    };
    let config = conf::full();
    Scenario { title, command, config, victim, fresh: false, stride: 8, harmless }
}

#[test]
fn add() {
    scenario("ADD, both families, masquerade, MAC check", "ADD", Victim::Plugin).run();
}

#[test]
fn add_of_the_first_pod() {
    let title = "the node's first ADD, both families, masquerade, MAC check";
    Scenario { fresh: true, stride: 12, ..scenario(title, "ADD", Victim::Plugin) }.run();
}

#[test]
fn add_of_ipv4_alone() {
    Scenario { config: conf::v4(), ..scenario("ADD, IPv4", "ADD", Victim::Plugin) }.run();
}

#[test]
fn the_ipam_plugin_of_add() {
    scenario("ADD, in the IPAM plugin", "ADD", Victim::Ipam).run();
}

#[test]
fn del() {
    scenario("DEL, both families, masquerade, MAC check", "DEL", Victim::Plugin).run();
}

#[test]
fn del_of_ipv4_alone() {
    Scenario { config: conf::v4(), ..scenario("DEL, IPv4", "DEL", Victim::Plugin) }.run();
}

#[test]
fn the_ipam_plugin_of_del() {
    scenario("DEL, in the IPAM plugin", "DEL", Victim::Ipam).run();
}

#[test]
fn add_of_a_routed_pod() {
    let config = routed(&conf::full());
    Scenario { config, ..scenario("ADD by bgp, both families", "ADD", Victim::Bgp) }.run();
}

#[test]
fn del_of_a_routed_pod() {
    let config = routed(&conf::full());
    Scenario { config, ..scenario("DEL by bgp, both families", "DEL", Victim::Bgp) }.run();
}
