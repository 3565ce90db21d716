//! Values of a configuration. Each reader returns the value, or what to write instead.

use super::Value;
use ipnetwork::IpNetwork;
use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Component, PathBuf};

/// A text.
pub fn text<'v>(value: &'v Value) -> Result<&'v str, String> {
    value.as_str().ok_or_else(|| "write a text in quotes".to_owned())
}

/// `true` or `false`.
pub fn boolean(value: &Value) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| "write true or false".to_owned())
}

/// A whole number from `least` to `most`.
pub fn number<T>(least: T, most: T) -> impl Fn(&Value) -> Result<T, String>
where
    T: TryFrom<i64> + PartialOrd + Display + Copy,
{
    move |value| {
        let number = value.as_integer();
        let number = number.and_then(|it| i64::from_str_radix(it.as_str(), it.radix()).ok());
        let number = number.and_then(|it| T::try_from(it).ok());
        let number = number.filter(|it| *it >= least && *it <= most);
        number.ok_or_else(|| format!("write a number from {least} to {most}"))
    }
}

/// A CIDR without host bits that overlaps none of those before it: an nftables set of intervals
/// refuses overlaps.
pub fn cidr(value: &Value, before: &[IpNetwork]) -> Result<IpNetwork, String> {
    let text = text(value)?;
    let cidr = text.parse::<IpNetwork>().ok().filter(|_| text.contains('/'));
    let cidr = cidr.ok_or("write a CIDR, as \"10.244.0.0/16\" or \"fd00:10:244::/48\"")?;
    let right = IpNetwork::new(cidr.network(), cidr.prefix()).unwrap_or(cidr);
    if right != cidr {
        return Err(format!("it has host bits set; write \"{right}\""));
    }
    let overlaps =
        |other: &&IpNetwork| other.contains(cidr.network()) || cidr.contains(other.network());
    match before.iter().find(overlaps) {
        Some(other) => Err(format!("it overlaps {other}; write the larger one alone")),
        None => Ok(cidr),
    }
}

/// An absolute path.
pub fn path(value: &Value) -> Result<PathBuf, String> {
    let path = PathBuf::from(text(value)?);
    let plain = path.is_absolute() && !path.as_os_str().as_encoded_bytes().contains(&0);
    plain.then_some(path).ok_or_else(|| "write a path that begins with /".to_owned())
}

/// An absolute path of a folder that the daemon may own: not `/`, and without `..`.
pub fn folder(value: &Value) -> Result<PathBuf, String> {
    let path = path(value)?;
    let deep = path.components().any(|part| matches!(part, Component::Normal(_)));
    let straight = !path.components().any(|part| part == Component::ParentDir);
    (deep && straight)
        .then_some(path)
        .ok_or_else(|| "write a folder of Ferrule's own, without ..".to_owned())
}

/// A [`folder`] for the control socket of this name.
pub fn socket_folder(socket: &str) -> impl Fn(&Value) -> Result<PathBuf, String> {
    let limit = crate::control::folder_limit(socket);
    move |value| {
        let path = folder(value)?;
        if path.as_os_str().len() > limit {
            return Err(format!("a socket's path is limited; write one of at most {limit} bytes"));
        }
        Ok(path)
    }
}

/// This node's name.
pub fn node_name(value: &Value) -> Result<String, String> {
    let name = text(value)?;
    let odd = |c: char| c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > 253 || name.contains(odd) {
        return Err("write this node's name as the node set has it, 1 to 253 bytes without \
                    spaces, or leave it out for the host's name"
            .to_owned());
    }
    Ok(name.to_owned())
}

/// The name of an interface that the kernel accepts (`dev_valid_name`).
pub fn interface(value: &Value) -> Result<String, String> {
    let name = text(value)?;
    let odd = |c: char| c.is_whitespace() || c.is_control() || c == '/' || c == ':' || c == '%';
    if name.is_empty() || name.len() > 15 || name == "." || name == ".." || name.contains(odd) {
        return Err("write an interface's name, 1 to 15 bytes, as \"eth0\"".to_owned());
    }
    Ok(name.to_owned())
}

/// An address and a port to listen on for metrics.
pub fn listen(value: &Value) -> Result<SocketAddr, String> {
    let listen = text(value)?.parse::<SocketAddr>().ok().filter(|listen| listen.port() != 0);
    listen.ok_or_else(|| {
        "write an address and a port, as \"127.0.0.1:9478\" or \"[::1]:9478\"".to_owned()
    })
}
