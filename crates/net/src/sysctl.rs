//! Files below /proc/sys, which show the network namespace of the thread that opens them.

use netlink::{Error, Result};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};

fn path(key: &str) -> String {
    format!("/proc/sys/{key}")
}

/// Where a container may have a writable /proc/sys/net: its own is read-only, and the runtime lets it
/// mount nothing inside of /proc. A file there shows the network namespace of the thread that opens it
/// too, wherever it is mounted (`net_ctl_header_lookup` of the kernel).
fn path_in_container(key: &str) -> String {
    format!("/host/proc/sys/{key}")
}

fn open_to_write(key: &str) -> io::Result<File> {
    let open = |path| OpenOptions::new().write(true).open(path);
    open(path(key)).or_else(|error| match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => open(path_in_container(key)).map_err(|_| error),
        _ => Err(error),
    })
}

/// Reads a value, such as `net/ipv4/ip_forward`, without its newline; `None` where the kernel or
/// the device does not have it.
///
/// # Errors
/// The file exists and cannot be read.
pub fn get(key: &str) -> Result<Option<String>> {
    crate::not_astray()?;
    match fs::read_to_string(path(key)) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) => {
            let error = Error::io(format!("read sysctl {key}"), &error);
            if error.is_gone() { Ok(None) } else { Err(error) }
        }
    }
}

/// Sets a value. One that is set already is not written, so that a read-only /proc/sys that holds
/// what is wanted serves.
///
/// # Errors
/// The kernel or the device does not have it, or it cannot be written.
pub fn set(key: &str, value: &str) -> Result<()> {
    if get(key)?.as_deref() == Some(value) {
        return Ok(());
    }
    write(key, value)
}

/// Sets a value without looking at the present one.
///
/// # Errors
/// The kernel or the device does not have it, or it cannot be written.
pub fn write(key: &str, value: &str) -> Result<()> {
    crate::not_astray()?;
    open_to_write(key).and_then(|mut file| file.write_all(value.as_bytes())).map_err(|error| {
        let shown = Some(value.trim_end()).filter(|text| !text.is_empty()).unwrap_or("\"\"");
        Error::io(format!("set sysctl {key} to {shown}"), &error)
    })
}

/// Whether a value can be set at all; it cannot where /proc/sys is mounted read-only.
pub fn is_writable(key: &str) -> bool {
    crate::not_astray().is_ok() && open_to_write(key).is_ok()
}
