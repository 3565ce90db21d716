//! What must not delay a daemon: slow clients, a log that is not read, files that never end.

use crate::cluster::{Cluster, LOG, Member, node_list};
use ferrule_tests::background::Background;
use ferrule_tests::node::{Place, words};
use ferrule_tests::within;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

/// The answer of the daemon on its node's port 9478; None: none came.
fn healthz(member: &Member) -> Option<String> {
    member.node.ns().enter(|| {
        let mut stream = TcpStream::connect("127.0.0.1:9478").ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    })
}

fn metric(member: &Member, name: &str) -> u64 {
    let text = member.node.ns().enter(|| {
        let mut stream = TcpStream::connect("127.0.0.1:9478").unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("{name} is not in {text}")).parse().unwrap()
}

const METRICS: &str = "[metrics]\nlisten = \"127.0.0.1:9478\"";

/// Half of them say a part of what they want.
#[test]
fn idle_clients_keep_no_other_client_out() {
    let cluster = Cluster::with(METRICS, &["one"]);
    let one = &cluster.members[0];
    let tcp: Vec<_> = one.node.ns().enter(|| {
        let connect = |at: usize| {
            let mut stream = TcpStream::connect("127.0.0.1:9478").unwrap();
            if at.is_multiple_of(2) {
                // Who was closed meanwhile cannot write.
                let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\n");
            }
            stream
        };
        (0..300).map(connect).collect()
    });
    let unix: Vec<_> = one.node.ns().enter(|| {
        let connect = |_| UnixStream::connect("/run/ferrule/route-sync.sock").unwrap();
        (0..300).map(connect).collect()
    });
    for _ in 0..3 {
        let begin = Instant::now();
        let answer = healthz(one).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        println!("/healthz beside 600 idle clients: {:?}", begin.elapsed());
        assert!(one.status().is_some(), "no status");
    }
    // They are closed one and all, whether or not others come.
    for mut stream in tcp {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match stream.read(&mut [0; 64]) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("{other:?}"),
        }
    }
    drop(unix);
}

/// A pipe that is full, then a reader that is back, and a stop while it is full again.
#[test]
fn a_log_that_is_not_read_delays_nothing() {
    let mut cluster = Cluster::with(METRICS, &["one"]);
    let mut one = cluster.members.remove(0);
    one.kill();
    one.node.sh("mkfifo /run/log");
    let pipe = one
        .node
        .ns()
        .enter(|| std::fs::File::options().read(true).write(true).open("/run/log").unwrap());
    // The default capacity of a pipe (pipe(7)).
    (&pipe).write_all(&[b'x'; 65536]).unwrap();
    let mut shell = words("sh -c");
    shell.arg(format!("exec {} 2>/run/log", one.command("").trim_end()));
    let mut daemon = Background::start(one.node.ns(), &shell);
    one.in_sync();
    one.write_nodes(&node_list(&["one", "two"]));
    one.status_when(|status| status["cidrs"].to_string().contains("10.244.2.0/24"));
    assert!(metric(&one, "ferrule_route_sync_log_lines_dropped_total") > 0);
    // The log is read again, and says how many lines were dropped.
    (&pipe).read_exact(&mut [0; 65536]).unwrap();
    one.write_nodes(&node_list(&["one"]));
    let mut text = Vec::new();
    let mut part = [0; 4096];
    while !String::from_utf8_lossy(&text).contains("lines of this log were dropped") {
        let length = (&pipe).read(&mut part).unwrap();
        text.extend_from_slice(&part[..length]);
    }
    one.in_sync();
    fill_up(&pipe);
    one.node.run(&format!("kill {}", daemon.pid()));
    let ended = || (!daemon.running()).then_some(());
    within(PATIENCE, ended).expect("SIGTERM ends it");
}

/// Fills a pipe to its last byte.
fn fill_up(pipe: &std::fs::File) {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let mut pipe = pipe;
    while pipe.write(b"x").is_ok() {}
}

