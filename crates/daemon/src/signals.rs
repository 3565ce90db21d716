//! What makes a daemon read its configuration again, and what makes it stop.

use crate::watch::Watch;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Between two attempts to watch the configuration.
const UNWATCHED: Duration = Duration::from_secs(10);

/// Receives a message at each SIGHUP and each change of the configuration file; several at once are
/// one.
///
/// # Errors
/// The signal cannot be caught, or the file cannot be watched.
pub fn reload(config: &Path) -> io::Result<mpsc::Receiver<()>> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut watch = Some(Watch::new(config)?);
    let config: PathBuf = config.to_owned();
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(()) = hangup.recv() => tracing::debug!("SIGHUP"),
                () = changed(&config, &mut watch) => tracing::debug!("the file changed"),
                () = sender.closed() => return,
            }
            // The channel is full: a reload is due already.
            let _ = sender.try_send(());
        }
    });
    Ok(receiver)
}

async fn changed(config: &Path, watch: &mut Option<Watch>) {
    loop {
        let error = match watch {
            Some(watching) => match watching.changed().await {
                Ok(()) => return,
                Err(error) => error,
            },
            None => match Watch::new(config) {
                // It may have changed meanwhile.
                Ok(watching) => return *watch = Some(watching),
                Err(error) => error,
            },
        };
        *watch = None;
        tracing::warn!("cannot watch {}: {error}", config.display());
        tokio::time::sleep(UNWATCHED).await;
    }
}

/// Receives a message at SIGTERM and SIGINT.
///
/// # Errors
/// The signals cannot be caught.
pub fn stop() -> io::Result<mpsc::Receiver<()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(()) = terminate.recv() => {}
                Some(()) = interrupt.recv() => {}
                () = sender.closed() => return,
            }
            let _ = sender.try_send(());
        }
    });
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    async fn message(receiver: &mut mpsc::Receiver<()>) {
        let message = tokio::time::timeout(Duration::from_secs(20), receiver.recv()).await;
        assert_eq!(message.expect("no message came"), Some(()));
    }

    #[tokio::test]
    async fn signals_and_changes_are_reported() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("x.toml");
        std::fs::write(&config, "").unwrap();
        let mut changes = reload(&config).unwrap();
        let mut stops = stop().unwrap();
        kill(Pid::this(), Signal::SIGHUP).unwrap();
        message(&mut changes).await;
        std::fs::write(&config, "mode = \"auto\"").unwrap();
        message(&mut changes).await;
        assert!(changes.try_recv().is_err() && stops.try_recv().is_err());
        kill(Pid::this(), Signal::SIGTERM).unwrap();
        message(&mut stops).await;
        kill(Pid::this(), Signal::SIGINT).unwrap();
        message(&mut stops).await;
    }
}
