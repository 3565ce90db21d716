use super::*;
use crate::server::started;
use std::time::Duration;

fn overlap(note: &str) -> Occurrence {
    Occurrence {
        regarding: Regarding::node("node-1", "a1b2"),
        warning: true,
        reason: "PodCIDROverlaps".to_owned(),
        action: "SyncRoutes".to_owned(),
        note: note.to_owned(),
    }
}

#[test]
fn an_event_has_all_that_the_api_server_wants() {
    let now = UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_001);
    let name = name("Node-1", now);
    assert_eq!(name, "node-1.17979cfe362a03e8");
    let event = event("ferrule.io/route-sync", "node-1", &overlap("it overlaps"), &name, now);
    let expected = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"name": name, "namespace": "default"},
        "eventTime": "2023-11-14T22:13:20.000001Z",
        "reportingController": "ferrule.io/route-sync", "reportingInstance": "node-1",
        "type": "Warning", "reason": "PodCIDROverlaps", "action": "SyncRoutes", "note": "it overlaps",
        "regarding": {"apiVersion": "v1", "kind": "Node", "name": "node-1", "uid": "a1b2"},
    });
    assert_eq!(event, expected);
}

#[test]
fn a_long_note_is_cut_between_characters() {
    let event = event("c", "i", &overlap(&"é".repeat(600)), "n", UNIX_EPOCH);
    assert_eq!(event["note"].as_str().unwrap().len(), 1024);
    let odd = overlap(&format!("x{}", "é".repeat(600)));
    assert_eq!(super::event("c", "i", &odd, "n", UNIX_EPOCH)["note"].as_str().unwrap().len(), 1023);
}

#[tokio::test]
async fn equal_events_are_sent_once_and_a_refused_one_again() {
    let mut server = started().await;
    let recorder = Recorder::start(server.access(), "ferrule.io/route-sync", "node-1");
    recorder.record(overlap("one"));
    let request = server.next().await;
    assert_eq!(request.line(), "POST /apis/events.k8s.io/v1/namespaces/default/events");
    let refused =
        r#"{"kind": "Status", "message": "events is forbidden: User \"x\" cannot", "code": 403}"#;
    request.json(403, refused).await;
    for note in ["one", "one", "two"] {
        recorder.record(overlap(note));
    }
    for note in ["one", "two"] {
        let request = server.next().await;
        let sent: Value = serde_json::from_slice(request.body()).unwrap();
        assert_eq!(sent["note"], note);
        request.json(201, "{}").await;
    }
}
