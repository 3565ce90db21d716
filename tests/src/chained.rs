//! Plugins that are chained behind bridge: what the suites that hold all of them to the same begin with.

mod plugins;
mod scene;

pub use plugins::{At, Plugin, bandwidth, firewall, portmap, sbr, tuning};
pub use scene::{Scene, State, inside};

use serde_json::Value;

/// The host's end of a result.
pub fn veth(result: &Value) -> &str {
    let names = result["interfaces"].as_array().into_iter().flatten().map(|link| &link["name"]);
    let mut veths = names.filter_map(Value::as_str).filter(|name| name.starts_with("veth"));
    veths.next().expect("the host's end")
}

/// A module for each function of that name beside it, which takes a [`Plugin`], with a test for each
/// plugin.
#[macro_export]
macro_rules! on_each_chained_plugin {
    ($($test:ident),* $(,)?) => {$(
        mod $test {
            #[test]
            fn tuning() {
                super::$test(&$crate::chained::tuning());
            }
            #[test]
            fn firewall() {
                super::$test(&$crate::chained::firewall());
            }
            #[test]
            fn bandwidth() {
                super::$test(&$crate::chained::bandwidth());
            }
            #[test]
            fn portmap() {
                super::$test(&$crate::chained::portmap());
            }
            #[test]
            fn sbr() {
                super::$test(&$crate::chained::sbr());
            }
        }
    )*};
}
