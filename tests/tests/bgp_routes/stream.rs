//! Echo requests in a quick row, to see how many get lost.

use ferrule_tests::node::Place;
use ferrule_tests::within;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// An echo request in 20 ms, until it is stopped.
pub struct Stream {
    ping: Child,
    /// The numbers of those that were answered.
    answers: Receiver<u64>,
}

impl Stream {
    pub fn start(from: &impl Place, source: &str, to: &str) -> Stream {
        let mut command = Command::new("ping");
        command.args(["-n", "-i", "0.02", "-I", source, to]);
        let child = from.ns().enter(|| command.stdout(Stdio::piped()).spawn());
        let mut ping = child.expect("ping: apt-get install iputils-ping");
        let (numbers, answers) = channel();
        let lines = BufReader::new(ping.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            for number in lines.map_while(Result::ok).filter_map(|line| answered(&line)) {
                if numbers.send(number).is_err() {
                    return;
                }
            }
        });
        Stream { ping, answers }
    }

    /// Stops it. How many were not answered, of those before the last answer: one comes even now.
    #[track_caller]
    pub fn lost(self) -> u64 {
        let mut answered: BTreeSet<u64> = self.answers.try_iter().collect();
        let last = answered.last().copied();
        let more = within(Duration::from_secs(20), || {
            answered.extend(self.answers.try_iter());
            (answered.last().copied() > last).then_some(())
        });
        assert!(more.is_some(), "no answer comes any more after request {last:?}");
        kill(Pid::from_raw(self.ping.id().cast_signed()), Signal::SIGINT).unwrap();
        // The end of the answers is the end of ping.
        answered.extend(&self.answers);
        answered.last().map_or(0, |last| last - answered.len() as u64)
    }
}

/// The number of the request whose answer a line reports; an error's line has a number too.
fn answered(line: &str) -> Option<u64> {
    let (_, rest) = line.split_once(" bytes from ")?.1.split_once("icmp_seq=")?;
    rest.split_whitespace().next()?.parse().ok()
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.ping.kill();
        let _ = self.ping.wait();
    }
}
