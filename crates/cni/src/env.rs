//! The environment of an invocation: the spec's section 2, "Parameters".

use crate::error::{Error, Result, code};
use crate::ifname;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What the runtime asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make the attachment.
    Add,
    /// Remove the attachment.
    Del,
    /// Verify the attachment.
    Check,
    /// Remove what belongs to no valid attachment.
    Gc,
    /// Tell whether ADD can be served.
    Status,
    /// Tell the supported versions.
    Version,
}

impl Command {
    /// As `CNI_COMMAND` spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Command::Add => "ADD",
            Command::Del => "DEL",
            Command::Check => "CHECK",
            Command::Gc => "GC",
            Command::Status => "STATUS",
            Command::Version => "VERSION",
        }
    }

    fn parse(text: &str) -> Option<Command> {
        use Command::{Add, Check, Del, Gc, Status, Version};
        [Add, Del, Check, Gc, Status, Version].into_iter().find(|c| c.as_str() == text)
    }

    /// Whether the command concerns one attachment.
    pub fn is_for_attachment(self) -> bool {
        matches!(self, Command::Add | Command::Del | Command::Check)
    }
}

/// What of the environment a plugin uses; the rest is not looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uses {
    /// The namespace of `CNI_NETNS`.
    pub netns: bool,
    /// `CNI_ARGS`.
    pub args: bool,
}

/// The validated environment.
#[derive(Clone, Debug)]
pub struct Env {
    /// `CNI_COMMAND`.
    pub command: Command,
    /// `CNI_CONTAINERID`; empty for commands without an attachment.
    pub container_id: String,
    /// `CNI_NETNS`: a network namespace that is not ours. DEL may lack it, and one that is gone
    /// or is no namespace any more counts as lacking.
    pub netns: Option<PathBuf>,
    /// `CNI_IFNAME`; empty for commands without an attachment.
    pub ifname: String,
    /// `CNI_ARGS`.
    pub args: Args,
    /// `CNI_PATH`; checked only where it is used.
    pub path: Vec<PathBuf>,
}

impl Env {
    /// Reads and validates the environment through `var`.
    ///
    /// # Errors
    /// Code 4 naming the variable.
    pub fn read(command: &str, var: &dyn Fn(&str) -> Option<OsString>) -> Result<Env> {
        Env::read_for(command, Uses { netns: true, args: true }, var)
    }

    /// As [`Env::read`], for a plugin that does not use all of it.
    pub(crate) fn read_for(
        command: &str,
        uses: Uses,
        var: &dyn Fn(&str) -> Option<OsString>,
    ) -> Result<Env> {
        let text = |name: &str| -> Result<String> {
            let value = var(name).unwrap_or_default();
            value.into_string().map_err(|value| {
                Error::environment(format!("{name} is not valid UTF-8"))
                    .details(value.to_string_lossy())
            })
        };
        let command = Command::parse(command).ok_or_else(|| {
            Error::environment(format!("unknown CNI_COMMAND: {command}"))
                .details("it is one of ADD, DEL, CHECK, GC, STATUS, VERSION")
        })?;
        let path = var("CNI_PATH").map(|list| std::env::split_paths(&list).collect());
        let mut env = Env {
            command,
            container_id: String::new(),
            netns: None,
            ifname: String::new(),
            args: Args::default(),
            path: path.unwrap_or_default(),
        };
        if !command.is_for_attachment() {
            return Ok(env);
        }
        env.container_id = text("CNI_CONTAINERID")?;
        env.ifname = text("CNI_IFNAME")?;
        let netns = text("CNI_NETNS")?;
        let required = [
            ("CNI_CONTAINERID", env.container_id.is_empty()),
            ("CNI_NETNS", netns.is_empty() && command != Command::Del),
            ("CNI_IFNAME", env.ifname.is_empty()),
        ];
        let missing: Vec<_> = required.iter().filter(|(_, m)| *m).map(|(name, _)| *name).collect();
        if !missing.is_empty() {
            let list = missing.join(",");
            let msg = format!("required env variables [{list}] missing");
            return Err(Error::environment(msg).details("the runtime must set them"));
        }
        valid_container_id(&env.container_id)?;
        valid_ifname(&env.ifname)?;
        if uses.args {
            env.args = match text("CNI_ARGS").and_then(|args| Args::parse(&args)) {
                // What ADD accepted once must not hold up its DEL.
                Err(_) if command == Command::Del => Args::default(),
                args => args?,
            };
        }
        env.netns = if uses.netns {
            let overridden =
                matches!(&*text("CNI_NETNS_OVERRIDE")?, "1" | "true" | "TRUE" | "True");
            checked_netns(&netns, command, overridden)?
        } else {
            Some(PathBuf::from(netns)).filter(|path| !path.as_os_str().is_empty())
        };
        Ok(env)
    }