/// Whatever a file of the daemon's is, it works on, and says so where the file is to be read.
#[test]
fn a_fifo_in_the_place_of_a_file_holds_nothing_up() {
    let mut cluster = Cluster::with("", &["one", "two"]);
    let one = &mut cluster.members[0];
    one.node.sh("rm /run/nodes.toml; mkfifo /run/nodes.toml");
    let status = one.status_when(|status| !status["source"]["error"].is_null());
    let error = status["source"]["error"].as_str().unwrap();
    assert!(error.contains("is no regular file"), "{error}");
    one.kill();
    one.node.sh("for f in /run/ferrule/node.json /run/ferrule/.node.json.new \
             /var/lib/ferrule/.nodes.json.new; do rm -f $f; mkfifo $f; done");
    one.start();
    one.status_when(|status| status["source"]["kept"] == true);
    one.write_nodes(&node_list(&["one", "two"]));
    one.status_when(|status| status["source"]["kept"] == false);
    one.in_sync();
    let node = one.node.read("/run/ferrule/node.json");
    assert!(node.contains("\"synced\": true"), "{node}");
    one.kill();
    one.node.sh(
        "cp /run/route-sync.toml /run/saved; rm /run/route-sync.toml; mkfifo /run/route-sync.toml",
    );
    let refused = one.node.try_run(&one.command(""));
    assert!(refused.stderr.contains("is no regular file"), "{}", refused.stderr);
}

/// A list of 10 MB: questions are answered while it is read.
#[test]
fn a_long_node_list_is_read_beside_the_answers() {
    let cluster = Cluster::with(METRICS, &["one"]);
    let one = &cluster.members[0];
    let mut list = node_list(&["one"]);
    for at in 0..60_000_u32 {
        let (high, low) = (at >> 8, at & 0xff);
        // No CIDRs: what is measured is the reading, not the kernel.
        write!(
            list,
            "[[node]]\nname = \"worker-{at}\"\naddresses = [\"100.64.{high}.{low}\", \
             \"2001:db8:1:2:3:4:{high:x}:{low:x}\"]\npod-cidrs = []\n# {:>60}\n",
            "a comment"
        )
        .unwrap();
    }
    let before = metric(one, "ferrule_route_sync_source_sets_total");
    one.write_nodes(&list);
    let answered = || {
        let answer = healthz(one).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        (metric(one, "ferrule_route_sync_source_sets_total") > before).then_some(())
    };
    within(PATIENCE * 6, answered).expect("the set is in");
}

/// As where a limit of processes is reached: what is else done on a thread is done without.
#[test]
fn a_daemon_that_gets_no_thread_works_on() {
    let mut cluster = Cluster::with(METRICS, &["one", "two"]);
    let one = &mut cluster.members[0];
    one.kill();
    one.node.write(LOG, "");
    // With -D strace is a child of the daemon, which is then what Member knows.
    let mut command = words("strace -D -f -qq -o /run/strace -e trace=clone,clone3");
    command.args(["-e", "inject=clone,clone3:error=EAGAIN"]);
    command.args(one.command("").split_whitespace());
    one.daemon = Some(Background::start_in(one.node.ns(), None, &command, LOG));
    one.in_sync();
    one.write_nodes(&node_list(&["one"]));
    one.status_when(|status| status["source"]["nodes"] == 1);
    one.write_nodes(&node_list(&["one", "two"]));
    one.status_when(|status| status["source"]["nodes"] == 2);
    one.in_sync();
    one.node.run(&format!("kill -HUP {}", one.pid()));
    let answer = healthz(one).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let ended = {
        one.node.run(&format!("kill {}", one.pid()));
        let daemon = one.daemon.as_mut().unwrap();
        within(PATIENCE, || (!daemon.running()).then_some(()))
    };
    ended.expect("SIGTERM ends it");
    let failed = one.node.read("/run/strace");
    assert!(failed.contains("(INJECTED)"), "no thread was asked for: {failed}");
    assert!(!one.log().contains("panicked"), "{}", one.log());
}
