//! What every network promises, tried on each: DEL in every circumstance, CHECK after every single
//! alteration, failed ADDs, GC and STATUS. Each test runs once for every network of [`networks`]. The
//! same of every plugin that is chained behind one, [`chained`].
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

use ferrule_tests::on_each_chained_plugin as on_each_plugin;

/// A module for each function of that name here, with a test for each network.
macro_rules! on_each_network {
    ($($test:ident),* $(,)?) => {$(
        mod $test {
            #[test]
            fn bridge() {
                super::$test(&crate::networks::bridge());
            }
            #[test]
            fn vxlan() {
                super::$test(&crate::networks::vxlan());
            }
            #[test]
            fn bgp() {
                super::$test(&crate::networks::bgp());
            }
        }
    )*};
}

mod chained;
mod check;
mod del;
mod dhcp;
mod failure;
mod gc;
mod networks;
