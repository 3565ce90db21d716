//! What the tuning plugin wants to be: pure functions of the configuration and `prevResult`.

use crate::config::Config;
use attach::{Change, Item, Setting, keys};
use cni::{CniResult, Result};

/// The values of the pod, sysctls first, as the reference sets them.
///
/// # Errors
/// Code 7 where the MTU is too small for an address of the result.
pub fn items(config: &Config, ifname: &str, result: &CniResult) -> Result<Vec<Item>> {
    keys::mtu_fits(config.mtu, result)?;
    let sysctls = config
        .sysctls
        .iter()
        .map(|sysctl| Setting::Sysctl { key: sysctl.path.clone(), value: sysctl.value.clone() });
    let link = || ifname.to_owned();
    let of_link = [
        config.mac.map(|mac| Setting::Mac { link: link(), mac }),
        config.promiscuous.then(|| Setting::Promiscuous { link: link(), on: true }),
        config.mtu.map(|bytes| Setting::Mtu { link: link(), bytes }),
        config.all_multicast.map(|on| Setting::AllMulticast { link: link(), on }),
        config.tx_queue_length.map(|packets| Setting::TxQueueLength { link: link(), packets }),
    ];
    let settings = sysctls.chain(of_link.into_iter().flatten());
    Ok(settings.map(|to| Item::Setting(Change { to, from: None })).collect())
}

/// The result of the plugins before, with the MAC address and the MTU that the interface has now.
pub fn result(config: &Config, ifname: &str, before: &CniResult) -> CniResult {
    let mut result = before.clone();
    for interface in result.interfaces.iter_mut().filter(|interface| interface.name == ifname) {
        if let Some(mac) = config.mac {
            interface.mac = mac.to_string();
        }
        if !interface.sandbox.is_empty() {
            interface.mtu = config.mtu.or(interface.mtu);
        }
    }
    result
}

#[cfg(test)]
mod tests;
