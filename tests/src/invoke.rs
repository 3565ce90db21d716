//! One call of a CNI executable, and what has to be true of every answer.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Map, Value, json};

use crate::bins::{self, Bins};
use crate::node::{Node, Place, Pod};
use crate::tool;

/// One call of an executable: everything that it can see.
#[derive(Clone)]
pub struct Call {
    /// The executable.
    pub exe: PathBuf,
    /// Its whole environment, but for PATH.
    pub env: BTreeMap<String, String>,
    /// What it reads.
    pub stdin: Vec<u8>,
}

impl Call {
    /// A call with a configuration and nothing in its environment.
    pub fn new(exe: PathBuf, config: &Value) -> Self {
        Self { exe, env: BTreeMap::new(), stdin: config.to_string().into_bytes() }
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.env.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Leaves a variable out.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.env.remove(key);
        self
    }

    /// Makes the call in a place.
    pub fn run(&self, place: &impl Place) -> Outcome {
        let command = self.env.get("CNI_COMMAND").cloned().unwrap_or_default();
        let done = place.ns().enter(|| {
            let mut process = Command::new(&self.exe);
            process.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
            process.envs(&self.env).current_dir("/");
            tool::finish(&mut process, &self.stdin)
        });
        let code = done.status.code();
        let (stdout, stderr) = (done.stdout, done.stderr);
        let by_reference = bins::is_reference(&self.exe);
        let outcome = Outcome { command, code, stdout, stderr, by_reference };
        outcome.require_protocol();
        outcome
    }
}

/// What a call left.
#[derive(Debug)]
pub struct Outcome {
    /// CNI_COMMAND.
    pub command: String,
    /// The exit code; None when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    // The reference's errors lack what the specification asks for.
    by_reference: bool,
}

/// An error as the specification has it.
#[derive(Debug)]
pub struct Failure {
    /// The specification's number.
    pub code: u64,
    /// The failure.
    pub msg: String,
    /// Cause, value, remedy.
    pub details: String,
}

impl Failure {
    /// `msg` and `details` in one text.
    pub fn text(&self) -> String {
        format!("{}; {}", self.msg, self.details)
    }

    /// Fails unless the code is `code` and the text contains `part`.
    #[track_caller]
    pub fn expect(&self, code: u64, part: &str) {
        assert!(
            self.code == code && self.text().contains(part),
            "expected code {code} with `{part}`, got {self:?}"
        );
    }
}

impl Outcome {
    /// What the specification asks of every answer: one document on stdout, or none.
    fn require_protocol(&self) {
        let code = self.code.unwrap_or_else(|| panic!("ended by a signal: {self:#?}"));
        let documents = self.documents();
        let wanted = match (code, self.command.as_str()) {
            (0, "DEL" | "CHECK" | "GC" | "STATUS") => 0,
            (0, "") => return,
            _ => 1,
        };
        assert_eq!(documents.len(), wanted, "JSON documents on stdout: {self:#?}");
        if code != 0 {
            let error = &documents[0];
            assert!(error["code"].as_u64().is_some_and(|c| c > 0), "error without code: {self:#?}");
            assert!(error["msg"].as_str().is_some_and(|m| !m.is_empty()), "no msg: {self:#?}");
            let named = error["cniVersion"].is_string() || self.by_reference;
            assert!(named, "error without cniVersion: {self:#?}");
        }
    }

    fn documents(&self) -> Vec<Value> {
        if self.code == Some(0) && self.command.is_empty() {
            return vec![];
        }
        let stream = serde_json::Deserializer::from_str(&self.stdout).into_iter::<Value>();
        stream
            .map(|d| d.unwrap_or_else(|e| panic!("stdout is not JSON ({e}): {self:#?}")))
            .collect()
    }

    /// The result of a call that must have succeeded; null when it prints none.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert!(self.code == Some(0), "{} failed: {}{}", self.command, self.stdout, self.stderr);
        self.documents().into_iter().next().unwrap_or(Value::Null)
    }

    /// The error of a call that must have failed.
    #[track_caller]
    pub fn err(&self) -> Failure {
        assert!(self.code != Some(0), "{} should have failed: {self:#?}", self.command);
        let error = &self.documents()[0];
        let text = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        Failure {
            code: error["code"].as_u64().unwrap_or_default(),
            msg: text("msg"),
            details: text("details"),
        }
    }
}

/// One attachment (a container and an interface name) to one network, and its calls.
#[derive(Clone)]
pub struct Attachment<'a> {
    node: &'a Node,
    bins: Bins,
    /// The plugin's configuration.
    pub config: Value,
    /// CNI_CONTAINERID.
    pub container: String,
    /// CNI_IFNAME.
    pub ifname: String,
    /// CNI_NETNS; left out of the environment when None.
    pub netns: Option<String>,
    /// CNI_ARGS.
    pub args: Option<String>,
}

