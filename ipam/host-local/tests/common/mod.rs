//! A data directory of its own, and calls of the executable and of the reference's on it.
#![allow(dead_code)]

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Our executable.
pub fn ours() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_host-local"))
}

/// The reference's executable.
pub fn reference() -> PathBuf {
    ferrule_tests::Bins::reference().exe("host-local")
}

/// What a call left.
#[derive(Debug)]
pub struct Answer {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal.
    pub signal: Option<i32>,
    /// The document on stdout; null where there is none.
    pub document: Value,
}

impl Answer {
    /// Whether it succeeded.
    pub fn is_ok(&self) -> bool {
        self.code == Some(0)
    }

    /// The addresses of a result.
    pub fn addresses(&self) -> Vec<String> {
        assert!(self.is_ok(), "{self:?}");
        let ips = self.document["ips"].as_array().cloned().unwrap_or_default();
        let bare =
            |ip: &Value| ip["address"].as_str().unwrap().split('/').next().unwrap().to_owned();
        ips.iter().map(bare).collect()
    }

    /// `msg` and `details` of an error.
    pub fn error(&self) -> String {
        assert_eq!(self.code, Some(1), "{self:?}");
        let text = |key: &str| self.document[key].as_str().unwrap_or_default();
        format!("{}; {}", text("msg"), text("details"))
    }
}

/// A network.
pub struct Net {
    root: tempfile::TempDir,
    conf: Value,
}

impl Net {
    /// A network of this `ipam` section, but for its `dataDir`.
    pub fn new(ipam: &Value) -> Net {
        let root = tempfile::tempdir().unwrap();
        let mut conf = json!({"cniVersion": "1.0.0", "name": "n", "type": "bridge", "ipam": ipam});
        conf["ipam"]["dataDir"] = json!(root.path().join("data"));
        Net { root, conf }
    }

    /// Its configuration.
    pub fn conf(&self) -> Value {
        self.conf.clone()
    }

    /// Its lease directory.
    pub fn dir(&self) -> PathBuf {
        self.root.path().join("data/n")
    }

    /// Calls an executable.
    pub fn call(&self, exe: &Path, command: &str, id: &str) -> Answer {
        self.call_with(&mut Command::new(exe), command, id, "", &self.conf)
    }

    /// Calls an executable, perhaps under another one, with arguments and a configuration.
    pub fn call_with(
        &self,
        exe: &mut Command,
        command: &str,
        id: &str,
        args: &str,
        conf: &Value,
    ) -> Answer {
        let mut child = exe
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", id)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_NETNS", "/proc/self/ns/net")
            .env("CNI_NETNS_OVERRIDE", "1")
            .env("CNI_PATH", "/nonexistent")
            .env("CNI_ARGS", args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // A killed process reads nothing.
        let _ = child.stdin.take().unwrap().write_all(conf.to_string().as_bytes());
        let output = child.wait_with_output().unwrap();
        let document = match output.stdout.as_slice() {
            [] => Value::Null,
            text => serde_json::from_slice(text).unwrap_or_else(|error| {
                panic!("{error} in {:?}", String::from_utf8_lossy(text));
            }),
        };
        let (code, signal) = (output.status.code(), output.status.signal());
        Answer { code, signal, document }
    }

    /// Addresses and contents of all lease files.
    pub fn leases(&self) -> BTreeMap<IpAddr, String> {
        let entries = fs::read_dir(self.dir()).into_iter().flatten();
        let lease = |entry: fs::DirEntry| {
            let address = entry.file_name().to_str()?.parse().ok()?;
            Some((address, fs::read_to_string(entry.path()).unwrap()))
        };
        entries.filter_map(|entry| lease(entry.unwrap())).collect()
    }
}
