//! sd_notify(3): what the daemon tells its service manager, if there is one. All of it is
//! silent where it fails, as the manager's absence is no fault.

use crate::control::ask;
use crate::query::Query;
use nix::time::{ClockId, clock_gettime};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;
use tokio::sync::mpsc;

/// The daemon runs, or runs again after a reload.
pub fn ready() {
    notify("READY=1");
}

/// What `systemctl status` shows.
pub fn status(text: &str) {
    notify(&format!("STATUS={}", text.replace('\n', " ")));
}

/// The configuration is being read anew; [`ready`] tells that it was.
pub fn reloading() {
    if let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) {
        let usec = Duration::from(now).as_micros();
        notify(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
    }
}

/// The daemon stops.
pub fn stopping() {
    notify("STOPPING=1");
}

/// Where the unit has `WatchdogSec=`, tells from now on that the daemon's loop turns: as long as
/// it answers. systemd restarts a daemon that does not.
pub fn watchdog(queries: mpsc::Sender<Query>) {
    let of = |name| std::env::var(name).ok();
    let Some(interval) = interval(of("WATCHDOG_USEC"), of("WATCHDOG_PID")) else { return };
    tokio::spawn(async move {
        while ask(&queries, Query::Figures).await.is_some() {
            notify("WATCHDOG=1");
            tokio::time::sleep(interval).await;
        }
    });
}

/// Half of what systemd allows, as sd_watchdog_enabled(3) recommends.
fn interval(usec: Option<String>, pid: Option<String>) -> Option<Duration> {
    if pid.is_some_and(|pid| pid != std::process::id().to_string()) {
        return None;
    }
    let usec = usec?.parse().ok().filter(|usec| *usec > 1)?;
    Some(Duration::from_micros(usec) / 2)
}

fn notify(state: &str) {
    if let Some(socket) = std::env::var_os("NOTIFY_SOCKET")
        && let Err(error) = send(&socket, state)
    {
        tracing::debug!("cannot tell systemd: {error}");
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsString::from(OsStr::from_bytes(path)))?,
    };
    let datagram = UnixDatagram::unbound()?;
    // A manager that does not read must not hold up the loop.
    datagram.set_nonblocking(true)?;
    datagram.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(at: &UnixDatagram) -> String {
        let mut text = [0; 100];
        let length = at.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    }

    #[test]
    fn both_kinds_of_sockets_hear() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), "READY=1").unwrap();
        assert_eq!(heard(&manager), "READY=1");
        let name = format!("ferrule-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        send(format!("@{name}").as_ref(), "STOPPING=1").unwrap();
        assert_eq!(heard(&manager), "STOPPING=1");
        assert!(send("".as_ref(), "READY=1").is_err());
    }

    #[test]
    fn the_watchdog_is_for_its_own_process() {
        let of = |usec: &str, pid: Option<String>| interval(Some(usec.to_owned()), pid);
        let own = std::process::id();
        assert_eq!(of("30000000", None), Some(Duration::from_secs(15)));
        assert_eq!(of("30000000", Some(own.to_string())), Some(Duration::from_secs(15)));
        assert_eq!(of("30000000", Some((own + 1).to_string())), None);
        assert_eq!((of("0", None), of("x", None), interval(None, None)), (None, None, None));
    }
}
