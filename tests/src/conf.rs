//! Configurations that the suites start from.

use serde_json::{Value, json};

use crate::invoke::merged;

/// The bridge of all configurations here.
pub const BRIDGE: &str = "cni0";
/// The IPv4 gateway of [`v4`] and [`dual`].
pub const GATEWAY4: &str = "10.1.0.1";
/// The IPv6 gateway of [`v6`] and [`dual`].
pub const GATEWAY6: &str = "fd00:1::1";

/// The specification version that the suites speak: the newest, or `$FERRULE_CNI_VERSION`
/// (for a run against executables that are older).
pub fn version() -> String {
    std::env::var("FERRULE_CNI_VERSION").unwrap_or_else(|_| "1.1.0".to_owned())
}

/// A bridge without IPAM.
pub fn l2() -> Value {
    json!({"cniVersion": version(), "name": "pods", "type": "bridge", "bridge": BRIDGE})
}

/// A routed IPv4 network.
pub fn v4() -> Value {
    with_ipam(&json!({
        "ranges": [[{"subnet": "10.1.0.0/24"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }))
}

/// A routed IPv6 network.
pub fn v6() -> Value {
    with_ipam(&json!({
        "ranges": [[{"subnet": "fd00:1::/64"}]],
        "routes": [{"dst": "::/0"}],
    }))
}

/// A routed network of both families.
pub fn dual() -> Value {
    with_ipam(&json!({
        "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
    }))
}

/// [`dual`], masqueraded, with a check of MAC addresses.
pub fn full() -> Value {
    with(&dual(), &json!({"ipMasq": true, "macspoofchk": true}))
}

/// host-local alone over some ranges.
pub fn host_local(ranges: &Value) -> Value {
    json!({
        "cniVersion": version(),
        "name": "pods",
        "type": "host-local",
        "ipam": {"type": "host-local", "ranges": ranges},
    })
}

/// `base` with the keys of `over` put in; null removes one.
pub fn with(base: &Value, over: &Value) -> Value {
    merged(base, over)
}

fn with_ipam(ipam: &Value) -> Value {
    let kind = merged(&json!({"type": "host-local"}), ipam);
    merged(&l2(), &json!({"isGateway": true, "ipam": kind}))
}
