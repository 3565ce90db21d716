//! What an IPAM plugin is given, and what becomes of its answer.

use ferrule_tests::conf;
use ferrule_tests::node::Place;
use ferrule_tests::{Attachment, Bins, Call, Node, Outcome, Pod};
use serde_json::{Value, json};

/// An IPAM plugin that notes how it is called, and answers as configured.
const SCRIPT: &str = r#"#!/bin/sh
echo "$CNI_COMMAND" >>/run/ipam.calls
cat >"/run/ipam.stdin.$CNI_COMMAND"
env | grep ^CNI_ | sort >"/run/ipam.env.$CNI_COMMAND"
echo "a word on stderr" >&2
cat "/run/ipam.answer.$CNI_COMMAND" 2>/dev/null
exit "$(cat "/run/ipam.code.$CNI_COMMAND" 2>/dev/null || echo 0)"
"#;

pub fn node_with_ipam(answer: &str, code: u32) -> Node {
    let node = Node::new();
    node.write("/run/bin/scripted", SCRIPT);
    node.run("chmod +x /run/bin/scripted");
    node.write("/run/ipam.answer.ADD", answer);
    node.write("/run/ipam.code.ADD", &code.to_string());
    node
}

pub fn scripted() -> Value {
    conf::with(&conf::l2(), &json!({"isGateway": true, "ipam": {"type": "scripted", "secret": 7}}))
}

/// The same call with the script on CNI_PATH, behind a folder that is not there.
pub fn on_path(call: Call) -> Call {
    let path = format!("/run/none:{}:/run/bin", Bins::ours().dir().display());
    call.env("CNI_PATH", &path)
}

pub fn add(node: &Node, attachment: &Attachment) -> Outcome {
    on_path(attachment.call("ADD", None)).run(node)
}

fn calls(node: &Node) -> Vec<String> {
    let noted = node.sh("cat /run/ipam.calls 2>/dev/null || true");
    noted.lines().map(str::to_owned).collect()
}

fn good() -> String {
    json!({"cniVersion": conf::version(), "ips": [{"address": "10.1.0.9/24", "gateway": "10.1.0.1"}],
        "routes": [{"dst": "0.0.0.0/0"}], "dns": {"nameservers": ["192.0.2.53"]}})
    .to_string()
}

#[test]
fn it_gets_the_same_environment_and_input() {
    let (node, pod) = (node_with_ipam(&good(), 0), Pod::new());
    let attachment = node.attach(&scripted(), &pod).args("IgnoreUnknown=1;K8S_POD_NAME=a");
    let outcome = add(&node, &attachment);
    let result = outcome.ok();
    assert_eq!(result["ips"][0]["address"], "10.1.0.9/24");
    assert_eq!(result["dns"]["nameservers"][0], "192.0.2.53");
    assert!(outcome.stderr.contains("a word on stderr"), "{:?}", outcome.stderr);
    let call = on_path(attachment.call("ADD", None));
    let wanted: Vec<String> =
        call.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let given = node.read("/run/ipam.env.ADD");
    assert_eq!(given.lines().collect::<Vec<_>>(), wanted);
    let given: Value = serde_json::from_str(&node.read("/run/ipam.stdin.ADD")).unwrap();
    assert_eq!(given, serde_json::from_slice::<Value>(&call.stdin).unwrap());
    on_path(attachment.call("CHECK", Some(&result))).run(&node).ok();
    on_path(attachment.call("DEL", Some(&result))).run(&node).ok();
    assert_eq!(calls(&node), ["ADD", "CHECK", "DEL"]);
    let given: Value = serde_json::from_str(&node.read("/run/ipam.stdin.CHECK")).unwrap();
    assert_eq!(given["prevResult"], result);
}

#[test]
fn its_error_is_passed_up_as_it_is_and_it_is_undone() {
    let error = json!({"cniVersion": "1.0.0", "code": 123, "msg": "no more", "details": "at all"});
    let (node, pod) = (node_with_ipam(&error.to_string(), 1), Pod::new());
    let failure = add(&node, &node.attach(&scripted(), &pod)).err();
    assert_eq!((failure.code, failure.msg.as_str()), (123, "no more"), "{failure:?}");
    assert!(failure.details.contains("at all"), "{failure:?}");
    assert_eq!(calls(&node), ["ADD", "DEL"], "DEL after a failed ADD");
    assert!(pod.links().is_empty());
}

