//! Echo requests in a quick row, to see how many get lost.

use ferrule_tests::node::Place;
use std::io::Read;
use std::process::{Child, Command, Stdio};

/// 200 echo requests, one in 20 ms.
pub struct Stream(Child);

impl Stream {
    pub fn start(from: &impl Place, source: &str, to: &str) -> Stream {
        let mut command = Command::new("ping");
        command.args(["-n", "-q", "-i", "0.02", "-c", "200", "-W", "1", "-I", source, to]);
        let child = from.ns().enter(|| command.stdout(Stdio::piped()).spawn());
        Stream(child.expect("ping: apt-get install iputils-ping"))
    }

    /// How many were not answered.
    #[track_caller]
    pub fn lost(mut self) -> u64 {
        let mut text = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        self.0.wait().unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        let before = |word: &str| {
            let at = words.iter().position(|found| *found == word).expect("ping's summary");
            words[at - 1].parse::<u64>().or_else(|_| words[at - 2].parse()).unwrap()
        };
        before("packets") - before("received,")
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
