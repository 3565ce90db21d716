//! `ipMasqExclude`: destinations that see the pods' own addresses.

use cni::{Error, Result, log};
use ipnetwork::IpNetwork;

/// `ipMasqExclude`: the networks of the list, in which order and repetitions do not matter. `used`:
/// masquerade is on.
///
/// # Errors
/// Code 7 with the value.
pub fn masquerade_exclude(list: &[String], used: bool) -> Result<Vec<IpNetwork>> {
    if !list.is_empty() && !used {
        log::warn("ipMasqExclude has no effect without ipMasq");
    }
    list.iter().map(|text| network(text)).collect()
}

fn network(text: &str) -> Result<IpNetwork> {
    let invalid = |details: String| {
        Err(Error::config(format!("invalid ipMasqExclude {text:?}")).details(details))
    };
    let Some(network) = text.parse::<IpNetwork>().ok().filter(|_| text.contains('/')) else {
        return invalid("write a CIDR, as \"192.0.2.0/24\" or \"2001:db8::/32\"".to_owned());
    };
    let (first, prefix) = (network.network(), network.prefix());
    if network.ip() != first {
        return invalid(format!("it has host bits set; write \"{first}/{prefix}\""));
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_of_both_families_are_read() {
        let list = ["192.0.2.0/24", "2001:db8::/32", "0.0.0.0/0"].map(str::to_owned);
        let wanted: Vec<IpNetwork> = list.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(masquerade_exclude(&list, true), Ok(wanted));
    }

    #[test]
    fn what_is_no_network_is_refused_by_its_value() {
        for text in ["", "192.0.2.1", "192.0.2.0/33", "192.0.2.1/24", "2001:db8::1/32", "x/8"] {
            let error = masquerade_exclude(&[text.to_owned()], true).unwrap_err();
            assert_eq!(error.code, cni::code::INVALID_CONFIG);
            assert!(error.to_string().contains(&format!("ipMasqExclude {text:?}")), "{error}");
        }
    }
}