    /// Whether a path, such as a `sandbox` of `prevResult`, is that of the namespace of
    /// `CNI_NETNS`: one namespace has many paths, as /run/netns/NAME, /var/run/netns/NAME and
    /// /proc/PID/ns/net.
    pub fn is_netns(&self, path: &str) -> bool {
        let Some(netns) = self.netns.as_deref() else { return path.is_empty() };
        let identity = |path: &str| namespace(path).ok().flatten();
        let same = |netns: &str| identity(netns).is_some_and(|own| identity(path) == Some(own));
        netns.as_os_str() == path || netns.to_str().is_some_and(same)
    }
}

/// Whether the text is an alphanumeric followed by alphanumerics, `_`, `.` and `-`: the spec's
/// pattern for container IDs and network names.
pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

fn valid_container_id(id: &str) -> Result<()> {
    if is_name(id) {
        return Ok(());
    }
    Err(Error::environment("invalid characters in containerID").details(format!(
        "CNI_CONTAINERID is {id:?}; it must start with an alphanumeric character, followed by \
         alphanumerics, '_', '.' or '-'"
    )))
}

fn valid_ifname(name: &str) -> Result<()> {
    let Some(msg) = ifname::fault(name) else { return Ok(()) };
    let details =
        format!("CNI_IFNAME is {name:?}; it must be of at most 15 bytes, without / : % or spaces");
    Err(Error::environment(msg).details(details))
}

fn checked_netns(path: &str, command: Command, overridden: bool) -> Result<Option<PathBuf>> {
    if path.is_empty() {
        return Ok(None);
    }
    let wrong = |why: String| match command {
        // The namespace may be gone, replaced by a plain file after a reboot: that is success.
        Command::Del => Ok(None),
        _ => Err(Error::environment(format!("failed to open netns {path:?}: {why}"))
            .details("CNI_NETNS must be the path of a network namespace, as /run/netns/NAME")),
    };
    let identity = match namespace(path) {
        Ok(Some(identity)) => identity,
        Ok(None) => return wrong("it is not a network namespace".to_owned()),
        Err(error) => return wrong(error.to_string()),
    };
    let own = namespace("/proc/thread-self/ns/net");
    if !overridden && own.is_ok_and(|own| own == Some(identity)) {
        return Err(Error::environment(
            "plugin's netns and netns from CNI_NETNS should not be the same",
        )
        .details(format!(
            "CNI_NETNS {path:?} is the namespace that this plugin runs in; nothing was changed; \
             set CNI_NETNS_OVERRIDE=1 if it is meant"
        )));
    }
    Ok(Some(Path::new(path).to_path_buf()))
}