#[test]
fn nonsense_from_it_is_an_error_and_undone() {
    let without = json!({"cniVersion": conf::version(), "ips": []}).to_string();
    let cases = [
        ("rubbish", 0, "scripted"),
        ("", 0, "scripted"),
        ("", 7, "scripted"),
        (without.as_str(), 0, "IPAM plugin returned missing IP config"),
        (r#"{"cniVersion": "1.0.0", "ips": [{"address": "nonsense"}]}"#, 0, "nonsense"),
    ];
    for (answer, code, text) in cases {
        let (node, pod) = (node_with_ipam(answer, code), Pod::new());
        let failure = add(&node, &node.attach(&scripted(), &pod)).err();
        assert!(failure.text().contains(text), "{answer:?}: expected `{text}`, got {failure:?}");
        assert_eq!(calls(&node), ["ADD", "DEL"], "{answer:?}");
        assert!(pod.links().is_empty());
    }
}

/// An answer in an older version than the configuration's is understood.
#[test]
fn an_older_answer_is_understood() {
    let old = json!({"cniVersion": "0.2.0", "ip4": {"ip": "10.1.0.9/24", "gateway": "10.1.0.1",
        "routes": [{"dst": "0.0.0.0/0"}]}});
    let (node, pod) = (node_with_ipam(&old.to_string(), 0), Pod::new());
    let result = add(&node, &node.attach(&scripted(), &pod)).ok();
    assert_eq!(result["ips"][0]["address"], "10.1.0.9/24");
    assert_eq!(pod.addresses("eth0"), ["10.1.0.9/24"]);
}

/// A repeated ADD knows by the veth that the attachment lives, and leaves its IPAM alone.
#[test]
fn a_repeated_add_does_not_ask_it() {
    let (node, pod) = (node_with_ipam(&good(), 0), Pod::new());
    let attachment = node.attach(&scripted(), &pod);
    add(&node, &attachment).ok();
    add(&node, &attachment).err();
    assert_eq!(calls(&node), ["ADD"]);
}

#[test]
fn del_goes_on_when_it_fails() {
    let (node, pod) = (node_with_ipam(&good(), 0), Pod::new());
    let attachment = node.attach(&scripted(), &pod);
    let result = add(&node, &attachment).ok();
    node.write("/run/ipam.answer.DEL", r#"{"cniVersion":"1.0.0","code":123,"msg":"not now"}"#);
    node.write("/run/ipam.code.DEL", "1");
    let outcome = on_path(attachment.call("DEL", Some(&result))).run(&node);
    assert_eq!(outcome.err().code, 123);
    assert!(pod.links().is_empty(), "the rest is torn down");
    node.write("/run/ipam.code.DEL", "0");
    node.run("rm /run/ipam.answer.DEL");
    on_path(attachment.call("DEL", Some(&result))).run(&node).ok();
}

#[test]
fn status_and_gc_are_delegated() {
    let (node, pod) = (node_with_ipam(&good(), 0), Pod::new());
    let attachment = node.attach(&scripted(), &pod);
    on_path(attachment.call("STATUS", None)).run(&node).ok();
    let list = json!({"cni.dev/valid-attachments": []});
    on_path(attachment.clone().with(&list).call("GC", None)).run(&node).ok();
    assert_eq!(calls(&node), ["STATUS", "GC"]);
    let error = r#"{"cniVersion":"1.1.0","code":50,"msg":"full"}"#;
    node.write("/run/ipam.answer.STATUS", error);
    node.write("/run/ipam.code.STATUS", "1");
    on_path(attachment.call("STATUS", None)).run(&node).err().expect(50, "full");
}

#[test]
fn its_type_cannot_be_a_path() {
    for kind in ["../bin/scripted", "/run/bin/scripted", "a/b", ""] {
        let (node, pod) = (node_with_ipam(&good(), 0), Pod::new());
        let config = conf::with(&scripted(), &json!({"ipam": {"type": kind}}));
        let outcome = add(&node, &node.attach(&config, &pod));
        if kind.is_empty() {
            // No IPAM at all.
            outcome.ok();
        } else {
            outcome.err().expect(7, "invalid plugin name");
        }
        assert!(calls(&node).is_empty(), "{kind}");
    }
}
