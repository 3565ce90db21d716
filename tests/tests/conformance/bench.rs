//! One scenario, run by each suite in each version, and what was seen compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::thread;

use ferrule_tests::invoke::Attachment;
use ferrule_tests::node::Place;
use ferrule_tests::{Bins, Node, Outcome, Pod, conf};
use serde_json::{Value, json};

use crate::differences::{DIFFERENCES, EVERY, Row, WITNESS};
use crate::state;

/// Every version of the specification.
pub const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// A node, the executables of one suite, and all that was seen of them.
pub struct Bench {
    pub node: Node,
    pub version: &'static str,
    bins: Bins,
    part: &'static str,
    seen: BTreeMap<String, Value>,
}

impl Bench {
    fn new(bins: Bins, version: &'static str) -> Self {
        let node = Node::new();
        // The reference's bridge sits out a second of detection for each IPv6 gateway.
        node.set_sysctl("net/ipv6/conf/default/accept_dad", "0");
        Self { node, version, bins, part: "", seen: BTreeMap::new() }
    }

    /// `eth0` of a pod on the network of `config`, in this run's version.
    pub fn attach(&self, config: &Value, pod: &Pod) -> Attachment<'_> {
        let config = conf::with(config, &json!({"cniVersion": self.version}));
        self.node.attach(&config, pod).by(&self.bins)
    }

    /// Whether this run's version has CHECK.
    pub fn checks(&self) -> bool {
        self.version >= "0.4.0"
    }

    /// Whether this run's results name interfaces, and hold any number of addresses.
    pub fn lists(&self) -> bool {
        self.version >= "0.3.0"
    }

    /// The folder of the executables.
    pub fn bins(&self) -> &Bins {
        &self.bins
    }

    /// Notes what was seen.
    pub fn see(&mut self, place: &str, value: impl Into<Value>) {
        let place = format!("{}{place}", self.part);
        flatten(&place, &value.into(), &mut self.seen);
    }

    /// From here on, what is seen belongs to a part of the scenario (`name/`).
    pub fn part(&mut self, name: &'static str) {
        self.part = name;
    }

    /// Notes how a call ended that prints nothing when it succeeds.
    pub fn ended(&mut self, place: &str, outcome: &Outcome) {
        let succeeded = outcome.code == Some(0);
        self.see(place, if succeeded { "succeeds" } else { "fails" });
    }

    /// Notes how a call ended that is to be refused in the words that people search for.
    pub fn refused(&mut self, place: &str, outcome: &Outcome, words: &str) {
        if outcome.code == Some(0) {
            self.see(place, "succeeds");
            return;
        }
        let error = outcome.err();
        let said = if error.text().contains(words) { words.to_owned() } else { error.text() };
        self.see(place, format!("refused: {said}"));
        self.see(&format!("{place}/code"), error.code);
    }

    /// Notes a result, or the failure, of ADD.
    pub fn result(&mut self, place: &str, outcome: &Outcome, pod: &Pod) -> Option<Value> {
        if outcome.code != Some(0) {
            let error = outcome.err();
            self.see(place, format!("refused: {}", error.text()));
            return None;
        }
        let result = outcome.ok();
        self.see(place, state::result(&result, &self.node, pod));
        Some(result)
    }

    /// Notes the links, addresses, routes and sysctls of the node, and its leases.
    pub fn node_state(&mut self, place: &str) {
        let seen = state::of(&self.node);
        self.see(&format!("{place}/node"), seen);
        self.leases(place);
    }

    /// Notes the links, addresses, routes and sysctls of a pod.
    pub fn pod_state(&mut self, place: &str, pod: &Pod) {
        self.see(&format!("{place}/pod"), state::of(pod));
    }

    /// Notes the lease files, and those that remember the last address.
    pub fn leases(&mut self, place: &str) {
        let seen = state::leases(&self.node, true);
        self.see(&format!("{place}/leases"), seen);
    }

    /// Notes the lease files alone.
    pub fn held_leases(&mut self, place: &str) {
        let seen = state::leases(&self.node, false);
        self.see(&format!("{place}/leases"), seen);
    }

    /// ADD, what it made, CHECK, DEL, and what is left; `while_up` runs while it is up.
    pub fn life(&mut self, config: &Value, while_up: impl FnOnce(&mut Self, &Pod, &Value)) {
        let pod = Pod::new();
        let (config, bins) = (config.clone(), self.bins.clone());
        let attach = |bench: &Self| {
            let spoken = conf::with(&config, &json!({"cniVersion": bench.version}));
            (spoken, bins.clone())
        };
        let (spoken, by) = attach(self);
        let outcome = self.node.attach(&spoken, &pod).by(&by).try_add();
        let result = self.result("ADD", &outcome, &pod);
        self.node_state("after ADD");
        self.pod_state("after ADD", &pod);
        if let Some(result) = &result {
            while_up(self, &pod, result);
        }
        let held = result.unwrap_or_else(|| json!({}));
        if self.checks() {
            let outcome = self.node.attach(&spoken, &pod).by(&by).try_check(&held);
            self.ended("CHECK", &outcome);
        }
        let outcome = self.node.attach(&spoken, &pod).by(&by).try_del(Some(&held));
        self.ended("DEL", &outcome);
        self.node_state("after DEL");
        self.see("after DEL/pod links", pod.links());
        let outcome = self.node.attach(&spoken, &pod).by(&by).try_del(Some(&held));
        self.ended("DEL again", &outcome);
    }
}

