//! Work that would hold up the daemon's loop.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// Does `work` on a thread of its own, or where none can be had, here. tokio's `spawn_blocking`
/// panics then.
///
/// # Errors
/// The thread ended without a result.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (done, result) = oneshot::channel();
    let work: Work = Arc::new(Mutex::new(Some(Box::new(move || drop(done.send(work()))))));
    let of_thread = Arc::clone(&work);
    if let Err(error) = std::thread::Builder::new().spawn(move || run(&of_thread)) {
        tracing::debug!("no thread can be had: {error}");
        run(&work);
    }
    result.await.map_err(io::Error::other)
}

/// What one of two does.
type Work = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

fn run(work: &Work) {
    let work = work.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(work) = work {
        work();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_done_aside_comes_back() {
        assert_eq!(aside(|| 6 * 7).await.unwrap(), 42);
    }
}
