//! From the process's start to its one document on stdout.

use crate::attachment::Attachment;
use crate::config::{self, NetConf};
use crate::env::{Command, Env, Uses};
use crate::error::{Error, Result, code};
use crate::json;
use crate::log;
use crate::result::CniResult;
use crate::version::Version;
use serde::Serialize;
use serde_json::{Map, Value};
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

/// More than any configuration with its `prevResult` or GC list needs.
const STDIN_LIMIT: u64 = 32 << 20;

/// U+FEFF in UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// A validated invocation.
#[derive(Clone, Debug)]
pub struct Request {
    /// The environment.
    pub env: Env,
    /// The configuration.
    pub conf: NetConf,
    /// The configuration as it came, for delegated plugins.
    pub stdin: Vec<u8>,
}

impl Request {
    /// The attachment that ADD, DEL and CHECK are about.
    pub fn attachment(&self) -> Attachment {
        Attachment::new(&self.conf.name, &self.env.container_id, &self.env.ifname)
    }

    /// The same with other keys of its own in the configuration, also for delegated plugins; those
    /// of the protocol stay.
    pub fn with_keys(&self, object: Map<String, Value>) -> Request {
        let mut other = self.clone();
        other.stdin = Value::Object(object.clone()).to_string().into_bytes();
        other.conf.object = object;
        other
    }
}

/// A CNI plugin. Each call gets a request whose environment and configuration are valid as far as
/// the protocol defines them, and prints nothing.
pub trait Plugin {
    /// Whether it enters the network namespace of `CNI_NETNS`. Otherwise any path is taken as it
    /// is: the namespace may be out of the plugin's sight.
    const ENTERS_NETNS: bool = true;
    /// Whether it takes arguments by `CNI_ARGS`. Otherwise what it holds is not looked at.
    const TAKES_ARGS: bool = true;

    /// Makes the attachment; on an error nothing of it is left.
    ///
    /// # Errors
    /// What the runtime receives.
    fn add(&self, request: &Request) -> Result<CniResult>;
    /// Removes the attachment; what is already gone is no error, and an error holds up nothing.
    ///
    /// # Errors
    /// What could not be removed.
    fn del(&self, request: &Request) -> Result<()>;
    /// Compares the attachment with the configuration and `prevResult`.
    ///
    /// # Errors
    /// What differs.
    fn check(&self, request: &Request) -> Result<()>;
    /// Removes every attachment of the network that is not in the list of valid ones.
    ///
    /// # Errors
    /// What could not be removed.
    fn gc(&self, request: &Request) -> Result<()>;
    /// Whether ADD could be served.
    ///
    /// # Errors
    /// Code 50 or 51 and the reason.
    fn status(&self, request: &Request) -> Result<()>;
}

/// What an executable says of itself when it is run by hand.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// The executable's name.
    pub name: &'static str,
    /// What it does, in a few words.
    pub does: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The commit it was built from, if that was known.
    pub commit: Option<&'static str>,
    /// `Ferrule NAME vVERSION ` in one piece, so that the version can be read in the executable
    /// without running it.
    pub stamp: &'static str,
}

/// The [`About`] of the calling executable: its name, description and version. It also sets the
/// executable's allocator: musl's asks the kernel for every few allocations, 220 calls for an ADD,
/// 0.3 ms. Libraries and their tests keep the system's, since a child of a process with threads may
/// find dlmalloc's lock held.
#[macro_export]
macro_rules! about {
    () => {{
        #[global_allocator]
        static ALLOCATOR: $crate::Allocator = $crate::Allocator;
        $crate::About {
            name: env!("CARGO_PKG_NAME"),
            does: env!("CARGO_PKG_DESCRIPTION"),
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("FERRULE_COMMIT"),
            stamp: concat!(
                "Ferrule ",
                env!("CARGO_PKG_NAME"),
                " v",
                env!("CARGO_PKG_VERSION"),
                " "
            ),
        }
    }};
}

/// Serves one invocation: everything between the process's start and its exit code.
pub fn run(about: About, plugin: &impl Plugin) -> ExitCode {
    answer_panics();
    let command = std::env::var_os("CNI_COMMAND").unwrap_or_default();
    if command.is_empty() {
        introduce(&about);
        return ExitCode::SUCCESS;
    }
    let outcome = serve(&command.to_string_lossy(), &about, plugin);
    let (document, code) = match outcome {
        Ok(document) => (document, ExitCode::SUCCESS),
        Err(error) => {
            log::error(&error);
            (error.to_json(version_in_use()), ExitCode::FAILURE)
        }
    };
    match put(&document) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}

static VERSION_IN_USE: OnceLock<Version> = OnceLock::new();

/// The version that an error is written in: the configuration's, once it is known.
fn version_in_use() -> Version {
    VERSION_IN_USE.get().copied().unwrap_or(Version::NEWEST)
}

