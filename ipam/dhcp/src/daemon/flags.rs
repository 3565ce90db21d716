//! The daemon's command line, with the reference's flags: one dash or two, the value behind `=` or as
//! the next argument, times as `10s`, `1m30s`, `500ms`.

use crate::config::{SOCKET, STATE};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What the daemon was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flags {
    /// `-pidfile`.
    pub pidfile: Option<PathBuf>,
    /// `-hostprefix`: what stands before the paths of the socket and of network namespaces.
    pub prefix: String,
    /// `-socketpath`.
    pub socket: PathBuf,
    /// `-broadcast`: servers are asked to answer by broadcast.
    pub broadcast: bool,
    /// `-timeout`: how long the answer to a request is waited for.
    pub timeout: Duration,
    /// `-resendmax`: the longest delay before a message is sent again.
    pub resend_max: Duration,
    /// `-resendtimeout`: how long ADD looks for a server.
    pub resend_timeout: Duration,
    /// `-statepath`: where leases are kept.
    pub state: PathBuf,
    /// `-metrics`: where Prometheus is answered.
    pub metrics: Option<SocketAddr>,
}

impl Default for Flags {
    fn default() -> Flags {
        Flags {
            pidfile: None,
            prefix: String::new(),
            socket: SOCKET.into(),
            broadcast: false,
            timeout: Duration::from_secs(10),
            resend_max: Duration::from_secs(62),
            resend_timeout: Duration::from_secs(208),
            state: STATE.into(),
            metrics: None,
        }
    }
}

/// What `dhcp daemon -help` prints.
pub const HELP: &str = "dhcp daemon: leases addresses for the CNI plugin dhcp, and renews them
  -broadcast          ask servers to answer by broadcast
  -hostprefix PATH    what stands before the paths of the socket and of network namespaces
  -metrics ADDRESS    answer Prometheus at http://ADDRESS/metrics, as 127.0.0.1:9467
  -pidfile PATH       write the process ID there
  -resendmax TIME     longest delay before a message is sent again (1m2s)
  -resendtimeout TIME how long ADD looks for a server (3m28s)
  -socketpath PATH    where the plugin finds the daemon (/run/cni/dhcp.sock)
  -statepath PATH     where leases are kept (/var/lib/ferrule/dhcp)
  -timeout TIME       how long the answer to a request is waited for (10s)
`dhcp status` shows the leases, `dhcp status -json` as JSON.
";

/// Why there are no flags.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Help was asked for.
    Help,
    /// What is wrong.
    Wrong(String),
}

impl Flags {
    /// Reads the arguments behind `daemon`.
    ///
    /// # Errors
    /// The argument, and what to write.
    pub fn read(arguments: impl Iterator<Item = String>) -> Result<Flags, Refusal> {
        let mut flags = Flags::default();
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let name = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'));
            let Some(name) = name.filter(|name| !name.is_empty()) else {
                return Err(wrong(format!("{argument:?} is no flag; see dhcp daemon -help")));
            };
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            match name {
                "h" | "help" => return Err(Refusal::Help),
                "broadcast" => flags.broadcast = boolean(value.as_deref())?,
                name => {
                    let value = value
                        .or_else(|| arguments.next())
                        .ok_or_else(|| wrong(format!("flag needs an argument: -{name}")))?;
                    flags.set(name, value)?;
                }
            }
        }
        Ok(flags)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), Refusal> {
        match name {
            "pidfile" => self.pidfile = pidfile(&value)?,
            "hostprefix" => self.prefix = value,
            "socketpath" if !value.is_empty() => self.socket = value.into(),
            "statepath" if !value.is_empty() => self.state = value.into(),
            "socketpath" | "statepath" => {}
            "timeout" => self.timeout = time(name, &value)?,
            "resendmax" => self.resend_max = time(name, &value)?,
            "resendtimeout" => self.resend_timeout = time(name, &value)?,
            "metrics" => {
                let address = value.parse().map_err(|_| {
                    wrong(format!(
                        "-metrics {value:?} is no address with a port, as 127.0.0.1:9467"
                    ))
                })?;
                self.metrics = Some(address);
            }
            _ => {
                let known = "flag provided but not defined";
                return Err(wrong(format!("{known}: -{name}; see dhcp daemon -help")));
            }
        }
        Ok(())
    }

    /// A path of the host.
    pub fn on_host(&self, path: &str) -> PathBuf {
        format!("{}{path}", self.prefix).into()
    }

    /// The socket's path.
    pub fn socket(&self) -> PathBuf {
        self.on_host(&self.socket.to_string_lossy())
    }
}

fn wrong(text: String) -> Refusal {
    Refusal::Wrong(text)
}

fn pidfile(value: &str) -> Result<Option<PathBuf>, Refusal> {
    match value {
        "" => Ok(None),
        path if path.starts_with('/') => Ok(Some(path.into())),
        path => Err(wrong(format!("Error writing pidfile {path:?}: path not absolute"))),
    }
}

fn boolean(value: Option<&str>) -> Result<bool, Refusal> {
    match value {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(wrong(format!("-broadcast={other:?} is neither true nor false"))),
    }
}

/// Go's notation: numbers with units, added up.
fn time(name: &str, value: &str) -> Result<Duration, Refusal> {
    let refused = || wrong(format!("-{name} {value:?} is no time: write 10s, 1m30s or 500ms"));
    let mut rest = value;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(refused)?;
        let (number, tail) = rest.split_at(digits);
        let units = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(units);
        let factor = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            "us" | "µs" => 0.000_001,
            _ => return Err(refused()),
        };
        seconds += number.parse::<f64>().map_err(|_| refused())? * factor;
        rest = tail;
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero()).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Flags, Refusal> {
        Flags::read(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_reference_s_flags_are_read_as_go_reads_them() {
        assert_eq!(read(""), Ok(Flags::default()));
        let flags = read(
            "-pidfile /run/x.pid --hostprefix=/host -socketpath /run/y.sock -broadcast -timeout 500ms \
             -resendmax=1m30s -resendtimeout 1.5h -statepath /run/z -metrics 127.0.0.1:9",
        )
        .unwrap();
        assert_eq!(flags.pidfile, Some("/run/x.pid".into()));
        assert_eq!(flags.socket(), PathBuf::from("/host/run/y.sock"));
        assert!(flags.broadcast);
        let times = [flags.timeout, flags.resend_max, flags.resend_timeout];
        assert_eq!(times.map(|time| time.as_millis()), [500, 90_000, 5_400_000]);
        assert_eq!(flags.state, PathBuf::from("/run/z"));
        assert_eq!(flags.metrics.unwrap().port(), 9);
        assert_eq!(read("-broadcast=false -socketpath="), Ok(Flags::default()));
        assert_eq!(read("-help"), Err(Refusal::Help));
    }

    #[test]
    fn wrong_flags_are_named_with_the_remedy() {
        for (line, text) in [
            ("-nonsense x", "flag provided but not defined: -nonsense"),
            ("-timeout", "flag needs an argument: -timeout"),
            ("-timeout 10", "-timeout \"10\" is no time: write 10s"),
            ("-timeout 0s", "is no time"),
            ("-timeout 1x", "is no time"),
            ("-pidfile run/x", "Error writing pidfile \"run/x\": path not absolute"),
            ("-broadcast=maybe", "neither true nor false"),
            ("-metrics 9", "no address with a port"),
            ("daemon", "\"daemon\" is no flag"),
        ] {
            match read(line) {
                Err(Refusal::Wrong(said)) => assert!(said.contains(text), "{said}"),
                other => panic!("{line}: {other:?}"),
            }
        }
    }
}
