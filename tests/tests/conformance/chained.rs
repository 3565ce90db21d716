//! Calls of a plugin that is chained behind bridge, and what is seen of them.

use ferrule_tests::node::Place;
use ferrule_tests::{Bins, Pod};
use serde_json::Value;

use crate::bench::Bench;

/// A pod of the reference's bridge, so that all that differs is of the plugin behind it.
pub struct Behind {
    pub pod: Pod,
    /// What bridge answered, then what the plugin did.
    pub result: Value,
    pub config: Value,
}

impl Behind {
    /// ADD of bridge; `config` is of the plugin behind it.
    pub fn new(bench: &Bench, main: &Value, config: &Value) -> Self {
        let pod = Pod::new();
        let result = bench.attach(main, &pod).by(&Bins::reference()).add();
        Self { pod, result, config: config.clone() }
    }

    /// ADD; gives whether it succeeded.
    pub fn add(&mut self, bench: &mut Bench, place: &str) -> bool {
        let attachment = bench.attach(&self.config, &self.pod);
        let outcome = attachment.call("ADD", Some(&self.result)).run(&bench.node);
        bench.ended(place, &outcome);
        let is_added = outcome.code == Some(0);
        if is_added {
            let result = outcome.ok();
            bench.see(&format!("{place}/passes the result on"), result == self.result);
            self.result = result;
        }
        is_added
    }

    /// ADD that is to be refused in the words that people search for.
    pub fn refused(&self, bench: &mut Bench, place: &str, words: &str) {
        let attachment = bench.attach(&self.config, &self.pod);
        let outcome = attachment.call("ADD", Some(&self.result)).run(&bench.node);
        bench.refused(place, &outcome, words);
    }

    /// CHECK, in the versions that have it.
    pub fn check(&self, bench: &mut Bench, place: &str) {
        if bench.checks() {
            let outcome = bench.attach(&self.config, &self.pod).try_check(&self.result);
            bench.ended(place, &outcome);
        }
    }

    /// DEL with the result.
    pub fn del(&self, bench: &mut Bench, place: &str) {
        let outcome = bench.attach(&self.config, &self.pod).try_del(Some(&self.result));
        bench.ended(place, &outcome);
    }
}

/// How many rules and elements name a text, in nftables and iptables of both kinds.
pub fn rules_that_name(bench: &Bench, text: &str) -> usize {
    let all = bench.node.sh("nft list ruleset; iptables-legacy-save; ip6tables-legacy-save");
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_hexdigit() || c == ':');
    all.lines()
        .filter(|line| line.match_indices(text).any(|(at, _)| ends(&line[at + text.len()..])))
        .count()
}