/// Every leaf of a value under its path.
fn flatten(place: &str, value: &Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            map.iter().for_each(|(key, value)| flatten(&format!("{place}/{key}"), value, into));
        }
        Value::Array(list) if !list.is_empty() => {
            let numbered = list.iter().enumerate();
            numbered.for_each(|(nth, value)| flatten(&format!("{place}/{nth}"), value, into));
        }
        leaf => drop(into.insert(place.to_owned(), leaf.clone())),
    }
}

fn run(bins: Bins, version: &'static str, scenario: fn(&mut Bench)) -> BTreeMap<String, Value> {
    let mut bench = Bench::new(bins, version);
    scenario(&mut bench);
    bench.seen
}

/// The reference says 999 or 100 where the specification has a number.
fn same(place: &str, ours: &Value, theirs: &Value) -> bool {
    let loose = place.ends_with("/code") && [999, 100].iter().any(|code| theirs == *code);
    let of_the_specification = ours.as_u64().is_some_and(|code| code != 0 && code != 999);
    ours == theirs || (loose && of_the_specification)
}

/// Runs a scenario by both suites in every version from one on, and compares.
pub fn conform(name: &str, from: &str, scenario: fn(&mut Bench)) {
    let concerns = |row: &&Row| [name, EVERY].contains(&row.scenario);
    let rows: Vec<&Row> = DIFFERENCES.iter().filter(concerns).collect();
    let mut used = BTreeSet::new();
    // What differs, and in which versions.
    let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (version, differences) in compare_all(from, scenario) {
        for (place, difference) in differences {
            match rows.iter().position(|row| row.covers(&place)) {
                Some(row) => drop(used.insert(row)),
                None => found.entry(difference).or_default().push(version),
            }
        }
    }
    let mut text = String::new();
    for (difference, versions) in found {
        writeln!(text, "{difference}\n    in {}", versions.join(" ")).expect("write to a string");
    }
    let unused = rows.iter().enumerate().filter(|(nth, _)| !used.contains(nth));
    for (_, row) in unused.filter(|(_, row)| row.scenario == name || name == WITNESS) {
        writeln!(text, "{}: differs no longer", row.at).expect("write to a string");
    }
    assert!(text.is_empty(), "{name}: ours and the reference differ\n{text}");
}

/// A place, and how the two differ there.
type Difference = (String, String);

/// What differs in each version; a few at a time, since they wait for the kernel more than they
/// work.
fn compare_all(from: &str, scenario: fn(&mut Bench)) -> Vec<(&'static str, Vec<Difference>)> {
    let mut all = vec![];
    let versions: Vec<_> = VERSIONS.into_iter().filter(|version| *version >= from).collect();
    for few in versions.chunks(3) {
        thread::scope(|scope| {
            let running: Vec<_> = few
                .iter()
                .map(|version| (*version, scope.spawn(|| compare(version, scenario))))
                .collect();
            for (version, thread) in running {
                let found = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                all.push((version, found));
            }
        });
    }
    all
}

/// Every place where the two differ in a version, and how.
fn compare(version: &'static str, scenario: fn(&mut Bench)) -> Vec<Difference> {
    let (ours, theirs) = thread::scope(|scope| {
        let theirs = scope.spawn(|| run(Bins::reference(), version, scenario));
        let ours = run(Bins::ours(), version, scenario);
        (ours, theirs.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let places: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let mut different = vec![];
    for place in places {
        let (one, other) = (ours.get(place), theirs.get(place));
        if one.zip(other).is_some_and(|(one, other)| same(place, one, other)) {
            continue;
        }
        let shown = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
        let (one, other) = (shown(one), shown(other));
        let difference = format!("{place}\n    ours      {one}\n    reference {other}");
        different.push((place.clone(), difference));
    }
    different
}

/// One test for each scenario, and the list of their names; `from "VERSION":` before them is the first
/// version that the reference's plugin speaks.
macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        crate::bench::scenarios! { from "0.1.0": $($name),* }
    };
    (from $version:literal: $($name:ident),* $(,)?) => {
        pub const NAMES: &[&str] = &[$(stringify!($name)),*];
        mod both {
            $(#[test]
            fn $name() {
                crate::bench::conform(stringify!($name), $version, super::$name);
            })*
        }
    };
}
pub(crate) use scenarios;
