//! What makes the daemon read its configuration anew, and what makes it stop.

use crate::watch::Watch;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Between two looks at a configuration that cannot be watched.
const UNWATCHED: Duration = Duration::from_secs(10);

/// Tells of each SIGHUP and each change of the configuration file; several at once are one.
///
/// # Errors
/// The signal cannot be taken, or the file not be watched.
pub fn watch(config: &Path) -> io::Result<mpsc::Receiver<()>> {
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
            // Full: a reload is due already.
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
                // What changed meanwhile is not known.
                Ok(watching) => return *watch = Some(watching),
                Err(error) => error,
            },
        };
        *watch = None;
        tracing::warn!("cannot watch {}: {error}", config.display());
        tokio::time::sleep(UNWATCHED).await;
    }
}

/// Tells of SIGTERM and SIGINT.
///
/// # Errors
/// The signals cannot be taken.
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

    async fn told(receiver: &mut mpsc::Receiver<()>) {
        let told = tokio::time::timeout(Duration::from_secs(20), receiver.recv()).await;
        assert_eq!(told.expect("nothing was told"), Some(()));
    }

    #[tokio::test]
    async fn signals_and_changes_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("route-sync.toml");
        std::fs::write(&config, "").unwrap();
        let mut changes = watch(&config).unwrap();
        let mut stops = stop().unwrap();
        kill(Pid::this(), Signal::SIGHUP).unwrap();
        told(&mut changes).await;
        std::fs::write(&config, "mode = \"auto\"").unwrap();
        told(&mut changes).await;
        assert!(changes.try_recv().is_err() && stops.try_recv().is_err());
        kill(Pid::this(), Signal::SIGTERM).unwrap();
        told(&mut stops).await;
        kill(Pid::this(), Signal::SIGINT).unwrap();
        told(&mut stops).await;
    }
}
