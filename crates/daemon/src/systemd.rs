//! sd_notify(3): what the daemon reports to its service manager, if there is one. A report that
//! cannot be sent is ignored, because a daemon may run without a manager.

use nix::time::{ClockId, clock_gettime};
use std::ffi::{OsStr, OsString};
use std::future::Future;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The daemon runs, or runs again after a reload.
pub fn ready() {
    notify("READY=1");
}

/// What `systemctl status` shows.
pub fn status(text: &str) {
    notify(&format!("STATUS={}", text.replace('\n', " ")));
}

/// The configuration is being read anew; [`ready`] reports the end.
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

/// Where the unit has `WatchdogSec=`, reports from now on that the daemon's loop runs, each time
/// that `is_alive`, which asks the loop, returns true. It ends with false: systemd restarts a daemon
/// that reports nothing.
pub fn watchdog<A>(is_alive: impl Fn() -> A + Send + 'static)
where
    A: Future<Output = bool> + Send,
{
    let variable = |name| std::env::var(name).ok();
    let Some(interval) = interval(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID")) else {
        return;
    };
    tokio::spawn(async move {
        while is_alive().await {
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
        tracing::debug!("cannot notify systemd: {error}");
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsString::from(OsStr::from_bytes(path)))?,
    };
    let datagram = UnixDatagram::unbound()?;
    // The loop must not wait for a manager that does not read.
    datagram.set_nonblocking(true)?;
    datagram.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(at: &UnixDatagram) -> String {
        let mut text = [0; 100];
        let length = at.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    }

    #[test]
    fn both_kinds_of_sockets_receive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), "READY=1").unwrap();
        assert_eq!(received(&manager), "READY=1");
        let name = format!("ferrule-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        send(format!("@{name}").as_ref(), "STOPPING=1").unwrap();
        assert_eq!(received(&manager), "STOPPING=1");
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
