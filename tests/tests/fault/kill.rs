//! ADD and DEL killed at any instant: the plugin, its whole process group, the IPAM plugin, or the
//! process by which DEL deletes the link, alone or with the plugin.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ferrule_tests::conf;
use ferrule_tests::invoke::addresses;
use ferrule_tests::node::Place;
use ferrule_tests::packets::ping;
use ferrule_tests::{Attachment, Node, long, within};
use nix::sys::signal::{Signal, kill, killpg};
use serde_json::{Value, json};

use crate::bench::Bench;
use crate::report::Counts;
use crate::started::start;
use crate::{gateway, routed};

const LEASES: &str = "/var/lib/cni/networks/pods";
/// How many pods the network holds, in each family.
const SIZE: usize = 6;

/// A network of few addresses, so that a lost one is missed.
fn small() -> Value {
    conf::with(
        &conf::full(),
        &json!({"ipam": {"ranges": [
            [{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.2", "rangeEnd": "10.1.0.7"}],
            [{"subnet": "fd00:1::/64", "rangeStart": "fd00:1::2", "rangeEnd": "fd00:1::7"}],
        ]}}),
    )
}

/// The same network's addresses by themselves.
fn ipam_alone(network: &Value) -> Value {
    conf::with(network, &json!({"type": "host-local"}))
}

/// Who is killed.
#[derive(Clone, Copy, Debug)]
enum Whom {
    Plugin,
    Group,
    Ipam,
    /// The process by which DEL deletes the link.
    Deletion,
    /// That, and the plugin.
    Both,
}

/// Numbers that are not the same each time; the seed is printed.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        Self(now.as_nanos() as u64 | 1)
    }

    /// xorshift64.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn until(instant: Instant) {
    while Instant::now() < instant {
        std::hint::spin_loop();
    }
}

/// What of an attachment exists, in words.
fn seen(node: &Node, container: &str) -> String {
    let mut found = vec![];
    let record = node.ns().enter(|| {
        let files = fs::read_dir("/run/ferrule/attachments").into_iter().flatten().flatten();
        let texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
        texts.reduce(|all, text| all + &text)
    });
    let complete = record.as_ref().is_some_and(|text| text.contains("\"complete\": true"));
    found.extend(record.map(|_| "record"));
    let links = node.run("ip -o link");
    let veth = links.lines().find(|line| line.contains(" veth"));
    found.extend(veth.map(|line| if line.contains("UP") { "veth" } else { "veth (down)" }));
    let leases = node.try_run(&format!("grep -rl {container} {LEASES}")).stdout;
    found.extend((leases.lines().count() > 0).then_some("lease"));
    let rules = node.run("nft list ruleset");
    found.extend(rules.contains(container).then_some("nft elements"));
    found.extend((rules.contains("ferrule") && !rules.contains(container)).then_some("nft table"));
    match (complete, found.join(", ").as_str()) {
        (_, "") => "nothing".to_owned(),
        (true, "record, veth, lease, nft elements") => "everything".to_owned(),
        (_, some) => some.to_owned(),
    }
}

/// How long a call takes, from its start to its end.
fn median(bench: &Bench, command: &str, config: &Value) -> Duration {
    let one = |_| {
        let attachment = bench.attach_plainly(config);
        if command == "DEL" {
            attachment.add();
        }
        let started = start(&bench.node, &attachment.call(command, None));
        let at = started.at;
        assert!(started.end().success(), "{command}");
        let took = at.elapsed();
        attachment.del(None);
        took
    };
    let mut all: Vec<Duration> = (0..9).map(one).collect();
    all.sort();
    all[4]
}

/// One bench and its dice, and what came of it.
struct Kills {
    bench: Bench,
    network: Value,
    dice: Dice,
    /// How long the call takes.
    whole: Duration,
    /// How long its IPAM plugin takes.
    ipam: Duration,
    at_death: Counts,
    /// Those that were over before they were to be killed.
    late: usize,
}

impl Kills {
    fn new(command: &str, network: Value) -> Self {
        let bench = Bench::used(&network);
        let whole = median(&bench, command, &network);
        let ipam = median(&bench, command, &ipam_alone(&network));
        Self {
            bench,
            network,
            dice: Dice::new(),
            whole,
            ipam,
            at_death: Counts::default(),
            late: 0,
        }
    }

