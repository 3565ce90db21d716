//! A network's list of plugins, called one after the other as a runtime does.

use serde_json::{Value, json};

use crate::conf::with;
use crate::invoke::{Attachment, Outcome};
use crate::node::{Node, Pod};

/// One attachment to a network of several plugins.
#[derive(Clone)]
pub struct Chain<'a> {
    node: &'a Node,
    /// Its calls of each plugin, the main one first.
    pub links: Vec<Attachment<'a>>,
}

impl<'a> Chain<'a> {
    /// `eth0` of a pod on a main plugin's network with others behind it, by our executables. What is
    /// common in a list, version and name, is the main one's.
    pub fn new(node: &'a Node, pod: &Pod, main: &Value, behind: &[Value]) -> Self {
        let common = json!({"cniVersion": main["cniVersion"], "name": main["name"]});
        let behind = behind.iter().map(|keys| with(&common, keys));
        let configs = [main.clone()].into_iter().chain(behind);
        Self { node, links: configs.map(|config| node.attach(&config, pod)).collect() }
    }

    /// Every plugin's calls, changed.
    #[must_use]
    pub fn each(self, change: impl Fn(Attachment<'a>) -> Attachment<'a>) -> Self {
        Self { links: self.links.into_iter().map(change).collect(), ..self }
    }

    /// The calls of the last plugin.
    pub fn last(&self) -> &Attachment<'a> {
        &self.links[self.links.len() - 1]
    }

    /// ADD of all but the last, which must succeed.
    #[track_caller]
    pub fn add_before(&self) -> Value {
        let before = &self.links[..self.links.len() - 1];
        before.iter().fold(Value::Null, |previous, link| {
            link.call("ADD", Some(&previous)).run(self.node).ok()
        })
    }

    /// ADD of the last behind a result, however it ends.
    pub fn try_add_last(&self, previous: &Value) -> Outcome {
        self.last().call("ADD", Some(previous)).run(self.node)
    }

    /// ADD, which must succeed; gives the result.
    #[track_caller]
    pub fn add(&self) -> Value {
        self.try_add_last(&self.add_before()).ok()
    }

    /// CHECK of each, which must succeed.
    #[track_caller]
    pub fn check(&self, result: &Value) {
        self.links.iter().for_each(|link| link.check(result));
    }

    /// DEL, the last first, which must succeed.
    #[track_caller]
    pub fn del(&self, result: Option<&Value>) {
        self.links.iter().rev().for_each(|link| link.del(result));
    }
}
