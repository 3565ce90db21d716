//! From JSON and `CNI_ARGS` to options that can be sent. The keys are the reference's.

use crate::message::option;
use cni::json::{self, Fault};
use cni::{Args, Error, Request, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;

/// Where the daemon listens, unless the configuration names another place.
pub const SOCKET: &str = "/run/cni/dhcp.sock";
/// Where the daemon keeps its leases, unless its command line names another place.
pub const STATE: &str = "/var/lib/ferrule/dhcp";

/// The configuration of this plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `daemonSocketPath`.
    pub socket: PathBuf,
    /// `daemonStatePath`.
    pub state: PathBuf,
    /// What the client asks for and says of itself.
    pub options: Options,
    /// `priority`: the metric of all routes.
    pub priority: Option<u32>,
}

/// The options of a client's messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Codes that servers are asked for, the most wanted first.
    pub requested: Vec<u8>,
    /// Codes and values.
    pub provided: Vec<(u8, String)>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Raw {
    daemon_socket_path: String,
    daemon_state_path: String,
    provide: Vec<Provide>,
    request: Vec<Wanted>,
    priority: i64,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Provide {
    option: Value,
    value: String,
    from_arg: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wanted {
    skip_default: bool,
    option: Value,
}

/// Options by the names of dhcp-options(5), as the reference knows them; and those whose values go
/// into the result.
const NAMES: [(&str, u8); 9] = [
    ("dhcp-client-identifier", option::CLIENT),
    ("subnet-mask", option::SUBNET_MASK),
    ("routers", option::ROUTER),
    ("host-name", option::HOST_NAME),
    ("user-class", option::USER_CLASS),
    ("vendor-class-identifier", option::VENDOR_CLASS),
    ("domain-name-servers", option::DOMAIN_NAME_SERVER),
    ("domain-name", option::DOMAIN_NAME),
    ("domain-search", option::DOMAIN_SEARCH),
];

/// What each message holds by itself; a value of another kind would break the exchange.
const OWN: [u8; 6] = [
    option::REQUESTED_ADDRESS,
    option::OVERLOAD,
    option::MESSAGE_TYPE,
    option::SERVER,
    option::PARAMETERS,
    option::MAX_SIZE,
];

impl Config {
    /// Reads and validates the configuration of a request.
    ///
    /// # Errors
    /// Code 7 naming the key and the value.
    pub fn load(request: &Request) -> Result<Config> {
        let Some(ipam) = json::get(&request.conf.object, "ipam") else {
            return Err(Error::config("IPAM config missing 'ipam' key")
                .details("set ipam, as {\"type\": \"dhcp\"}"));
        };
        let raw: Raw = json::decode(ipam).map_err(|fault| invalid(&fault))?;
        let priority = u32::try_from(raw.priority).map_err(|_| {
            Error::config(format!("invalid ipam.priority {}", raw.priority))
                .details("a metric of routes is 1 to 4294967295, or 0 for none")
        })?;
        let options = Options {
            requested: requested(&raw.request)?,
            provided: provided(&raw.provide, &request.env.args)?,
        };
        let path =
            |text: &str, default: &str| PathBuf::from(if text.is_empty() { default } else { text });
        Ok(Config {
            socket: path(&raw.daemon_socket_path, SOCKET),
            state: path(&raw.daemon_state_path, STATE),
            options,
            priority: Some(priority).filter(|priority| *priority > 0),
        })
    }

    /// The places alone, of a configuration that may be broken elsewhere: all that DEL needs.
    pub fn places(request: &Request) -> (PathBuf, PathBuf) {
        let ipam = json::get(&request.conf.object, "ipam").and_then(Value::as_object);
        let text = |key: &str, default: &str| {
            let text = ipam.and_then(|ipam| json::get(ipam, key)).and_then(Value::as_str);
            PathBuf::from(text.filter(|text| !text.is_empty()).unwrap_or(default))
        };
        (text("daemonSocketPath", SOCKET), text("daemonStatePath", STATE))
    }
}

fn invalid(fault: &Fault) -> Error {
    let fault = fault.clone().under("ipam");
    Error::config("invalid network configuration").details(fault.to_string())
}

/// The options to request: those named, and router and subnet mask unless an entry skips these.
fn requested(entries: &[Wanted]) -> Result<Vec<u8>> {
    let mut codes = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        if !is_absent(&entry.option) {
            codes.push(code(&entry.option, &format!("ipam.request[{index}].option"))?);
        }
    }
    if !entries.iter().any(|entry| entry.skip_default) {
        codes.extend([option::ROUTER, option::SUBNET_MASK]);
    }
    let mut once = Vec::new();
    codes.into_iter().for_each(|code| {
        if !once.contains(&code) {
            once.push(code);
        }
    });
    Ok(once)
}

/// The options to send. A value of `CNI_ARGS` replaces the configured one; an entry without either is
/// not sent.
fn provided(entries: &[Provide], args: &Args) -> Result<Vec<(u8, String)>> {
    let mut all: Vec<(u8, String)> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let place = format!("ipam.provide[{index}].option");
        let code = code(&entry.option, &place)?;
        if OWN.contains(&code) {
            return Err(Error::config(format!(
                "option {} cannot be provided",
                shown(&entry.option)
            ))
            .details(format!("{place}: each message has its own; leave the entry out")));
        }
        let by_args = args.get(&entry.from_arg).filter(|_| !entry.from_arg.is_empty());
        let configured = Some(entry.value.as_str()).filter(|value| !value.is_empty());
        let Some(value) = by_args.or(configured) else { continue };
        if value.len() > 255 {
            let msg = format!("value too long for option {:?}: {value:?}", shown(&entry.option));
            return Err(Error::config(msg)
                .details(format!("{place}: it has {} bytes and may have 255", value.len())));
        }
        all.retain(|(other, _)| *other != code);
        all.push((code, value.to_owned()));
    }
    Ok(all)
}

fn is_absent(option: &Value) -> bool {
    option.is_null() || option.as_str().is_some_and(str::is_empty)
}

fn shown(option: &Value) -> String {
    option.as_str().map_or_else(|| option.to_string(), str::to_owned)
}

/// An option's code, by its name or number.
fn code(option: &Value, place: &str) -> Result<u8> {
    let text = shown(option);
    let named = NAMES.iter().find(|(name, _)| *name == text).map(|(_, code)| *code);
    let code = named.or_else(|| text.parse().ok());
    code.filter(|code| (1..=254).contains(code)).ok_or_else(|| {
        let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
        Error::config(format!("Can not parse option {text:?}"))
            .details(format!("{place}: use a number from 1 to 254, or one of {}", names.join(", ")))
    })
}

#[cfg(test)]
mod tests;
