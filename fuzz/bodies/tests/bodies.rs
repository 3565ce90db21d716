//! The bodies of the fuzz targets, over the corpus, over mutations of it, and over noise.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

use ferrule_tests::hostile;
use fuzz_bodies::{BODIES, Body};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use std::fs;
use std::path::Path;

/// The committed inputs of a target.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(name);
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let inputs: Vec<_> = entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(!inputs.is_empty(), "{} is empty", dir.display());
    inputs
}

fn for_all(cases: u32, inputs: impl Strategy<Value = Vec<u8>>, body: Body) {
    // What the bodies warn of on stderr is no output of a test.
    let null = fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
    nix::unistd::dup2_stderr(&null).unwrap();
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let run = TestRunner::new(config).run(&inputs, |input| {
        body(&input);
        Ok(())
    });
    run.unwrap_or_else(|error| panic!("{error}"));
}

fn noise(length: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..length)
}

/// Part of an input replaced by noise, or by part of another input.
fn mutated(inputs: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let one = prop::sample::select(inputs);
    let cut = (any::<Index>(), 0_usize..24);
    let with = prop_oneof![
        noise(24),
        (one.clone(), any::<Index>()).prop_map(|(other, at)| {
            let at = at.index(other.len().max(1)).min(other.len());
            other[at..].iter().take(64).copied().collect()
        })
    ];
    (one, prop::collection::vec((cut, with), 1..4)).prop_map(|(mut input, edits)| {
        for ((at, length), with) in edits {
            let start = at.index(input.len() + 1);
            let end = (start + length).min(input.len());
            input.splice(start..end, with);
        }
        input
    })
}

#[test]
fn the_corpus_holds() {
    for (name, body) in BODIES {
        corpus(name).iter().for_each(|input| body(input));
    }
}

#[test]
fn every_target_of_cargo_fuzz_is_one_of_them() {
    let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz_targets");
    let mut found: Vec<_> = fs::read_dir(targets).unwrap().map(|e| e.unwrap().path()).collect();
    found.sort();
    let mut named: Vec<&str> = BODIES.iter().map(|(name, _)| *name).collect();
    named.sort_unstable();
    let found: Vec<_> =
        found.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect();
    assert_eq!(found, named);
}

#[test]
fn noise_holds() {
    for (_, body) in BODIES {
        for_all(200, noise(600), body);
    }
}

#[test]
fn mutations_of_the_corpus_hold() {
    for (name, body) in BODIES {
        for_all(600, mutated(corpus(name)), body);
    }
}

/// Documents with values of another type, duplicate keys, deep nesting and huge numbers.
#[test]
fn spoiled_documents_hold() {
    for input in corpus("prev_result") {
        if let Ok(document) = serde_json::from_slice(&input) {
            for_all(200, hostile::spoiled(document), fuzz_bodies::prev_result);
        }
    }
    for input in corpus("stdin") {
        let Some(end) = input.windows(2).position(|pair| pair == [0, 0]) else { continue };
        let (environment, stdin) = input.split_at(end + 2);
        let Ok(document) = serde_json::from_slice(stdin) else { continue };
        let whole = hostile::spoiled(document).prop_map(|stdin| [environment, &stdin].concat());
        for_all(200, whole, fuzz_bodies::stdin);
    }
    let any = hostile::json().prop_map(|value| value.to_string().into_bytes());
    for_all(500, any, fuzz_bodies::prev_result);
}
