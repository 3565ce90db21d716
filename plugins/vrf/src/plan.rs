//! What must exist: pure functions of the configuration.

use crate::config::Config;
use attach::chain::Chained;
use attach::{Item, VrfPort};
use cni::{CniResult, Request, Result};
use std::path::Path;

impl Chained for Config {
    const NAME: &'static str = "vrf";

    fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    fn plan(&self, request: &Request, _: &CniResult, _: &str) -> Result<Vec<Item>> {
        let (link, vrf) = (request.env.ifname.clone(), self.name.clone());
        Ok(vec![Item::VrfPort(VrfPort { link, vrf, table: self.table })])
    }
}
