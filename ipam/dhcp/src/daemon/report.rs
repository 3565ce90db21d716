//! What the daemon does, for people (`dhcp status`) and for Prometheus.

use super::leases::{Counts, Leases};
use crate::config::SOCKET;
use crate::rpc::{Ask, Line, Report, SOON, Told, ask};
use daemon::http::Health;
use daemon::metrics::Text;
use daemon::query;
use daemon::table::columns;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use tokio::sync::{mpsc, oneshot};

/// Questions of Prometheus that wait at once.
const QUESTIONS: usize = 16;

/// The leases of a daemon.
pub fn of(leases: &Leases) -> Report {
    let mut lines = Vec::new();
    leases.each(|entry| {
        let record = &entry.record;
        let state = match (&record.lost, &entry.problem) {
            (Some(_), _) => "lost",
            (None, Some(_)) => "unanswered",
            (None, None) => "bound",
        };
        let validity = record.lease.validity();
        lines.push(Line {
            network: record.of.network.clone(),
            container: record.of.container_id.clone(),
            ifname: record.of.ifname.clone(),
            address: format!("{}/{}", record.lease.address, record.lease.prefix),
            server: record.lease.server.to_string(),
            state: state.to_owned(),
            left: validity.map(|all| all.saturating_sub(record.age()).as_secs()),
            problem: entry.problem.clone().or_else(|| record.lost.clone()),
        });
    });
    Report { leases: lines }
}

fn table(report: &Report) -> String {
    let head = ["NETWORK", "CONTAINER", "LINK", "ADDRESS", "SERVER", "STATE", "LEFT", "PROBLEM"];
    let row = |line: &Line| {
        let left = line.left.map_or("for ever".to_owned(), |left| format!("{left} s"));
        let problem = line.problem.clone().unwrap_or_default();
        let [network, container, ifname] = [&line.network, &line.container, &line.ifname];
        let (address, server, state) = (&line.address, &line.server, &line.state);
        [network, container, ifname, address, server, state, &left, &problem].map(String::clone)
    };
    let rows: Vec<_> =
        [head.map(str::to_owned)].into_iter().chain(report.leases.iter().map(row)).collect();
    let mut text = String::new();
    columns(&mut text, rows.iter());
    text
}

fn count(report: &Report, state: &str) -> usize {
    report.leases.iter().filter(|line| line.state == state).count()
}

/// `dhcp status [-json] [-socketpath PATH]`. Exit code 1: a lease is lost or not renewed; 2: no daemon
/// answers.
pub fn show(arguments: impl Iterator<Item = String>) -> ExitCode {
    let (mut json, mut socket) = (false, SOCKET.to_owned());
    let mut arguments = arguments.map(|argument| argument.trim_start_matches('-').to_owned());
    while let Some(argument) = arguments.next() {
        match (argument.as_str(), argument.strip_prefix("socketpath=")) {
            ("json", _) => json = true,
            ("socketpath", _) => socket = arguments.next().unwrap_or(socket),
            (_, Some(path)) => path.clone_into(&mut socket),
            _ => {
                say(&format!(
                    "dhcp: unknown argument {argument:?}; dhcp status [-json] [-socketpath PATH]"
                ));
                return ExitCode::from(2);
            }
        }
    }
    match ask(Path::new(&socket), &Ask::Report, Some(SOON)) {
        Ok(Told::Report(report)) => print(&report, json),
        Ok(_) => {
            say("dhcp: the daemon answers what was not asked: it is of another version");
            ExitCode::from(2)
        }
        Err(error) => {
            say(&format!("dhcp: {error}"));
            ExitCode::from(2)
        }
    }
}

fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn print(report: &Report, json: bool) -> ExitCode {
    let text = match json {
        true => serde_json::to_string_pretty(report).unwrap_or_default() + "\n",
        false => table(report),
    };
    // A reader that closes stdout has read enough.
    let _ = io::stdout().write_all(text.as_bytes());
    let well = report.leases.iter().all(|line| line.problem.is_none());
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What Prometheus is answered.
struct Figures {
    bound: usize,
    unanswered: usize,
    lost: usize,
    counts: Counts,
}

impl Health for Figures {
    fn metrics(&self) -> String {
        let mut text = Text::new("ferrule_dhcp");
        let states = [("bound", self.bound), ("unanswered", self.unanswered), ("lost", self.lost)];
        let states = states.map(|(state, count)| (format!("state=\"{state}\""), count));
        let help = "Leases: renewed in time, not answered at the last attempt, lost.";
        text.family("leases", "gauge", help, states);
        let Counts {
            acquired,
            not_acquired,
            renewed,
            unanswered,
            refused,
            released,
            dropped,
            lost,
        } = self.counts;
        for (name, help, value) in [
            ("acquired_total", "Leases of new pods.", acquired),
            ("not_acquired_total", "New pods without a lease.", not_acquired),
            ("renewed_total", "Renewals.", renewed),
            ("unanswered_total", "Attempts to renew that no server answered.", unanswered),
            ("refused_total", "Renewals that a server refused.", refused),
            ("released_total", "Leases given back.", released),
            ("dropped_total", "Leases whose pod went, which could not be given back.", dropped),
            ("lost_total", "Leases that ended although their pod runs.", lost),
        ] {
            text.one(name, "counter", help, value);
        }
        text.build_info(env!("CARGO_PKG_VERSION"));
        text.log_lines();
        text.finish()
    }

    fn not_ready(&self) -> Option<&str> {
        None
    }
}

/// Answers Prometheus, where the command line says so.
///
/// # Errors
/// The address is taken, or not this machine's.
pub fn listen(leases: &Rc<Leases>) -> io::Result<()> {
    let Some(address) = leases.flags.metrics else { return Ok(()) };
    let (sender, mut questions) = mpsc::channel::<oneshot::Sender<Figures>>(QUESTIONS);
    let state = Rc::clone(leases);
    tokio::task::spawn_local(async move {
        while let Some(question) = questions.recv().await {
            let _ = question.send(figures(&state));
        }
    });
    let ask = move || {
        let sender = sender.clone();
        async move { query::ask(&sender, |answer| answer).await }
    };
    let at = daemon::http::listen(address, ask).map_err(|error| {
        io::Error::other(format!("cannot answer Prometheus at {address}: {error}"))
    })?;
    tracing::info!("metrics at http://{at}/metrics");
    Ok(())
}

fn figures(leases: &Leases) -> Figures {
    let report = of(leases);
    let [bound, unanswered, lost] =
        ["bound", "unanswered", "lost"].map(|state| count(&report, state));
    Figures { bound, unanswered, lost, counts: *leases.counts.borrow() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(state: &str, problem: Option<&str>) -> Line {
        Line {
            network: "lan".into(),
            container: "c1".into(),
            ifname: "eth0".into(),
            address: "10.0.0.9/24".into(),
            server: "10.0.0.1".into(),
            state: state.into(),
            left: Some(60),
            problem: problem.map(str::to_owned),
        }
    }

    #[test]
    fn a_report_is_a_table() {
        let report = Report { leases: vec![line("bound", None), line("lost", Some("over"))] };
        let text = table(&report);
        assert_eq!(
            text,
            "NETWORK  CONTAINER  LINK  ADDRESS      SERVER    STATE  LEFT  PROBLEM\n\
             lan      c1         eth0  10.0.0.9/24  10.0.0.1  bound  60 s\n\
             lan      c1         eth0  10.0.0.9/24  10.0.0.1  lost   60 s  over\n"
        );
        assert_eq!((count(&report, "bound"), count(&report, "lost")), (1, 1));
    }

    #[test]
    fn every_figure_is_a_metric() {
        let counts = Counts { renewed: 7, ..Counts::default() };
        let text = Figures { bound: 3, unanswered: 2, lost: 1, counts }.metrics();
        for metric in [
            "ferrule_dhcp_leases{state=\"bound\"} 3",
            "ferrule_dhcp_leases{state=\"lost\"} 1",
            "ferrule_dhcp_renewed_total 7",
        ] {
            assert!(text.contains(metric), "{text}");
        }
    }
}
