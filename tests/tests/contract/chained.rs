//! What every plugin promises that is chained behind another. Each test runs once for every plugin of
//! [`plugins`].

/// A module for each function of that name here, with a test for each plugin.
macro_rules! on_each_chained_plugin {
    ($($test:ident),* $(,)?) => {$(
        mod $test {
            #[test]
            fn tuning() {
                super::$test(&crate::chained::plugins::tuning());
            }

            #[test]
            fn firewall() {
                super::$test(&crate::chained::plugins::firewall());
            }

            #[test]
            fn bandwidth() {
                super::$test(&crate::chained::plugins::bandwidth());
            }
        }
    )*};
}

mod check;
mod del;
mod failure;
mod gc;
mod plugins;
mod scene;
mod versions;
