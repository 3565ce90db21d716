//! What the API server sends: pages of a list, and the events of a watch.

use super::latest::Latest;
use super::pause::random;
use crate::client::{Call, Client, escaped, path};
use crate::fault::{Doing, Fault, Status};
use crate::objects::{Metadata, Object, nullable};
use kube::client::Body;
use serde::Deserialize;

/// Objects in one page. A page is in memory as text and as objects: at 5,000 nodes pages of 500 take
/// twice the memory of these.
const PAGE: usize = 100;
/// More than one event ever has, in bytes: etcd takes objects of 1.5 MB.
const LIMIT: usize = 16 << 20;
/// A watch ends by itself after so many seconds, at the least, and after twice as many at the most:
/// as client-go has it.
const LIFE: f64 = 300.0;

/// A page of a list.
#[derive(Deserialize)]
#[serde(bound = "T: Object")]
struct Page<T> {
    metadata: PageMetadata,
    #[serde(deserialize_with = "nullable")]
    items: Vec<T>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PageMetadata {
    resource_version: String,
    /// Where the next page begins; empty at the end.
    #[serde(rename = "continue")]
    next: String,
}

/// An event of a watch. `type` comes first, so that the object is read as what it is, and not twice.
#[derive(Deserialize)]
#[serde(tag = "type", content = "object", rename_all = "UPPERCASE", bound = "T: Object")]
pub(super) enum Event<T> {
    /// An object is there.
    Added(T),
    /// It is another.
    Modified(T),
    /// It is gone; this is the last of it.
    Deleted(T),
    /// Nothing; all changes up to here were sent.
    Bookmark(Bookmark),
    /// The API server ends the watch.
    Error(Status),
}

/// Up to where all changes were sent.
#[derive(Deserialize)]
pub(super) struct Bookmark {
    /// Its resource version alone.
    pub metadata: Metadata,
}

pub(super) fn watching<T: Object>() -> Doing {
    Doing { verb: "watch", resource: T::RESOURCE, part: "" }
}

/// The path of a list, or a watch, with its query.
fn target<T: Object>(fields: &str, labels: &str, more: &str) -> String {
    let mut target = format!("{}?{more}", path(&T::RESOURCE, ""));
    for (key, value) in [("fieldSelector", fields), ("labelSelector", labels)] {
        if !value.is_empty() {
            target += &format!("&{key}={}", escaped(value));
        }
    }
    target
}

/// Reads all objects, page by page, and makes them the latest set; returns the resource version at
/// which that was so.
pub(super) async fn list<T: Object>(
    client: &Client,
    fields: &str,
    labels: &str,
    latest: &mut Latest<T>,
) -> Result<String, Fault> {
    let mut objects = Vec::new();
    let mut next = String::new();
    loop {
        // No resourceVersion: with one the API server ignores the limit, and sends all at once.
        let page = match next.as_str() {
            "" => format!("limit={PAGE}"),
            next => format!("limit={PAGE}&continue={}", escaped(next)),
        };
        let call = Call::get("list", T::RESOURCE, target::<T>(fields, labels, &page));
        let page: Page<T> = latest.beside(client.call(call)).await?;
        objects.extend(page.items.into_iter().map(|mut object| {
            object.metadata_mut().resource_version = String::new();
            latest.shared(object)
        }));
        if page.metadata.next.is_empty() {
            latest.replace(objects);
            return Ok(page.metadata.resource_version);
        }
        next = page.metadata.next;
    }
}

/// The events of a watch.
pub(super) struct Events {
    client: Client,
    body: Body,
    /// What came, and how much of it holds no end of a line.
    text: Vec<u8>,
    searched: usize,
}

impl Events {
    /// Begins a watch after a resource version.
    pub(super) async fn open<T: Object>(
        client: &Client,
        fields: &str,
        labels: &str,
        place: &str,
    ) -> Result<Events, Fault> {
        let life = (LIFE * (1.0 + random())) as u32;
        let more = format!(
            "watch=1&allowWatchBookmarks=1&resourceVersion={}&timeoutSeconds={life}",
            escaped(place)
        );
        let call = Call::get("watch", T::RESOURCE, target::<T>(fields, labels, &more));
        let body = client.open(call).await?;
        Ok(Events { client: client.clone(), body, text: Vec::new(), searched: 0 })
    }

    /// The next event; `None` where the watch has ended.
    pub(super) async fn next<T: Object>(&mut self) -> Result<Option<Event<T>>, Fault> {
        loop {
            if let Some(line) = self.line() {
                let event = serde_json::from_slice(&line);
                return event.map(Some).map_err(|error| Fault::unreadable(watching::<T>(), &error));
            }
            if self.text.len() > LIMIT {
                return Err(self.client.too_long(LIMIT));
            }
            match self.client.part(&mut self.body).await? {
                Some(part) => self.text.extend_from_slice(&part),
                None => return Ok(None),
            }
        }
    }

    /// Takes the first whole line that is not empty.
    fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            let rest = self.text.get(self.searched..)?;
            let Some(at) = rest.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.text.len();
                return None;
            };
            let rest = self.text.split_off(self.searched + at + 1);
            let line = std::mem::replace(&mut self.text, rest);
            self.searched = 0;
            if line.iter().any(|byte| !byte.is_ascii_whitespace()) {
                return Some(line);
            }
        }
    }
}
