//! The configuration of the firewall plugin.

use attach::keys;
use cni::{Error, Request, Result, code, log};
use serde::Deserialize;
use std::path::PathBuf;

/// What a network wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `ingressPolicy`.
    pub policy: Policy,
    /// `iptablesAdminChainName`.
    pub admin: String,
    /// `runDir`.
    pub run_dir: PathBuf,
}

/// Which packets between bridges are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// None.
    Open,
    /// Those between two bridges with a policy.
    SameBridge,
    /// Also those between the pods of a bridge.
    Isolated,
}

impl Policy {
    /// As the key has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Policy::Open => "open",
            Policy::SameBridge => "same-bridge",
            Policy::Isolated => "isolated",
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    backend: String,
    firewalld_zone: String,
    iptables_admin_chain_name: String,
    ingress_policy: String,
    run_dir: String,
}

const DEFAULT_ADMIN: &str = "CNI-ADMIN";

/// The longest name of a chain that iptables takes (XT_EXTENSION_MAXNAMELEN without the NUL).
const CHAIN_NAME_MAX: usize = 28;

/// Chains of iptables' table `filter` that the administrator's cannot be, and verdicts: what
/// `iptables-save` lists as `-j DROP` drops everything once it is restored.
const TAKEN: [&str; 8] =
    ["INPUT", "FORWARD", "OUTPUT", "CNI-FORWARD", "ACCEPT", "DROP", "RETURN", "QUEUE"];

impl Config {
    /// Reads and validates the keys.
    ///
    /// # Errors
    /// Code 7 naming key and value; code 2 for firewalld.
    pub fn read(request: &Request) -> Result<Config> {
        let wire: Wire = request.conf.decode()?;
        backend(&wire.backend, &wire.firewalld_zone)?;
        let policy = policy(&wire.ingress_policy)?;
        let admin = admin(&wire.iptables_admin_chain_name)?;
        Ok(Config { policy, admin, run_dir: keys::run_dir(&wire.run_dir)? })
    }
}

fn backend(backend: &str, zone: &str) -> Result<()> {
    match backend {
        "firewalld" => {
            return Err(Error::new(code::UNSUPPORTED_FIELD, "backend \"firewalld\" is not served")
                .details(
                    "Ferrule sets rules of nf_tables itself, also in firewalld's table; remove \
                     backend, or set it to iptables. Zones of firewalld stay firewalld's matter: \
                     firewall-cmd --zone=trusted --add-source=SUBNET",
                ));
        }
        "" | "iptables" | "nftables" => {}
        other => log::warn(&format!(
            "unknown backend {other:?}: rules are set in nf_tables; remove backend, or set it to \
             iptables"
        )),
    }
    if !zone.is_empty() {
        log::warn(&format!(
            "firewalldZone {zone:?} has no effect: firewalld is not asked; remove the key, or put \
             the subnet into the zone: firewall-cmd --zone={zone} --add-source=SUBNET"
        ));
    }
    Ok(())
}

fn policy(policy: &str) -> Result<Policy> {
    match policy {
        "" | "open" => Ok(Policy::Open),
        "same-bridge" => Ok(Policy::SameBridge),
        "isolated" => Ok(Policy::Isolated),
        other => Err(Error::config(format!("unknown ingress policy: {other:?}"))
            .details("ingressPolicy is open, same-bridge or isolated")),
    }
}

fn admin(name: &str) -> Result<String> {
    let wrong = |why: &str| {
        Err(Error::config(format!("invalid iptablesAdminChainName {name:?}")).details(why))
    };
    match name {
        "" => Ok(DEFAULT_ADMIN.to_owned()),
        taken if TAKEN.contains(&taken) => {
            wrong("this name has a purpose already; choose another one")
        }
        long if long.len() > CHAIN_NAME_MAX => wrong("a chain's name has at most 28 bytes"),
        odd if !odd.bytes().all(|byte| byte.is_ascii_graphic()) || odd.starts_with(['-', '!']) => {
            wrong("a chain's name is ASCII without spaces, and does not begin with - or !")
        }
        name => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests;
