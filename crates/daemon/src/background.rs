//! Work that would hold up the daemon's loop.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// Does `work` on a thread of its own, or on this one where no thread can be started. (tokio's
/// `spawn_blocking` panics then.)
///
/// # Errors
/// The thread ended without a result.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (done, result) = oneshot::channel();
    let work: Work = Arc::new(Mutex::new(Some(Box::new(move || drop(done.send(work()))))));
    let of_thread = Arc::clone(&work);
    if let Err(error) = std::thread::Builder::new().spawn(move || take(&of_thread)) {
        tracing::debug!("no thread can be had: {error}");
        take(&work);
    }
    result.await.map_err(io::Error::other)
}

/// Done once, by the thread or by who could not start it.
type Work = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

fn take(work: &Work) {
    let work = work.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(work) = work {
        work();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_result_of_background_work_is_returned() {
        assert_eq!(run(|| 6 * 7).await.unwrap(), 42);
    }
}
