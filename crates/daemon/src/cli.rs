//! What the command lines of daemons have in common: levels of the log, output, exit codes, and the
//! runtime that the daemon's loop runs on.

use crate::{control, logs};
use clap::ValueEnum;
use serde::Serialize;
use std::fmt::Display;
use std::future::Future;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::level_filters::LevelFilter;

/// Exit code of `status` where no daemon answers.
const NO_DAEMON: u8 = 2;

/// `--log-level`.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[allow(missing_docs, reason = "the help of each value would be its name again")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<Level> for LevelFilter {
    fn from(level: Level) -> LevelFilter {
        match level {
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        }
    }
}

/// A program, by the name that its messages on stderr begin with.
#[derive(Clone, Copy, Debug)]
pub struct Program(pub &'static str);

impl Program {
    /// Acts on a configuration, or prints each error in it.
    pub fn with_config<T>(
        self,
        config: Result<T, Vec<String>>,
        act: impl FnOnce(T) -> ExitCode,
    ) -> ExitCode {
        match config {
            Ok(config) => act(config),
            Err(errors) => {
                errors.into_iter().for_each(|error| self.complain(error));
                ExitCode::FAILURE
            }
        }
    }

    /// Runs the daemon's loop on this thread alone; an error is logged.
    pub fn run<E: Display>(self, daemon: impl Future<Output = Result<(), E>>) -> ExitCode {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                logs::write(format_args!("{}: cannot start: {error}", self.0));
                return ExitCode::FAILURE;
            }
        };
        match runtime.block_on(daemon) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                logs::write(format_args!("{}: {error}", self.0));
                ExitCode::FAILURE
            }
        }
    }

    /// Prints a report as JSON, or as the table that `table` makes of it and the current time, in
    /// seconds since 1970. Exit code 0: it is well; 1: it is not; 2: there is none.
    pub fn show<T: Serialize>(
        self,
        report: Result<T, control::Error>,
        json: bool,
        table: impl FnOnce(&T, u64) -> String,
        is_well: impl FnOnce(&T) -> bool,
    ) -> ExitCode {
        let report = match report {
            Ok(report) => report,
            Err(error) => {
                self.complain(error);
                return ExitCode::from(NO_DAEMON);
            }
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let text = match json {
            true => serde_json::to_string_pretty(&report).map(|text| text + "\n"),
            false => Ok(table(&report, now)),
        };
        let printed = match text {
            Ok(text) => self.print(&text),
            Err(error) => {
                self.complain(error);
                ExitCode::FAILURE
            }
        };
        if is_well(&report) { printed } else { ExitCode::FAILURE }
    }

    /// Prints on stdout. A reader that closes it has read enough.
    pub fn print(self, text: &str) -> ExitCode {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                self.complain(format_args!("cannot write to stdout: {error}"));
                ExitCode::FAILURE
            }
            _ => ExitCode::SUCCESS,
        }
    }

    /// Prints on stderr; where that fails there is no place left to report it.
    pub fn complain(self, error: impl Display) {
        let _ = writeln!(io::stderr(), "{}: {error}", self.0);
    }
}
