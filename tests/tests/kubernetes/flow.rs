//! Packets from one pod to another while something is done to the cluster.

use ferrule_tests::kubernetes::{Pod, Scope};
use ferrule_tests::within;
use std::time::Duration;

/// Pings from a pod to each address in turn, until they are counted.
pub struct Flow<'a> {
    scope: &'a Scope<'a>,
    from: Pod,
}

impl<'a> Flow<'a> {
    /// Starts it; the first answers have come when this returns.
    pub fn start(scope: &'a Scope<'a>, from: &Pod, to: &[String]) -> Self {
        // The loop outlives the exec that started it, for it holds none of its files.
        let script = format!(
            "rm -f /tmp/stop
             (while [ ! -e /tmp/stop ]; do
                  for to in {}; do
                      if ping -c1 -W5 $to >/dev/null; then echo answer; else echo lost $to; fi
                  done
              done; echo end) >/tmp/flow 2>&1 </dev/null &",
            to.join(" ")
        );
        scope.exec(from, &script);
        let flow = Self { scope, from: from.clone() };
        flow.goes_on();
        flow
    }

    /// Waits until more answers have come.
    pub fn goes_on(&self) {
        let answers = || {
            let count = self.scope.exec(&self.from, "grep -c answer /tmp/flow || true");
            count.trim().parse::<u32>().unwrap()
        };
        let (before, limit) = (answers(), Duration::from_secs(60));
        within(limit, || (answers() > before + 10).then_some(())).expect("pings are answered");
    }

    /// Ends it: no ping was without an answer.
    #[track_caller]
    pub fn lost_nothing(self) {
        self.goes_on();
        let text = self.scope.exec(
            &self.from,
            "touch /tmp/stop; while ! grep -q end /tmp/flow; do sleep 0.1; done; cat /tmp/flow",
        );
        let lost: Vec<_> = text.lines().filter(|line| line.starts_with("lost")).collect();
        assert!(lost.is_empty(), "of {} pings: {lost:?}", text.lines().count());
    }
}
