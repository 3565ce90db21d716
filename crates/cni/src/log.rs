//! Logs: on stderr, and in `logFile` when the configuration names one, since runtimes discard
//! stderr. stdout belongs to the protocol.

use crate::error::{Error, with_words};
use nix::fcntl::OFlag;
use serde_json::{Map, Value};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::OnceLock;
use std::time::SystemTime;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

struct LogFile {
    file: File,
    level: Level,
    who: String,
}

static LOG_FILE: OnceLock<LogFile> = OnceLock::new();

/// Opens `logFile` (absolute) at `logLevel` (`error`, `warning`, `info`, `debug`; default `info`).
/// A file that cannot be opened is said on stderr and holds up nothing.
pub(crate) fn open(object: &Map<String, Value>, who: String) {
    let text = |key| crate::json::get(object, key).and_then(Value::as_str).unwrap_or_default();
    let path = text("logFile");
    if path.is_empty() {
        return;
    }
    let level = match text("logLevel").to_ascii_lowercase().as_str() {
        "error" | "panic" => Level::Error,
        "warn" | "warning" => Level::Warn,
        "" | "info" => Level::Info,
        "debug" | "verbose" | "trace" => Level::Debug,
        other => {
            warn(&format!("logLevel {other:?} is not error, warning, info or debug; info is used"));
            Level::Info
        }
    };
    if !path.starts_with('/') {
        warn(&format!("logFile {path:?} is not an absolute path; nothing is logged there"));
        return;
    }
    // A FIFO without a reader would block the call for ever.
    let flags = OFlag::O_NONBLOCK.bits();
    let mut options = OpenOptions::new();
    match options.append(true).create(true).mode(0o644).custom_flags(flags).open(path) {
        Ok(file) => {
            // A second call in one process is a fault of ours, and the first file serves.
            let _ = LOG_FILE.set(LogFile { file, level, who });
        }
        Err(error) => warn(&format!("cannot open logFile {path:?}: {error}")),
    }
}

/// Something failed.
pub fn error(error: &Error) {
    write(Level::Error, &format!("code {}: {error}", error.code));
}

/// Something is wrong, and work goes on.
pub fn warn(line: &str) {
    write(Level::Warn, line);
}

/// Something happened that an operator may look for.
pub fn info(line: &str) {
    write(Level::Info, line);
}

/// Something that helps to find a fault.
pub fn debug(line: &str) {
    write(Level::Debug, line);
}

fn write(level: Level, line: &str) {
    let line = &with_words(line);
    let tag = match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
    };
    // Errors go to stdout as the result; info and debug on stderr would be noise in journals.
    if level == Level::Warn {
        // A closed stderr must not end the work, as eprintln! would.
        let _ = std::io::stderr().write_all(format!("{tag}: {line}\n").as_bytes());
    }
    let Some(log) = LOG_FILE.get().filter(|log| level <= log.level) else { return };
    let time = humantime::format_rfc3339_millis(SystemTime::now());
    // One write, so that lines of concurrent processes do not mix.
    let _ = (&log.file).write_all(format!("{time} {tag} {} {line}\n", log.who).as_bytes());
}