    fn attach(&self) -> Attachment<'_> {
        self.bench.attach_plainly(&self.network)
    }

    /// Kills one call and sees to what is left.
    fn one(&mut self, command: &str, whom: Whom) {
        if command == "DEL" {
            self.attach().add();
        }
        let call = self.attach().call(command, None);
        let mut started = start(&self.bench.node, &call);
        let target = match whom {
            Whom::Ipam => started.ipam(),
            Whom::Plugin | Whom::Group => Some(started.pid()),
            Whom::Deletion | Whom::Both => started.deletion(&self.bench.node),
        };
        let (span, from) = match whom {
            // By the time it is seen, half of it is over.
            Whom::Ipam => (self.ipam / 2, Instant::now()),
            Whom::Plugin | Whom::Group => (self.whole, started.at),
            Whom::Deletion | Whom::Both => (self.whole, Instant::now()),
        };
        until(from + span.mul_f64(self.dice.roll(1000) as f64 / 1000.0));
        let pod = self.bench.pod.id().to_owned();
        match whom {
            Whom::Plugin => kill(started.pid(), Signal::SIGKILL),
            Whom::Group => killpg(started.pid(), Signal::SIGKILL),
            // The plugin waits while the state is looked at.
            Whom::Ipam => kill(started.pid(), Signal::SIGSTOP)
                .and_then(|()| target.map_or(Ok(()), |ipam| kill(ipam, Signal::SIGKILL))),
            Whom::Deletion => target.map_or(Ok(()), |pid| kill(pid, Signal::SIGKILL)),
            Whom::Both => kill(started.pid(), Signal::SIGKILL)
                .and(target.map_or(Ok(()), |pid| kill(pid, Signal::SIGKILL))),
        }
        // It is gone already.
        .unwrap_or_default();
        let state = seen(&self.bench.node, &pod);
        if matches!(whom, Whom::Ipam) {
            let _ = kill(started.pid(), Signal::SIGCONT);
        }
        let end = started.end();
        if matches!(whom, Whom::Deletion) {
            assert!(end.success(), "DEL fails where the process that deletes the link was killed");
        }
        let struck = match whom {
            Whom::Deletion | Whom::Both => target.is_some(),
            Whom::Plugin | Whom::Group => end.signal() == Some(Signal::SIGKILL as i32),
            // A plugin that lost its IPAM plugin says so; else that one had ended before.
            Whom::Ipam => !end.success(),
        };
        if struck {
            self.at_death.add(state);
        } else {
            self.late += 1;
        }
        if matches!(whom, Whom::Ipam) && command == "ADD" && struck {
            let left = self.bench.left();
            assert!(left.is_nothing(), "ADD failed, its IPAM plugin killed, and left:\n{left}");
        }
        self.repair(&format!("{command}, {whom:?} killed"));
    }

    /// DEL, GC, or ADD and DEL; and the node is as it was.
    fn repair(&mut self, what: &str) {
        let roll = self.dice.roll(4);
        let attachment = self.attach();
        match roll {
            // At once: DEL waits for an IPAM plugin that lost its parent.
            0 | 1 => attachment.del(None),
            2 => {
                self.quiet();
                attachment.gc(&[]).ok();
            }
            _ => {
                self.quiet();
                match attachment.try_add() {
                    again if again.code == Some(0) => {
                        ping(&self.bench.pod, gateway(&self.network));
                        attachment.check(&again.ok());
                    }
                    // The call was over before it was killed.
                    again => again.err().expect(103, "already exists"),
                }
                attachment.del(None);
            }
        }
        let how = ["DEL", "DEL", "GC", "ADD and DEL"][roll as usize];
        let left = self.bench.left();
        assert!(left.is_nothing(), "{what}; {how} left:\n{left}");
        if self.dice.roll(10) == 0 {
            self.all_addresses(what);
        }
    }

    /// Waits until nothing runs in the node any more.
    fn quiet(&self) {
        let inode = self.bench.node.ns().net_inode();
        let runs = |path: &std::path::Path| {
            use std::os::unix::fs::MetadataExt;
            fs::metadata(path.join("ns/net")).is_ok_and(|net| net.ino() == inode)
        };
        let none = || {
            let mut all = fs::read_dir("/proc").expect("read /proc").flatten();
            (!all.any(|entry| runs(&entry.path()))).then_some(())
        };
        within(Duration::from_secs(10), none).expect("the IPAM plugin ends");
    }

    /// Every address of the network can be leased, and none twice.
    fn all_addresses(&self, what: &str) {
        let config = ipam_alone(&self.network);
        let lease = |n: usize| {
            let mut attachment = self.bench.node.attach(&config, &self.bench.pod);
            attachment.container = format!("fills-{n}");
            attachment
        };
        let taken: Vec<String> =
            (0..SIZE).flat_map(|n| addresses(&lease(n).add())).collect::<Vec<_>>();
        let different: BTreeSet<&String> = taken.iter().collect();
        assert_eq!(different.len(), 2 * SIZE, "{what}: {taken:?}");
        lease(SIZE).try_add().err().expect(102, "no IP addresses available");
        (0..SIZE).for_each(|n| lease(n).del(None));
    }
}

