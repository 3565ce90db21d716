//! Threads of a test: many that begin at once, and one that goes on beside it.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Runs `work` on each item, on a thread of its own, all from the same moment on.
pub fn at_once<T: Sync, R: Send>(items: &[T], work: impl Fn(usize, &T) -> R + Sync) -> Vec<R> {
    let (start, work) = (Barrier::new(items.len()), &work);
    thread::scope(|scope| {
        let run = |(nth, item)| {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                work(nth, item)
            })
        };
        let running: Vec<_> = items.iter().enumerate().map(run).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, R>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        running.into_iter().map(join).collect()
    })
}

/// Sets a flag when it is dropped: what runs until then ends also by a panic, which would otherwise
/// wait for it for ever.
pub struct Ended<'a>(pub &'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
