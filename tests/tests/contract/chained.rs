//! What every plugin promises that is chained behind another. Each test runs once for every plugin of
//! [`ferrule_tests::chained`].

mod check;
mod del;
mod failure;
mod gc;
mod versions;
