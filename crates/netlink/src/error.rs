//! Errors of the kernel, with what was attempted.

use nix::errno::Errno;
use std::io;

/// A result with [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// The kernel refused, or could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {}", self.cause())]
pub struct Error {
    /// What was attempted, in words: `add address 10.0.0.1/24 to cni0`.
    pub what: String,
    /// The errno, positive.
    pub errno: i32,
    /// The kernel's extended-ack text; mostly empty.
    pub reason: String,
}

/// An errno in words. musl has none for what POSIX does not name, EXFULL and EUCLEAN among them.
fn words(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    match text.strip_prefix("No error information") {
        Some(number) => format!("{}{number}", Errno::from_raw(errno).desc()),
        None => text,
    }
}

impl Error {
    /// An error of an operation on files or sockets.
    pub fn io(what: impl Into<String>, cause: &io::Error) -> Error {
        let errno = cause.raw_os_error();
        let reason = if errno.is_some() { String::new() } else { cause.to_string() };
        Error { what: what.into(), errno: errno.unwrap_or(libc::EIO), reason }
    }

    /// An error of our own judgement, with an errno that fits and its reason.
    pub fn of(what: impl Into<String>, errno: i32, reason: impl Into<String>) -> Error {
        Error { what: what.into(), errno, reason: reason.into() }
    }

    /// The kernel's words for it, without what was attempted.
    pub fn cause(&self) -> String {
        let mut cause = words(self.errno);
        if !self.reason.is_empty() {
            cause = format!("{cause}: {}", self.reason);
        }
        if self.errno == libc::EPERM {
            cause.push_str("; it needs the capabilities CAP_NET_ADMIN and CAP_SYS_ADMIN");
        }
        cause
    }

    /// It took too long.
    pub fn is_timeout(&self) -> bool {
        self.errno == libc::ETIMEDOUT
    }

    /// There is no room for more: a bridge has as many ports as it can have (BR_MAX_PORTS).
    pub fn is_full(&self) -> bool {
        self.errno == libc::EXFULL
    }

    /// It is there already.
    pub fn is_exists(&self) -> bool {
        self.errno == libc::EEXIST
    }

    /// It, or the device it belongs to, is not there (any more).
    pub fn is_gone(&self) -> bool {
        matches!(
            self.errno,
            libc::ENOENT | libc::ENODEV | libc::ESRCH | libc::EADDRNOTAVAIL | libc::ENXIO
        )
    }

    /// No route leads there, or one that says so.
    pub fn is_unreachable(&self) -> bool {
        matches!(self.errno, libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL)
    }

    /// A file, such as a sysctl, cannot be written.
    pub fn is_read_only(&self) -> bool {
        matches!(self.errno, libc::EROFS | libc::EACCES)
    }

    /// The kernel was built without it.
    pub fn is_unsupported(&self) -> bool {
        matches!(
            self.errno,
            libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::ENOSYS
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_errno_has_words() {
        for errno in (1..=133).filter(|errno| Errno::from_raw(*errno) != Errno::UnknownErrno) {
            let words = words(errno);
            let wrong = words.contains("No error information") || words.contains("Unknown");
            assert!(!wrong && words.ends_with(&format!("(os error {errno})")), "{words}");
        }
        assert_eq!(words(libc::EXFULL), "Exchange full (os error 54)");
    }
}
