//! Running another plugin: the spec's section 4, "Plugin Delegation".

use crate::dispatch::Request;
use crate::env::Command;
use crate::error::{Error, Result, code};
use crate::result::CniResult;
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::Deserialize;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};

/// A plugin found on `CNI_PATH`, to be run with our environment.
#[derive(Clone, Debug)]
pub struct Delegate {
    plugin: String,
    path: PathBuf,
}

/// A delegated plugin at work. [`Running::result`] or [`Running::done`] waits for it.
pub struct Running {
    plugin: String,
    child: Child,
}

impl Request {
    /// Finds a plugin to delegate to.
    ///
    /// # Errors
    /// Code 4 without `CNI_PATH`, 7 for a name that is no file name, 104 when it is not there.
    pub fn delegate(&self, plugin: &str) -> Result<Delegate> {
        Ok(Delegate { plugin: plugin.to_owned(), path: find(plugin, &self.env.path)? })
    }
}

impl Delegate {
    /// The plugin's name: `ipam.type`.
    pub fn plugin(&self) -> &str {
        &self.plugin
    }

    /// Starts the plugin for `command`, with the configuration `stdin`.
    ///
    /// # Errors
    /// Code 104 when it cannot be run.
    pub fn start(&self, command: Command, stdin: &[u8]) -> Result<Running> {
        let failed = |error: io::Error| {
            let path = self.path.display();
            Error::new(code::DELEGATE, format!("failed to run plugin {path}"))
                .details(error.to_string())
        };
        let stdin = in_memory(stdin).map_err(failed)?;
        let mut child = std::process::Command::new(&self.path);
        child.env("CNI_COMMAND", command.as_str()).stdin(stdin).stdout(Stdio::piped());
        match child.spawn() {
            Ok(child) => Ok(Running { plugin: self.plugin.clone(), child }),
            Err(error) => Err(failed(error)),
        }
    }
}

impl Running {
    /// Waits for the end of an ADD and reads its result.
    ///
    /// # Errors
    /// The plugin's own error as it is; code 104 when it broke the protocol.
    pub fn result(self) -> Result<CniResult> {
        let plugin = self.plugin.clone();
        let stdout = self.wait()?;
        let wrong = |cause: String| {
            let msg = format!("plugin {plugin} succeeded without a valid result");
            Error::new(code::DELEGATE, msg).details(cause)
        };
        let value = serde_json::from_slice(&stdout).map_err(|error| wrong(error.to_string()))?;
        CniResult::read(&value).map_err(|fault| wrong(fault.to_string()))
    }

    /// Waits for the end of a command without a result.
    ///
    /// # Errors
    /// As [`Running::result`].
    pub fn done(self) -> Result<()> {
        self.wait().map(drop)
    }

    fn wait(mut self) -> Result<Vec<u8>> {
        let mut stdout = Vec::new();
        let read = match self.child.stdout.take() {
            Some(mut pipe) => pipe.read_to_end(&mut stdout).map(drop),
            None => Ok(()),
        };
        let status = self.child.wait();
        let plugin = &self.plugin;
        let status = read.and(status).map_err(|error| {
            Error::new(code::DELEGATE, format!("lost the delegated plugin {plugin}"))
                .details(error.to_string())
        })?;
        if status.success() {
            return Ok(stdout);
        }
        Err(error_document(&stdout).unwrap_or_else(|| {
            let said = String::from_utf8_lossy(&stdout);
            Error::new(code::DELEGATE, format!("netplugin {plugin} failed with no error message"))
                .details(format!("{status}; it wrote {:?}", said.trim()))
        }))
    }
}

fn error_document(stdout: &[u8]) -> Option<Error> {
    #[derive(Deserialize)]
    struct Document {
        code: u32,
        #[serde(default)]
        msg: String,
        #[serde(default)]
        details: String,
    }
    let document: Document = serde_json::from_slice(stdout).ok()?;
    Some(Error { code: document.code, msg: document.msg, details: document.details })
}

/// A file in memory at its start: a child can read it at leisure, while a pipe larger than its
/// buffer would need a thread to feed it.
fn in_memory(content: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(c"cni-stdin", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file)
}

fn find(plugin: &str, path: &[PathBuf]) -> Result<PathBuf> {
    if plugin.is_empty() || plugin.contains('/') || matches!(plugin, "." | "..") {
        return Err(Error::config(format!("invalid plugin name: {plugin:?}"))
            .details("a type names an executable in CNI_PATH, without directories"));
    }
    if path.is_empty() {
        return Err(Error::environment("required env variables [CNI_PATH] missing")
            .details(format!("plugin {plugin} is to be run and must be found in CNI_PATH")));
    }
    let mut cause = "install it there, or mend the type in the configuration".to_owned();
    for file in path.iter().map(|dir| dir.join(plugin)) {
        match file.metadata() {
            Ok(meta) if meta.is_file() && meta.permissions().mode() & 0o111 != 0 => {
                return Ok(file);
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                cause = format!("{}: {error}", file.display());
            }
            _ => {}
        }
    }
    let list: Vec<_> = path.iter().map(|dir| dir.to_string_lossy()).collect();
    let msg = format!("failed to find plugin {plugin:?} in path [{}]", list.join(" "));
    Err(Error::new(code::DELEGATE, msg).details(cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_found_by_name_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ipam");
        std::fs::write(&file, "").unwrap();
        let path = [PathBuf::from("/nonexistent"), dir.path().to_owned()];
        let error = find("ipam", &path).unwrap_err();
        assert!(error.msg.starts_with("failed to find plugin \"ipam\" in path [/nonexistent "));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find("ipam", &path).unwrap(), file);
        assert_eq!(find("../ipam", &path).unwrap_err().code, code::INVALID_CONFIG);
        assert_eq!(find("ipam", &[]).unwrap_err().code, code::INVALID_ENVIRONMENT);
    }

    #[test]
    fn an_error_document_is_passed_as_it_is() {
        let text = br#"{"cniVersion":"1.0.0","code":11,"msg":"later","details":"busy"}"#;
        let error = error_document(text).unwrap();
        assert_eq!((error.code, &*error.msg, &*error.details), (11, "later", "busy"));
        assert_eq!(error_document(b"panic: x"), None);
    }
}
