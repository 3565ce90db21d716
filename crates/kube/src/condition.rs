//! A condition in the status of this node's Node object.

use crate::client::{Call, Client, escaped, path};
use crate::fault::{Doing, Fault};
use crate::objects::{Node, Object};
use http::Method;
use serde_json::{Value, json};
use std::time::SystemTime;

/// The API server merges the list of conditions by `type`.
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// A condition as it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// As `NetworkUnavailable`.
    pub kind: &'a str,
    /// `True`, `False` or `Unknown`.
    pub status: &'a str,
    /// Why, as one word: `RouteCreated`.
    pub reason: &'a str,
    /// Why, in words.
    pub message: &'a str,
}

/// Sets a condition of a node. It needs the verb `patch` on `nodes/status`.
///
/// # Errors
/// The API server cannot be reached, or refuses.
pub async fn set(client: &Client, node: &str, wanted: &Wanted<'_>) -> Result<(), Fault> {
    let resource = Node::RESOURCE;
    let call = Call {
        doing: Doing { verb: "patch", resource, part: "status" },
        method: Method::PATCH,
        target: format!("{}/{}/status", path(&resource, ""), escaped(node)),
        body: Some((STRATEGIC, patch(wanted, SystemTime::now()).to_string().into_bytes())),
    };
    client.call::<Node>(call).await.map(drop)
}

fn patch(wanted: &Wanted<'_>, now: SystemTime) -> Value {
    let Wanted { kind, status, reason, message } = wanted;
    let now = humantime::format_rfc3339_seconds(now).to_string();
    json!({"status": {"conditions": [{
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastHeartbeatTime": now, "lastTransitionTime": now,
    }]}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{Server, started};

    #[tokio::test]
    async fn a_condition_is_merged_into_the_status() {
        let mut server = started().await;
        let client = server.access().client().await.unwrap();
        let wanted = Wanted {
            kind: "NetworkUnavailable",
            status: "False",
            reason: "RouteCreated",
            message: "the routes are there",
        };
        let setting = tokio::spawn(async move { set(&client, "node-1", &wanted).await });
        let request = server.next().await;
        assert_eq!(request.line(), "PATCH /api/v1/nodes/node-1/status");
        assert_eq!(request.header("content-type"), STRATEGIC);
        let sent: Value = serde_json::from_slice(request.body()).unwrap();
        let condition = &sent["status"]["conditions"][0];
        assert_eq!(
            (&condition["type"], &condition["status"]),
            (&json!("NetworkUnavailable"), &json!("False"))
        );
        assert!(condition["lastTransitionTime"].as_str().unwrap().ends_with('Z'), "{sent}");
        request.json(200, "{\"metadata\": {\"name\": \"node-1\"}}").await;
        assert_eq!(setting.await.unwrap(), Ok(()));
        drop::<Server>(server);
    }
}
