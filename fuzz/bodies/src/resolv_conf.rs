//! The file that `resolvConf` names.

use cni::Dns;
use host_local::resolv::parse;
use std::fmt::Write;

/// Its content.
pub fn resolv_conf(data: &[u8]) {
    let dns = parse(&String::from_utf8_lossy(data));
    assert_eq!(parse(&written(&dns)), dns);
}

fn written(dns: &Dns) -> String {
    let mut text = String::new();
    for server in &dns.nameservers {
        let _ = writeln!(text, "nameserver {server}");
    }
    for (key, values) in [("search", &dns.search), ("options", &dns.options)] {
        let _ = writeln!(text, "{key} {}", values.join(" "));
    }
    let _ = writeln!(text, "domain {}", dns.domain);
    text
}
