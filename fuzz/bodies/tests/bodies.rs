//! The bodies of the fuzz targets, over the corpus, over mutations of it, and over noise.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

use ferrule_tests::{hostile, tool};
use fuzz_bodies::{BODIES, Body};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The committed inputs of a target, in the order of their names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let archive =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(format!("{name}.tar.gz"));
    let folder = tempfile::tempdir().unwrap();
    tool::succeed(Command::new("tar").arg("-xzf").arg(&archive).current_dir(folder.path()));
    let mut files: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", archive.display());
    files.iter().map(|file| fs::read(file).unwrap()).collect()
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
fn every_archive_of_the_corpus_is_of_a_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    let mut named: Vec<_> = BODIES.iter().map(|(name, _)| format!("{name}.tar.gz")).collect();
    named.sort_unstable();
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
    let results = corpus("prev_result").into_iter().map(|input| (vec![], input));
    for_all(1500, spoiled(results), fuzz_bodies::prev_result);
    let calls = corpus("stdin").into_iter().filter_map(|mut input| {
        let end = input.windows(2).position(|pair| pair == [0, 0])?;
        let stdin = input.split_off(end + 2);
        Some((input, stdin))
    });
    for_all(1500, spoiled(calls), fuzz_bodies::stdin);
    let any = hostile::json().prop_map(|value| value.to_string().into_bytes());
    for_all(500, any, fuzz_bodies::prev_result);
}

/// Of inputs that are something and then a document, those whose document is JSON, spoiled.
fn spoiled(inputs: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> impl Strategy<Value = Vec<u8>> {
    let parsed = inputs.filter_map(|(start, text)| {
        let document: serde_json::Value = serde_json::from_slice(&text).ok()?;
        Some((start, document))
    });
    let one = prop::sample::select(parsed.collect::<Vec<_>>());
    one.prop_flat_map(|(start, document)| {
        hostile::spoiled(document).prop_map(move |text| [&start[..], &text].concat())
    })
}