fn run(command: &str, whom: Whom, normal: usize, all: usize) {
    run_on(small(), command, whom, normal, all);
}

fn run_on(network: Value, command: &str, whom: Whom, normal: usize, all: usize) {
    let by = network["type"].as_str().unwrap_or_default().to_owned();
    let mut kills = Kills::new(command, network);
    let seed = kills.dice.0;
    let count = if long() { all } else { normal };
    while kills.at_death.of(|_| true) < count {
        kills.one(command, whom);
        assert!(kills.late < 20 + 5 * count, "nearly every call is over before it is killed");
    }
    kills.all_addresses("at the end");
    let (whole, ipam) = (kills.whole, kills.ipam);
    let at_any_instant = !matches!(whom, Whom::Deletion | Whom::Both);
    let whom = match whom {
        Whom::Plugin => "the plugin alone",
        Whom::Group => "the whole process group",
        Whom::Ipam => "the IPAM plugin alone",
        Whom::Deletion => "the process that deletes the link alone",
        Whom::Both => "the plugin and the process that deletes the link",
    };
    let title = format!(
        "{command} by {by}, {whom} killed {count} times (seed {seed}; the call takes {whole:.1?}, its \
         IPAM plugin {ipam:.1?}; over too soon and not counted: {})",
        kills.late
    );
    kills.at_death.print(&title, "what existed at death");
    let middle = kills.at_death.of(|what| what != "nothing" && what != "everything");
    assert!(
        !at_any_instant || 5 * middle >= count,
        "{middle} of {count} were killed in the middle"
    );
}

#[test]
fn the_plugin_of_add() {
    run("ADD", Whom::Plugin, 12, 250);
}

#[test]
fn the_process_group_of_add() {
    run("ADD", Whom::Group, 12, 250);
}

#[test]
fn the_ipam_plugin_of_add() {
    run("ADD", Whom::Ipam, 12, 200);
}

#[test]
fn the_plugin_of_del() {
    run("DEL", Whom::Plugin, 12, 200);
}

#[test]
fn the_process_group_of_del() {
    run("DEL", Whom::Group, 12, 200);
}

#[test]
fn the_ipam_plugin_of_del() {
    run("DEL", Whom::Ipam, 12, 200);
}

#[test]
fn bgp_in_add() {
    run_on(routed(&small()), "ADD", Whom::Plugin, 12, 250);
    run_on(routed(&small()), "ADD", Whom::Group, 12, 250);
}

#[test]
fn bgp_in_del() {
    run_on(routed(&small()), "DEL", Whom::Plugin, 12, 200);
    run_on(routed(&small()), "DEL", Whom::Group, 12, 200);
}

#[test]
fn the_process_that_deletes_the_link() {
    run("DEL", Whom::Deletion, 12, 200);
    run_on(routed(&small()), "DEL", Whom::Deletion, 6, 100);
}

#[test]
fn the_plugin_and_the_process_that_deletes_the_link() {
    run("DEL", Whom::Both, 12, 200);
    run_on(routed(&small()), "DEL", Whom::Both, 6, 100);
}
