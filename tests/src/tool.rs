//! Programs that the suites call: run with a time limit, all output kept, and a missing one is
//! named with its Debian package.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Nothing that the suites call may take longer.
const LIMIT: Duration = Duration::from_secs(60);

/// What a finished program left.
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs a command to its end with `stdin` as input; panics when it does not start or end.
pub fn finish(command: &mut Command, stdin: &[u8]) -> Finished {
    finish_within(command, stdin, LIMIT)
}

/// As [`finish`], with another time limit.
pub fn finish_within(command: &mut Command, stdin: &[u8], limit: Duration) -> Finished {
    let (name, limit) = (describe(command), crate::patience(limit));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        command.spawn().unwrap_or_else(|error| panic!("{}", not_started(command, &error)));
    let (done, all_read) = mpsc::channel();
    let out = reader(child.stdout.take(), done.clone());
    let err = reader(child.stderr.take(), done);
    let mut input = child.stdin.take();
    let written = thread::scope(|scope| {
        // A program may end without reading its input: that is its own affair.
        let writer = scope.spawn(move || input.take().map(|mut pipe| pipe.write_all(stdin)));
        let both = all_read.recv_timeout(limit).and_then(|()| all_read.recv_timeout(limit));
        if both.is_err() {
            let _ = child.kill();
        }
        let _ = writer.join();
        both
    });
    let status = child.wait().expect("wait for a child");
    assert!(written.is_ok(), "`{name}` did not end within {limit:?}");
    let stdout = out.join().expect("read stdout");
    let stderr = err.join().expect("read stderr");
    Finished { status, stdout, stderr }
}

/// Runs a command that must succeed and gives its output.
pub fn succeed(command: &mut Command) -> String {
    succeed_within(command, LIMIT)
}

/// As [`succeed`], with another time limit.
pub fn succeed_within(command: &mut Command, limit: Duration) -> String {
    let done = finish_within(command, b"", limit);
    assert!(
        done.status.success(),
        "`{}` failed ({})\nstdout: {}\nstderr: {}",
        describe(command),
        done.status,
        done.stdout,
        done.stderr
    );
    done.stdout
}

fn reader(
    pipe: Option<impl Read + Send + 'static>,
    done: mpsc::Sender<()>,
) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
        let _ = done.send(());
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn describe(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|arg| arg.to_string_lossy().into_owned()));
    words.join(" ")
}

fn not_started(command: &Command, error: &std::io::Error) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    let name = Path::new(&program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    match package(&name) {
        Some(package) if error.kind() == std::io::ErrorKind::NotFound => {
            format!("{program} is missing: apt-get install {package}")
        }
        _ => format!("cannot run {program}: {error}"),
    }
}

/// The Debian package that brings a program.
pub fn package(program: &str) -> Option<&'static str> {
    Some(match program {
        "ip" | "bridge" | "nstat" => "iproute2",
        "nft" => "nftables",
        "iptables" | "iptables-save" | "ip6tables-save" => "iptables",
        "ping" => "iputils-ping",
        "setpriv" | "unshare" | "nsenter" => "util-linux",
        "sysctl" => "procps",
        "containerd" | "ctr" => "containerd",
        "runc" => "runc",
        "podman" => "podman",
        "busybox" => "busybox-static",
        "git" => "git",
        "bird" | "birdc" => "bird2",
        "bgpd" | "zebra" | "vtysh" => "frr",
        _ => return None,
    })
}