impl<'a> Attachment<'a> {
    /// `eth0` of a pod on the network of `config`, by our executables.
    pub fn new(node: &'a Node, config: &Value, pod: &Pod) -> Self {
        Self {
            node,
            bins: Bins::ours(),
            config: config.clone(),
            container: pod.id().to_owned(),
            ifname: "eth0".to_owned(),
            netns: Some(pod.netns()),
            args: None,
        }
    }

    /// By other executables.
    #[must_use]
    pub fn by(mut self, bins: &Bins) -> Self {
        self.bins = bins.clone();
        self
    }

    /// With CNI_ARGS.
    #[must_use]
    pub fn args(mut self, args: &str) -> Self {
        self.args = Some(args.to_owned());
        self
    }

    /// With another interface name.
    #[must_use]
    pub fn ifname(mut self, name: &str) -> Self {
        self.ifname = name.to_owned();
        self
    }

    /// With another CNI_NETNS; None leaves it out.
    #[must_use]
    pub fn netns(mut self, netns: Option<&str>) -> Self {
        self.netns = netns.map(str::to_owned);
        self
    }

    /// With keys of the configuration replaced (null removes one).
    #[must_use]
    pub fn with(mut self, keys: &Value) -> Self {
        self.config = merged(&self.config, keys);
        self
    }

    /// A command as a call that can still be altered.
    pub fn call(&self, command: &str, previous: Option<&Value>) -> Call {
        let kind = self.config["type"].as_str().or(self.config["TYPE"].as_str());
        let mut config = self.config.clone();
        if let Some(previous) = previous {
            config["prevResult"] = previous.clone();
        }
        let mut call = Call::new(self.bins.exe(kind.expect("a plugin's type")), &config)
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", &self.container)
            .env("CNI_IFNAME", &self.ifname)
            .env("CNI_PATH", &self.bins.dir().to_string_lossy());
        if let Some(netns) = &self.netns {
            call = call.env("CNI_NETNS", netns);
        }
        if let Some(args) = &self.args {
            call = call.env("CNI_ARGS", args);
        }
        call
    }

    /// ADD, however it ends.
    pub fn try_add(&self) -> Outcome {
        self.call("ADD", None).run(self.node)
    }

    /// ADD, which must succeed; gives the result.
    #[track_caller]
    pub fn add(&self) -> Value {
        self.try_add().ok()
    }

    /// CHECK against a result, however it ends.
    pub fn try_check(&self, result: &Value) -> Outcome {
        self.call("CHECK", Some(result)).run(self.node)
    }

    /// CHECK, which must succeed.
    #[track_caller]
    pub fn check(&self, result: &Value) {
        self.try_check(result).ok();
    }

    /// DEL, however it ends.
    pub fn try_del(&self, result: Option<&Value>) -> Outcome {
        self.call("DEL", result).run(self.node)
    }

    /// DEL, which must succeed.
    #[track_caller]
    pub fn del(&self, result: Option<&Value>) {
        self.try_del(result).ok();
    }

    /// GC that leaves only the attachments `(container ID, ifname)` named.
    pub fn gc(&self, valid: &[(&str, &str)]) -> Outcome {
        let list = valid.iter().map(|(id, name)| json!({"containerID": id, "ifname": name}));
        let keys = json!({"cni.dev/valid-attachments": list.collect::<Vec<_>>()});
        let bare = self.clone().with(&keys).call("GC", None);
        ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "CNI_ARGS"]
            .into_iter()
            .fold(bare, Call::without)
            .run(self.node)
    }

    /// STATUS.
    pub fn status(&self) -> Outcome {
        let bare = self.call("STATUS", None);
        ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "CNI_ARGS"]
            .into_iter()
            .fold(bare, Call::without)
            .run(self.node)
    }
}

/// `base` with the keys of `over` put in, object by object; null removes a key.
pub fn merged(base: &Value, over: &Value) -> Value {
    let (Value::Object(base), Value::Object(over)) = (base, over) else {
        return over.clone();
    };
    let mut all: Map<String, Value> = base.clone();
    for (key, value) in over {
        match all.get(key) {
            _ if value.is_null() => drop(all.remove(key)),
            Some(old) if old.is_object() && value.is_object() => {
                let both = merged(old, value);
                all.insert(key.clone(), both);
            }
            _ => drop(all.insert(key.clone(), value.clone())),
        }
    }
    Value::Object(all)
}

/// The addresses of a result without their lengths, in its order, whatever its version.
pub fn addresses(result: &Value) -> Vec<String> {
    let listed = result["ips"].as_array().into_iter().flatten().map(|ip| &ip["address"]);
    let old = ["ip4", "ip6"].into_iter().map(|family| &result[family]["ip"]);
    let texts = listed.chain(old).filter_map(Value::as_str);
    texts.map(|text| text.split('/').next().unwrap_or(text).to_owned()).collect()
}

impl Node {
    /// `eth0` of a pod on the network of `config`, by our executables.
    pub fn attach(&self, config: &Value, pod: &Pod) -> Attachment<'_> {
        Attachment::new(self, config, pod)
    }
}
