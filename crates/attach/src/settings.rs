//! Sysctls of links.

use crate::{Item, Place, Sysctl};

/// Router advertisements from pods do not reach the node (CVE-2020-10749).
pub fn accept_ra(link: &str) -> Item {
    sysctl(Place::Host, "ipv6/conf/*/accept_ra", link, "0", true)
}

/// A pod takes addresses and routes from its network alone, and none from what its neighbours send:
/// router advertisements and redirects (CVE-2020-10749). Of IPv4 a host that does not forward takes
/// redirects if either the link's value or that of `all` is 1 (include/linux/inetdevice.h,
/// IN_DEV_RX_REDIRECTS).
pub fn own_routes_only(pod: &str) -> [Item; 4] {
    let off = |key, link| sysctl(Place::Pod, key, link, "0", true);
    [
        off("ipv6/conf/*/accept_ra", pod),
        off("ipv6/conf/*/accept_redirects", pod),
        off("ipv4/conf/*/accept_redirects", pod),
        off("ipv4/conf/*/accept_redirects", "all"),
    ]
}

/// A link's sysctl, its name in the place of `*`.
pub fn sysctl(place: Place, key: &str, link: &str, value: &'static str, optional: bool) -> Item {
    Item::Sysctl(Sysctl {
        place,
        key: format!("net/{}", key.replacen('*', link, 1)),
        value: value.into(),
        optional,
    })
}