fn serve<P: Plugin>(command: &str, about: &About, plugin: &P) -> Result<Vec<u8>> {
    let uses = Uses { netns: P::ENTERS_NETNS, args: P::TAKES_ARGS };
    let env = Env::read_for(command, uses, &|name| std::env::var_os(name))?;
    let stdin = read_stdin()?;
    if env.command == Command::Version {
        return version_document(&stdin);
    }
    let object = NetConf::parse(&stdin)?;
    let _ = VERSION_IN_USE.set(config::version_of(&object)?);
    let conf = NetConf::read(object, env.command)?;
    let who = format!(
        "{} {} {} {} {}",
        about.name,
        env.command.as_str(),
        conf.name,
        env.container_id,
        env.ifname
    );
    log::open(&conf.object, who);
    log::debug("called");
    let request = Request { env, conf, stdin };
    match request.env.command {
        Command::Add => return add(plugin, request),
        Command::Del => plugin.del(&request)?,
        Command::Check => plugin.check(&request)?,
        Command::Gc if request.conf.valid_attachments.is_none() => log::warn(
            "GC without cni.dev/valid-attachments, the list of what is alive: nothing was \
             changed; an empty list says that nothing is",
        ),
        Command::Gc => plugin.gc(&request)?,
        Command::Status => plugin.status(&request)?,
        Command::Version => {}
    }
    Ok(Vec::new())
}

/// An ADD whose result cannot be written did not happen, as far as the runtime knows: it is undone.
fn add(plugin: &impl Plugin, request: Request) -> Result<Vec<u8>> {
    let result = plugin.add(&request)?;
    log::debug("added");
    let written = result.to_json(request.conf.version).and_then(|document| {
        put(&document).map_err(|error| Error::io("cannot write the result to stdout", &error))
    });
    let Err(error) = written else { return Ok(Vec::new()) };
    let mut undo = request;
    undo.env.command = Command::Del;
    Err(match plugin.del(&undo) {
        Ok(()) => error,
        Err(also) => error.also(format!("and undoing failed: {also}")),
    })
}

fn put(document: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(document)?;
    stdout.flush()
}

fn read_stdin() -> Result<Vec<u8>> {
    let mut stdin = Vec::new();
    let read = io::stdin().lock().take(STDIN_LIMIT + 1).read_to_end(&mut stdin);
    read.map_err(|error| Error::io("error reading from stdin", &error))?;
    if stdin.len() as u64 > STDIN_LIMIT {
        return Err(Error::new(code::DECODE, "the configuration on stdin is too large")
            .details(format!("more than {STDIN_LIMIT} bytes; nothing was changed")));
    }
    // Some editors put a byte order mark in front of a file; JSON has none (RFC 8259 section 8.1).
    if stdin.starts_with(BOM) {
        stdin.drain(..BOM.len());
    }
    Ok(stdin)
}

fn version_document(stdin: &[u8]) -> Result<Vec<u8>> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Document {
        cni_version: &'static str,
        supported_versions: [&'static str; 7],
    }
    // The question may be asked in a version that only the asker knows, or without stdin.
    let asked = match stdin.trim_ascii() {
        [] => Version::NEWEST,
        text => {
            let object = NetConf::parse(text)?;
            let version = json::get(&object, "cniVersion").and_then(Value::as_str);
            version.and_then(Version::parse).unwrap_or(Version::NEWEST)
        }
    };
    Ok(json::pretty(&Document {
        cni_version: asked.as_str(),
        supported_versions: Version::ALL.map(Version::as_str),
    }))
}

/// On stderr, where the reference says it too.
fn introduce(about: &About) {
    let commit = about.commit.filter(|commit| !commit.is_empty());
    let commit = commit.map(|commit| format!(" ({commit})")).unwrap_or_default();
    let _ = writeln!(
        io::stderr(),
        "{}{commit}: {}\nCNI protocol versions supported: {}",
        about.stamp.trim_end(),
        about.does,
        Version::list()
    );
}

/// A panic, which ends the process (panic = "abort"), still answers with one document.
fn answer_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let error = Error::new(code::INTERNAL, "internal error: this is a bug in Ferrule")
            .details(format!("{panic}; DEL removes what this call left"));
        log::error(&error);
        let _ = put(&error.to_json(version_in_use()));
        std::process::exit(1);
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn version(stdin: &str) -> Value {
        serde_json::from_slice(&version_document(stdin.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn version_answers_in_the_version_asked() {
        let all = json!(["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]);
        for (stdin, says) in [
            ("", "1.1.0"),
            ("{\"cniVersion\":\"0.4.0\"}", "0.4.0"),
            ("{\"CNIVersion\":\"0.4.0\"}", "0.4.0"),
            ("{\"cniVersion\":\"9.0.0\"}", "1.1.0"),
            (" {} ", "1.1.0"),
        ] {
            assert_eq!(version(stdin), json!({"cniVersion": says, "supportedVersions": all}));
        }
        assert_eq!(version_document(b"nonsense").unwrap_err().code, code::DECODE);
    }
}
