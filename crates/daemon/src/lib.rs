//! What every daemon of ours needs: it reads a configuration and reports
//! all errors in it at once ([`config`]), answers commands on a socket ([`control`]) and Prometheus
//! over HTTP ([`http`], [`metrics`]), logs without ever waiting for a reader ([`logs`]), reports to
//! systemd ([`systemd`]), and notices changed files and signals ([`watch`], [`signals`]).
//!
//! A daemon is one loop on one thread. Sockets, the watchdog and metrics do not look at its state:
//! they send it a question and wait for the answer ([`query::ask`]).

pub mod background;
#[cfg(feature = "cli")]
pub mod cli;
pub mod clients;
#[cfg(feature = "config")]
pub mod config;
pub mod control;
pub mod http;
pub mod logs;
pub mod metrics;
#[cfg(feature = "privileges")]
pub mod privileges;
pub mod query;
pub mod signals;
pub mod systemd;
pub mod table;
pub mod watch;
