//! The executable as it is called, and its unit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

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
    for word in ["check-config", "status", "cleanup", "uninstall", "--config", "--log-level"] {
        assert!(help.contains(word), "{word} is not in {help}");
    }
    assert_eq!(run(&["--vni", "1"]).status.code(), Some(2));
}

#[test]
fn check_config_prints_every_error() {
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

/// A daemon in a network namespace of its own.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What is accepted of a node set depends on them, although the set is the same.
#[test]
fn another_name_and_other_service_ranges_are_in_force_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (config, nodes) = (at("route-sync.toml"), at("nodes.toml"));
    let node = |name: &str, n: u8| {
        format!(
            "[[node]]\nname = \"{name}\"\naddresses = [\"192.0.2.{n}\"]\npod-cidrs = [\"10.1.{n}.0/24\"]\n"
        )
    };
    fs::write(&nodes, node("one", 1) + &node("two", 2)).unwrap();
    let configure = |keys: &str| {
        let (run, state) = (at("run"), at("state"));
        let text = format!(
            "{keys}\nrun-dir = \"{run}\"\nstate-dir = \"{state}\"\n[source]\ntype = \"file\"\npath = \"{nodes}\"\n"
        );
        fs::write(at("new"), text).unwrap();
        fs::rename(at("new"), &config).unwrap();
    };
    configure("node-name = \"one\"");
    let daemon = Command::new("unshare").args(["-n", ROUTE_SYNC, "--config", &config]).spawn();
    let _daemon = Daemon(daemon.unwrap_or_else(|e| panic!("unshare: {e}: apt install util-linux")));
    let until = |wanted: &str| {
        let begin = Instant::now();
        loop {
            let status = text(&run(&["status", "--config", &config]).stdout);
            if status.lines().any(|line| wanted.split(' ').all(|word| line.contains(word))) {
                return;
            }
            assert!(begin.elapsed() < Duration::from_secs(30), "no {wanted:?} in\n{status}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    until("10.1.1.0/24 local");
    configure("node-name = \"one\"\nservice-cidrs = [\"10.1.1.0/28\"]");
    until("10.1.1.0/24 refused");
    configure("node-name = \"two\"");
    until("10.1.2.0/24 local");
}

/// At first there are no passes that nothing asks for.
#[test]
fn another_resync_interval_is_in_force_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(
        at("nodes.toml"),
        "[[node]]\nname = \"one\"\naddresses = [\"192.0.2.1\"]\npod-cidrs = [\"10.1.1.0/24\"]\n",
    )
    .unwrap();
    let configure = |interval: u8| {
        let text = format!(
            "node-name = \"one\"\nresync-interval = {interval}\nrun-dir = \"{}\"\nstate-dir = \"{}\"\n\
             [source]\ntype = \"file\"\npath = \"{}\"\n",
            at("run"),
            at("state"),
            at("nodes.toml")
        );
        fs::write(at("new"), text).unwrap();
        fs::rename(at("new"), at("route-sync.toml")).unwrap();
    };
    configure(0);
    let daemon = Command::new("unshare")
        .args(["-n", ROUTE_SYNC, "--log-level", "debug", "--config", &at("route-sync.toml")])
        .stderr(fs::File::create(at("log")).unwrap())
        .spawn();
    let _daemon = Daemon(daemon.unwrap_or_else(|e| panic!("unshare: {e}: apt install util-linux")));
    let until = |wanted: &str| {
        let begin = Instant::now();
        while !fs::read_to_string(at("log")).unwrap().contains(wanted) {
            assert!(begin.elapsed() < Duration::from_secs(30), "no {wanted:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    until("the node set changed");
    configure(1);
    until("the interval is over");
}
