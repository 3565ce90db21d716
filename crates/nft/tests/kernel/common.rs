//! A network namespace of one's own, and the `nft` tool in it as the oracle.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use nft::{Macspoof, Masquerade, Nft};
use nix::sched::{CloneFlags, unshare};

/// Runs a test in a network namespace that vanishes with its thread; threads and processes
/// started from it are in it too.
pub fn in_netns(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: run the tests as root");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

fn run(args: &[&str], input: &str) -> Output {
    let mut child = Command::new("nft")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool nft is missing: apt-get install nftables");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Runs `nft` and gives what it prints.
pub fn nft(args: &[&str]) -> String {
    load_with(args, "")
}

/// Loads a ruleset as `nft -f` does.
pub fn load(ruleset: &str) {
    load_with(&["-f", "-"], ruleset);
}

fn load_with(args: &[&str], input: &str) -> String {
    let output = run(args, input);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nft {args:?}: {stderr}\n{input}");
    String::from_utf8(output.stdout).unwrap()
}

/// The ruleset of the namespace, as `nft` prints it.
pub fn ruleset() -> String {
    nft(&["-s", "list", "ruleset"])
}

pub fn open() -> Nft {
    Nft::open().unwrap()
}

pub fn pod(network: &str, address: &str, subnet: &str, comment: &str) -> Masquerade {
    Masquerade {
        network: network.to_owned(),
        address: address.parse().unwrap(),
        subnet: subnet.parse().unwrap(),
        exclude: Vec::new(),
        comment: comment.to_owned(),
    }
}

pub fn port(name: &str, last: u8, comment: &str) -> Macspoof {
    Macspoof {
        port: name.to_owned(),
        mac: netlink::Mac([2, 0, 0, 0, 0, last]),
        comment: comment.to_owned(),
    }
}

pub fn remove(nft: &mut Nft, m: &Masquerade) {
    nft.del_masquerade(m.address, &m.comment).unwrap();
}

/// Asserts that each difference is the one that is expected, by a part of its text.
pub fn assert_differences(found: &[String], parts: &[&str]) {
    assert_eq!(found.len(), parts.len(), "{found:#?}");
    for (found, part) in found.iter().zip(parts) {
        assert!(found.contains(part), "{found:?} says nothing of {part:?}");
    }
}
