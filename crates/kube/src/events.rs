//! Kubernetes Events (`events.k8s.io/v1`), which `kubectl describe` and `kubectl events` show.
//!
//! They are advice for people, and may be lost: the API server keeps them for an hour. So nothing
//! waits for them, equal ones are one Event that is counted, and of each object only a few are sent.

mod ledger;

use crate::access::Access;
use crate::client::{Call, Client, escaped, path};
use crate::fault::{Doing, Fault};
use crate::objects::Resource;
use http::Method;
use ledger::{Ledger, Step};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tracing::warn;

const EVENTS: Resource =
    Resource { group: "events.k8s.io", version: "v1", plural: "events", kind: "Event" };
/// Where the Events of objects are that have no namespace (apiserver's validation wants this one).
const DEFAULT: &str = "default";
/// Bytes of `note` that the API server takes (`NoteLengthLimit`).
const NOTE: usize = 1024;
/// Events that wait to be sent; more are dropped.
const WAITING: usize = 64;

/// The object that an Event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Regarding {
    /// As `v1`.
    pub api_version: String,
    /// As `Node`.
    pub kind: String,
    /// Empty for a kind that has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

impl Regarding {
    /// A node, by the UID of its Node object.
    pub fn node(name: &str, uid: &str) -> Regarding {
        Regarding {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            namespace: String::new(),
            name: name.to_owned(),
            uid: uid.to_owned(),
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Occurrence {
    /// The object.
    pub regarding: Regarding,
    /// Something is wrong; else it is good to know.
    pub warning: bool,
    /// Why, as one word: `PodCIDROverlaps`.
    pub reason: String,
    /// What was attempted, as one word: `SyncRoutes`.
    pub action: String,
    /// In words, at most 1024 bytes; the rest is cut off.
    pub note: String,
}

/// Sends Events, in the background.
#[derive(Clone, Debug)]
pub struct Recorder {
    occurrences: mpsc::Sender<Occurrence>,
}

impl Recorder {
    /// Begins on the current runtime, and ends with the last clone. `controller`: this program, as
    /// `ferrule.io/route-sync`; `instance`: which of it, as the node's name. It needs the verbs
    /// `create` and `patch` on `events` of `events.k8s.io`.
    pub fn start(access: Access, controller: &str, instance: &str) -> Recorder {
        let (occurrences, mut waiting) = mpsc::channel(WAITING);
        let (controller, instance) = (controller.to_owned(), instance.to_owned());
        let mut sender =
            Sender { access, controller, instance, ledger: Ledger::default(), last: None };
        tokio::spawn(async move {
            while let Some(occurrence) = waiting.recv().await {
                sender.note(&occurrence).await;
            }
        });
        Recorder { occurrences }
    }

    /// Sends an Event, now or as one more of its kind, or not at all where there are too many. It
    /// never waits.
    pub fn record(&self, occurrence: Occurrence) {
        // Where there is no room for it, it is one of many.
        let _ = self.occurrences.try_send(occurrence);
    }
}

struct Sender {
    access: Access,
    controller: String,
    instance: String,
    ledger: Ledger<Occurrence>,
    /// Why the last one failed: the same is logged once.
    last: Option<Fault>,
}

impl Sender {
    async fn note(&mut self, occurrence: &Occurrence) {
        let step = self.ledger.note(occurrence, Instant::now());
        let done = match &step {
            Step::None => return,
            Step::Create => self.create(occurrence).await,
            Step::Count { name, count } => match self.count(occurrence, name, *count).await {
                // The API server keeps Events for an hour.
                Err(fault) if fault.code() == Some(404) => self.create(occurrence).await,
                counted => counted.map(|()| name.clone()),
            },
        };
        match done {
            Ok(name) => {
                self.last = None;
                self.ledger.sent(occurrence, name);
            }
            Err(fault) => {
                self.ledger.forget(occurrence);
                if self.last.as_ref() != Some(&fault) {
                    warn!("cannot send an Event: {fault}");
                }
                self.last = Some(fault);
            }
        }
    }

    /// Creates the Event; returns its name.
    async fn create(&self, occurrence: &Occurrence) -> Result<String, Fault> {
        let client = self.access.client().await?;
        let now = SystemTime::now();
        let name = name(&occurrence.regarding.name, now);
        let event = event(&self.controller, &self.instance, occurrence, &name, now);
        let target = path(&EVENTS, namespace(occurrence));
        request(&client, "create", Method::POST, target, "application/json", &event).await?;
        Ok(name)
    }

    /// Says that it happened again.
    async fn count(&self, occurrence: &Occurrence, name: &str, count: u32) -> Result<(), Fault> {
        let client = self.access.client().await?;
        let target = format!("{}/{}", path(&EVENTS, namespace(occurrence)), escaped(name));
        let now = micros(SystemTime::now());
        let series = json!({"series": {"count": count, "lastObservedTime": now}});
        let merge = "application/merge-patch+json";
        request(&client, "patch", Method::PATCH, target, merge, &series).await
    }
}

async fn request(
    client: &Client,
    verb: &'static str,
    method: Method,
    target: String,
    kind: &'static str,
    body: &Value,
) -> Result<(), Fault> {
    let doing = Doing { verb, resource: EVENTS, part: "" };
    let body = Some((kind, body.to_string().into_bytes()));
    client.call::<Value>(Call { doing, method, target, body }).await.map(drop)
}

fn namespace(occurrence: &Occurrence) -> &str {
    match occurrence.regarding.namespace.as_str() {
        "" => DEFAULT,
        namespace => namespace,
    }
}

/// Unique, as client-go makes it: the object's name and the time.
fn name(object: &str, now: SystemTime) -> String {
    let nanos = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let room: String = object.chars().take(200).collect();
    format!("{}.{nanos:x}", room.to_ascii_lowercase())
}

fn micros(time: SystemTime) -> String {
    humantime::format_rfc3339_micros(time).to_string()
}

fn event(
    controller: &str,
    instance: &str,
    occurrence: &Occurrence,
    name: &str,
    now: SystemTime,
) -> Value {
    let Occurrence { regarding, warning, reason, action, note } = occurrence;
    let end = (0..=NOTE.min(note.len())).rev().find(|at| note.is_char_boundary(*at));
    let note = note.get(..end.unwrap_or_default());
    json!({
        "apiVersion": EVENTS.api_version(), "kind": EVENTS.kind,
        "metadata": {"name": name, "namespace": namespace(occurrence)},
        "eventTime": micros(now),
        "reportingController": controller, "reportingInstance": instance,
        "type": if *warning { "Warning" } else { "Normal" },
        "reason": reason, "action": action, "note": note, "regarding": regarding,
    })
}

#[cfg(test)]
mod tests;