/// Device and inode of the namespace at a path; `None` when the path holds something else. The
/// kernel names the descriptor of a namespace by its kind, unless it was bound to a path of its
/// own (fs/nsfs.c): then only entering it tells the kind, which every plugin does first.
fn namespace(path: &str) -> io::Result<Option<(u64, u64)>> {
    // Looked at, not opened: to open a FIFO would wait for a writer, and a device would notice.
    // Not by std, which keeps O_PATH from musl's open(2): it is in musl's O_ACCMODE.
    let file = File::from(open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?);
    let name = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let name = name.to_string_lossy();
    let is_namespace = fstatfs(&file)?.filesystem_type() == NSFS_MAGIC;
    if !is_namespace || !(name.starts_with('/') || name.starts_with("net:[")) {
        return Ok(None);
    }
    let meta = file.metadata()?;
    Ok(Some((meta.dev(), meta.ino())))
}

/// `CNI_ARGS`: `KEY=VALUE` pairs separated by `;`. Keys are case-sensitive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    pairs: Vec<(String, String)>,
}

impl Args {
    /// Splits the pairs.
    ///
    /// # Errors
    /// Code 4 on a pair that is not `KEY=VALUE`.
    pub fn parse(text: &str) -> Result<Args> {
        let mut pairs = Vec::new();
        for pair in text.split(';').filter(|_| !text.is_empty()) {
            let Some((key, value)) = pair.split_once('=').filter(|(_, v)| !v.contains('=')) else {
                return Err(Error::environment(format!("CNI_ARGS: invalid pair {pair:?}"))
                    .details("CNI_ARGS is KEY=VALUE pairs separated by ;"));
            };
            pairs.push((key.to_owned(), value.to_owned()));
        }
        Ok(Args { pairs })
    }

