//! The executable as it is called, and its unit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const ROUTE_SYNC: &str = env!("CARGO_BIN_EXE_route-sync");

fn run(args: &[&str]) -> Output {
    Command::new(ROUTE_SYNC).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn conf(file: &str) -> String {
    format!("{}/../conf/{file}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn version_and_help() {
    let version = run(&["--version"]);
    assert!(version.status.success());
    assert!(text(&version.stdout).starts_with("Ferrule route-sync v0.1.0"));
    let help = text(&run(&["--help"]).stdout);
    for word in ["check-config", "status", "cleanup", "--config", "--log-level"] {
        assert!(help.contains(word), "{word} is not in {help}");
    }
    assert_eq!(run(&["--vni", "1"]).status.code(), Some(2));
}

#[test]
fn check_config_tells_every_error() {
    let good = run(&["check-config", &conf("route-sync.toml")]);
    assert!(good.status.success(), "{}", text(&good.stderr));
    let line = text(&good.stdout);
    assert!(line.contains("mode auto, source file /etc/ferrule/nodes.toml"), "{line}");
    assert_eq!(line.lines().count(), 1);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.toml");
    fs::write(&file, "mode = \"x\"\ntypo = 1\n").unwrap();
    let bad = run(&["check-config", file.to_str().unwrap()]);
    assert_eq!(bad.status.code(), Some(1));
    let errors = text(&bad.stderr);
    for part in ["bad.toml: line 1: mode is \"x\"", "bad.toml: line 2: typo", "[source] is missing"]
    {
        assert!(errors.contains(part), "{part} is not in {errors}");
    }
    assert_eq!(errors.lines().count(), 3);
}

#[test]
fn a_closed_stdout_is_no_error() {
    let mut check = Command::new(ROUTE_SYNC);
    check.args(["check-config", &conf("route-sync.toml")]).stdout(Stdio::piped());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let done = check.stdout(writer).output().unwrap();
    assert!(done.status.success() && done.stderr.is_empty(), "{}", text(&done.stderr));
}

#[test]
fn status_without_a_daemon_is_2() {
    let dir = tempfile::tempdir().unwrap();
    let (config, run_dir) = (dir.path().join("route-sync.toml"), dir.path().join("run"));
    let source = "[source]\ntype = \"file\"\npath = \"/nonexistent\"\n";
    fs::write(&config, format!("run-dir = \"{}\"\n{source}", run_dir.display())).unwrap();
    for json in [&["--json"][..], &[]] {
        let args = [&["status", "--config", config.to_str().unwrap()], json].concat();
        let status = run(&args);
        assert_eq!(status.status.code(), Some(2));
        assert!(text(&status.stderr).contains("no route-sync runs"), "{}", text(&status.stderr));
        assert!(text(&status.stderr).contains(run_dir.to_str().unwrap()));
    }
    assert!(!Path::new(&run_dir).exists());
}

/// systemd's own check of the unit, with the executable that was built.
#[test]
fn systemd_takes_the_unit() {
    let unit = fs::read_to_string(conf("route-sync.service")).unwrap();
    assert!(unit.contains("ExecStart=/usr/local/sbin/route-sync "));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("route-sync.service");
    fs::write(&file, unit.replace("/usr/local/sbin/route-sync", ROUTE_SYNC)).unwrap();
    let mut verify = Command::new("systemd-analyze");
    let verify = verify.args(["verify", "--man=no", "--recursive-errors=no"]).arg(&file).output();
    let verify = verify.expect("systemd-analyze is missing: apt install systemd");
    assert!(verify.status.success(), "{}", text(&verify.stderr));
    let about = text(&verify.stderr);
    assert!(!about.contains("route-sync.service"), "{about}");
}
