//! A router that runs BIRD 2.

use ferrule_tests::background::Background;
use ferrule_tests::node::{Node, Place};
use ferrule_tests::ns::Namespace;
use ferrule_tests::within;
use std::time::Duration;

pub struct Bird {
    node: Node,
    daemon: Option<Background>,
}

impl Place for Bird {
    fn ns(&self) -> &Namespace {
        self.node.ns()
    }
}

impl Bird {
    /// A router without links; it forwards.
    pub fn new() -> Bird {
        let node = Node::new();
        node.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
             sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0");
        Bird { node, daemon: None }
    }

    /// Starts BIRD; `protocols` are its peers. It installs what it learns, with ECMP.
    pub fn start(&mut self, router_id: &str, protocols: &str) {
        self.configure(router_id, protocols);
        self.node.run("rm -f /run/bird.ctl");
        self.daemon = Some(self.node.spawn("bird -f -c /run/bird.conf -s /run/bird.ctl"));
        let up = || self.node.exists("/run/bird.ctl").then_some(());
        within(Duration::from_secs(10), up).expect("bird starts: apt-get install bird2");
    }

    /// Writes its configuration, which `configure` reads anew.
    pub fn configure(&self, router_id: &str, protocols: &str) {
        let text = format!(
            "router id {router_id};
             protocol device {{ scan time 1; }}
             protocol kernel k4 {{ ipv4 {{ export all; }}; merge paths on; }}
             protocol kernel k6 {{ ipv6 {{ export all; }}; merge paths on; }}
             {protocols}\n"
        );
        self.node.write("/run/bird.conf", &text);
        self.node.run("bird -p -c /run/bird.conf");
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        self.daemon = None;
    }

    /// What birdc answers.
    pub fn ask(&self, question: &str) -> String {
        self.node.try_run(&format!("birdc -s /run/bird.ctl {question}")).stdout
    }
}