    /// The value of a key; of several the last.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Refuses keys that are not in `known`, unless the pairs hold `IgnoreUnknown=1` or `true`.
    ///
    /// # Errors
    /// Code 4 listing the unknown pairs.
    pub fn only(&self, known: &[&str]) -> Result<()> {
        let ignore = matches!(self.get("IgnoreUnknown"), Some("1" | "true" | "True" | "TRUE"));
        let unknown: Vec<String> = self
            .pairs
            .iter()
            .filter(|(key, _)| key != "IgnoreUnknown" && !known.contains(&key.as_str()))
            .map(|(key, value)| format!("{:?}", format!("{key}={value}")))
            .collect();
        if ignore || unknown.is_empty() {
            return Ok(());
        }
        let list = unknown.join(" ");
        Err(Error::new(code::INVALID_ENVIRONMENT, format!("CNI_ARGS: unknown args [{list}]"))
            .details("add IgnoreUnknown=1 to CNI_ARGS when they are meant for other plugins"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Env> {
        let command = vars.iter().find(|(k, _)| *k == "CNI_COMMAND").map_or("ADD", |(_, v)| v);
        read_for(command, Uses { netns: true, args: true }, vars)
    }

    fn read_for(command: &str, uses: Uses, vars: &[(&str, &str)]) -> Result<Env> {
        Env::read_for(command, uses, &|name| {
            vars.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn names_what_is_missing() {
        let error = read(&[("CNI_IFNAME", "eth0")]).unwrap_err();
        assert_eq!(error.code, code::INVALID_ENVIRONMENT);
        assert_eq!(error.msg, "required env variables [CNI_CONTAINERID,CNI_NETNS] missing");
        let error = read(&[("CNI_COMMAND", "NOPE")]).unwrap_err();
        assert_eq!(error.msg, "unknown CNI_COMMAND: NOPE");
    }

    #[test]
    fn del_needs_no_netns_and_takes_a_gone_one_for_none() {
        for netns in ["", "/nonexistent", "/etc/passwd", "/proc/self/ns/uts"] {
            let env = read(&[
                ("CNI_COMMAND", "DEL"),
                ("CNI_CONTAINERID", "c"),
                ("CNI_IFNAME", "eth0"),
                ("CNI_NETNS", netns),
            ]);
            assert_eq!(env.unwrap().netns, None);
        }
    }

    #[test]
    fn add_refuses_what_is_no_netns_or_our_own() {
        let with =
            |netns| read(&[("CNI_CONTAINERID", "c"), ("CNI_IFNAME", "eth0"), ("CNI_NETNS", netns)]);
        assert!(with("/etc/passwd").unwrap_err().msg.contains("not a network namespace"));
        assert!(with("/proc/self/ns/uts").unwrap_err().msg.contains("not a network namespace"));
        assert!(with("/nonexistent").unwrap_err().msg.contains("No such file"));
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        let error = with(fifo.to_str().unwrap()).unwrap_err();
        assert!(error.msg.contains("not a network namespace"), "{error}");
        let own = with("/proc/self/ns/net").unwrap_err();
        assert!(own.msg.contains("should not be the same"), "{own}");
        let overridden = read(&[
            ("CNI_CONTAINERID", "c"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_NETNS", "/proc/self/ns/net"),
            ("CNI_NETNS_OVERRIDE", "true"),
        ]);
        assert!(overridden.unwrap().netns.is_some());
    }

    #[test]
    fn what_a_plugin_does_not_use_is_not_looked_at() {
        let uses = Uses { netns: false, args: false };
        for netns in ["/nonexistent", "/etc/passwd", "/proc/self/ns/net"] {
            let env = read_for(
                "ADD",
                uses,
                &[
                    ("CNI_CONTAINERID", "c"),
                    ("CNI_IFNAME", "eth0"),
                    ("CNI_NETNS", netns),
                    ("CNI_ARGS", "a=b=c;;"),
                ],
            );
            assert_eq!(env.unwrap().netns.as_deref(), Some(Path::new(netns)));
        }
        let missing = [("CNI_CONTAINERID", "c"), ("CNI_IFNAME", "eth0")];
        assert!(read_for("ADD", uses, &missing).is_err());
    }

    #[test]
    fn a_namespace_has_many_paths() {
        let env = read(&[
            ("CNI_CONTAINERID", "c"),
            ("CNI_IFNAME", "eth0"),
            ("CNI_NETNS", "/proc/self/ns/net"),
            ("CNI_NETNS_OVERRIDE", "1"),
        ]);
        let env = env.unwrap();
        for same in ["/proc/self/ns/net", "/proc/thread-self/ns/net", "/proc/self/../self/ns/net"] {
            assert!(env.is_netns(same), "{same}");
        }
        for other in ["", "/nonexistent", "/proc/self/ns/mnt", "/etc/passwd"] {
            assert!(!env.is_netns(other), "{other}");
        }
    }

    #[test]
    fn names_are_validated() {
        let with = |id, ifname| {
            read(&[("CNI_COMMAND", "DEL"), ("CNI_CONTAINERID", id), ("CNI_IFNAME", ifname)])
        };
        for id in ["-a", ".a", "a/b", "a b", "../x", "a\nb", "ä"] {
            assert_eq!(with(id, "eth0").unwrap_err().msg, "invalid characters in containerID");
        }
        for ifname in ["a/b", "a:b", "a b", ".", "..", "0123456789abcdef", "a\tb", "eth%d"] {
            let error = with("c", ifname).unwrap_err();
            assert!(error.msg.starts_with("interface name"), "{error}");
        }
        assert!(with("a_.-9", "0123456789abcde").is_ok());
    }

    #[test]
    fn args_are_pairs() {
        let args = Args::parse("IP=10.0.0.1;K8S_POD_NAME=a;IgnoreUnknown=1").unwrap();
        assert_eq!(args.get("IP"), Some("10.0.0.1"));
        assert_eq!(args.get("ip"), None);
        assert!(args.only(&["IP"]).is_ok());
        let strict = Args::parse("IP=10.0.0.1;K8S_POD_NAME=a").unwrap();
        let error = strict.only(&["IP"]).unwrap_err();
        assert_eq!(error.msg, "CNI_ARGS: unknown args [\"K8S_POD_NAME=a\"]");
        assert!(Args::parse("IP").is_err());
        assert!(Args::parse("IP=1=2").is_err());
    }
}
