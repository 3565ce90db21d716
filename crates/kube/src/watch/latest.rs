//! The latest set, and what of it the receiver does not have yet.

use super::reading::Reading;
use crate::objects::{Metadata, Object};
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep_until};

/// The latest set, and what of it the receiver does not have yet.
pub(super) struct Latest<T> {
    sender: Sender<Reading<T>>,
    gather: Duration,
    /// By namespace and name.
    objects: Vec<Arc<T>>,
    /// They are all there are: a list was complete once.
    complete: bool,
    /// When the set is to be sent.
    due: Option<Instant>,
    /// The failure that is to be sent.
    failure: Option<String>,
    /// The failure that the receiver was told last, unless it got a set since.
    told: Option<String>,
}

fn place(metadata: &Metadata) -> (&str, &str) {
    (&metadata.namespace, &metadata.name)
}

impl<T: Object> Latest<T> {
    pub(super) fn new(sender: Sender<Reading<T>>, gather: Duration) -> Latest<T> {
        let (due, failure, told) = (None, None, None);
        Latest { sender, gather, objects: Vec::new(), complete: false, due, failure, told }
    }

    /// Waits for work, and sends meanwhile what is to be sent.
    pub(super) async fn beside<F: Future>(&mut self, work: F) -> F::Output {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                () = self.send() => {}
                output = &mut work => return output,
            }
        }
    }

    /// Sends one reading, once it is due and the receiver has room for it.
    async fn send(&mut self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None if self.failure.is_some() => {}
            None => pending().await,
        }
        let Ok(room) = self.sender.reserve().await else { return pending().await };
        if self.due.take().is_some() {
            self.told = None;
            room.send(Reading::Set(self.objects.clone()));
        } else if let Some(why) = self.failure.take() {
            self.told = Some(why.clone());
            room.send(Reading::Failed(why));
        }
    }

    fn find(&self, object: &T) -> Result<usize, usize> {
        let of = place(object.metadata());
        self.objects.binary_search_by(|other| place(other.metadata()).cmp(&of))
    }

    fn changed(&mut self) {
        self.due.get_or_insert_with(|| Instant::now() + self.gather);
    }

    /// The object as it is held, where an equal one is: then it is in memory once.
    pub(super) fn shared(&self, object: T) -> Arc<T> {
        let held = self.find(&object).ok().and_then(|at| self.objects.get(at));
        match held.filter(|held| ***held == object) {
            Some(held) => Arc::clone(held),
            None => Arc::new(object),
        }
    }

    /// All objects there are.
    pub(super) fn replace(&mut self, mut objects: Vec<Arc<T>>) {
        objects.sort_by(|a, b| place(a.metadata()).cmp(&place(b.metadata())));
        objects.shrink_to_fit();
        if !self.complete || objects != self.objects {
            self.objects = objects;
            self.changed();
        }
        self.complete = true;
        self.recovered();
    }

    /// An object is there, as it is now.
    pub(super) fn put(&mut self, object: T) {
        match self.find(&object) {
            Ok(at) => match self.objects.get_mut(at) {
                Some(held) if **held != object => *held = Arc::new(object),
                _ => return,
            },
            Err(at) => self.objects.insert(at, Arc::new(object)),
        }
        self.changed();
    }

    /// An object is gone.
    pub(super) fn remove(&mut self, object: &T) {
        if let Ok(at) = self.find(object) {
            self.objects.remove(at);
            self.changed();
        }
    }

    /// The set is current again: after a failure the receiver gets it even where nothing of it
    /// changed.
    pub(super) fn recovered(&mut self) {
        self.failure = None;
        if self.told.is_some() {
            self.changed();
        }
    }

    /// There is no newer set.
    pub(super) fn failed(&mut self, why: String) {
        // The set before, if it was not sent, is sent before it.
        if self.due.is_some() || self.told.as_ref() != Some(&why) {
            self.failure = Some(why);
        }
    }
}
