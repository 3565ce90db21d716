//! Follows all objects of a kind: lists them, in pages, and watches from there, for as long as the
//! receiver lives. Whatever fails, the last complete set stays in force, and the reason is told.
//!
//! kube's own watcher is not used: it tells neither why the API server refused nor that a connection
//! went silent, and keeps whole pages of objects in memory.

mod latest;
mod pause;
mod pull;
mod reading;

pub use reading::Reading;

use crate::access::Access;
use crate::client::Client;
use crate::fault::Fault;
use crate::objects::Object;
use latest::Latest;
use pause::Pause;
use pull::{Event, Events};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::debug;

/// Which objects of a kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// A field selector, as `spec.nodeName=node-1`; empty for all.
    pub fields: String,
    /// A label selector; empty for all.
    pub labels: String,
    /// Where the API server does not know the kind, the set is empty; it is asked again every minute.
    /// Without this that is a failure.
    pub optional: bool,
}

/// Times. Tests have shorter ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// A watch that has sent nothing for so long is begun anew: its connection may be dead without a
    /// sign. The API server sends a bookmark about once a minute, at most after 75 s (apiserver,
    /// storage/cacher: bookmarkFrequency).
    pub idle: Duration,
    /// How long changes are gathered before a set is sent.
    pub gather: Duration,
    /// The first pause after a failure; each is twice the one before, up to `longest`.
    pub first: Duration,
    pub longest: Duration,
    /// Until a kind that the API server does not know is asked for again.
    pub unknown: Duration,
}

const TIMES: Times = Times {
    idle: Duration::from_secs(90),
    gather: Duration::from_millis(5),
    first: Duration::from_millis(500),
    longest: Duration::from_secs(16),
    unknown: Duration::from_secs(60),
};

/// However long the API server wants to be left alone.
const MOST: Duration = Duration::from_secs(60);
/// Places that were too old in a row before that is told.
const QUIET: u32 = 3;

/// Follows the objects of a kind on the current runtime, until the receiver is dropped. While the
/// receiver does not receive, changes are gathered: it gets the latest set.
pub fn watch<T: Object>(access: Access, selection: Selection) -> mpsc::Receiver<Reading<T>> {
    watch_with(access, selection, TIMES)
}

pub(crate) fn watch_with<T: Object>(
    access: Access,
    selection: Selection,
    times: Times,
) -> mpsc::Receiver<Reading<T>> {
    let (sender, receiver) = mpsc::channel(1);
    let follower = Follower {
        access,
        selection,
        times,
        client: None,
        place: None,
        pause: Pause::new(times.first, times.longest),
        latest: Latest::<T>::new(sender.clone(), times.gather),
    };
    tokio::spawn(async move {
        tokio::select! {
            () = follower.follow() => {}
            () = sender.closed() => {}
        }
    });
    receiver
}

struct Follower<T> {
    access: Access,
    selection: Selection,
    times: Times,
    /// The client, until something fails: then certificates and kubeconfig may be others.
    client: Option<Client>,
    /// The resource version up to which all changes are known.
    place: Option<String>,
    pause: Pause,
    latest: Latest<T>,
}

impl<T: Object> Follower<T> {
    async fn follow(mut self) {
        loop {
            let wait = match self.round().await {
                Ok(wait) => wait,
                Err(fault) => self.failed(&fault),
            };
            self.latest.beside(sleep(wait)).await;
        }
    }

    /// Lists, where the place is not known, and watches until the watch ends; returns how long to wait
    /// before the next round.
    async fn round(&mut self) -> Result<Duration, Fault> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => self.access.client().await?,
        };
        self.client = Some(client.clone());
        if self.place.is_none() {
            let (fields, labels) = (&self.selection.fields, &self.selection.labels);
            match pull::list(&client, fields, labels, &mut self.latest).await {
                Ok(place) => self.place = Some(place),
                Err(fault) if fault.code() == Some(404) && self.selection.optional => {
                    self.latest.replace(Vec::new());
                    return Ok(self.times.unknown);
                }
                Err(fault) => return Err(fault),
            }
        }
        self.watch(&client).await
    }

    async fn watch(&mut self, client: &Client) -> Result<Duration, Fault> {
        let place = self.place.clone().unwrap_or_default();
        let (fields, labels) = (&self.selection.fields, &self.selection.labels);
        let opening = Events::open::<T>(client, fields, labels, &place);
        let mut events = self.latest.beside(opening).await?;
        self.latest.recovered();
        let mut received = false;
        loop {
            match self.latest.beside(timeout(self.times.idle, events.next())).await {
                Ok(Ok(Some(event))) => self.apply(event)?,
                Ok(Ok(None)) => break,
                // A watch whose connection is cut goes on where it was, by another one.
                Ok(Err(fault)) if fault.is_of_connection() => {
                    debug!("a watch was cut: {fault}");
                    self.client = None;
                    break;
                }
                Ok(Err(fault)) => return Err(fault),
                Err(_) => {
                    debug!("a watch was silent for {:?}", self.times.idle);
                    self.client = None;
                    break;
                }
            }
            received = true;
            self.pause.reset();
        }
        // One that ends at once, again and again, is no reason to ask without a pause.
        Ok(if received { Duration::ZERO } else { self.pause.take() })
    }

    fn apply(&mut self, event: Event<T>) -> Result<(), Fault> {
        let (mut object, there) = match event {
            Event::Added(object) | Event::Modified(object) => (object, true),
            Event::Deleted(object) => (object, false),
            Event::Bookmark(bookmark) => {
                self.place = Some(bookmark.metadata.resource_version);
                return Ok(());
            }
            Event::Error(status) => {
                return Err(Fault::refused(pull::watching::<T>(), status, None));
            }
        };
        self.place = Some(std::mem::take(&mut object.metadata_mut().resource_version));
        match there {
            true => self.latest.put(object),
            false => self.latest.remove(&object),
        }
        Ok(())
    }

    /// Notes a failure; returns how long to wait.
    fn failed(&mut self, fault: &Fault) -> Duration {
        debug!("{fault}");
        self.client = None;
        if !fault.keeps_place() {
            self.place = None;
        }
        let wait = self.pause.take().max(fault.retry_after().unwrap_or_default().min(MOST));
        // A place that is too old is what an absence costs, and a list mends it.
        if fault.code() != Some(410) || self.pause.count() >= QUIET {
            self.latest.failed(fault.to_string());
        }
        wait
    }
}

#[cfg(test)]
mod tests;
