//! The configuration of the bandwidth plugin.

use attach::keys;
use cni::{Error, Request, Result};
use serde::Deserialize;
use std::path::PathBuf;

/// What a network, or a runtime for one pod, wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `ingressRate` and `ingressBurst`: what the pod receives.
    pub ingress: Option<Limit>,
    /// `egressRate` and `egressBurst`: what the pod sends.
    pub egress: Option<Limit>,
    /// `runDir`.
    pub run_dir: PathBuf,
}

/// One direction's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Bytes in a second.
    pub rate: u64,
    /// Bytes that may pass at once.
    pub burst: u32,
}

/// A list of the four keys. Present ones beside the others of the configuration hide the runtime's.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Keys {
    ingress_rate: Option<u64>,
    ingress_burst: Option<u64>,
    egress_rate: Option<u64>,
    egress_burst: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Runtime {
    bandwidth: Keys,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wire {
    runtime_config: Runtime,
    run_dir: String,
}

impl Keys {
    fn are_absent(&self) -> bool {
        let all = [self.ingress_rate, self.ingress_burst, self.egress_rate, self.egress_burst];
        all.iter().all(Option::is_none)
    }
}

impl Config {
    /// Reads and validates the keys.
    ///
    /// # Errors
    /// Code 7 naming key and value.
    pub fn read(request: &Request) -> Result<Config> {
        let wire: Wire = request.conf.decode()?;
        let inline: Keys = request.conf.decode()?;
        let keys = if inline.are_absent() { wire.runtime_config.bandwidth } else { inline };
        Ok(Config {
            ingress: limit("ingress", keys.ingress_rate, keys.ingress_burst)?,
            egress: limit("egress", keys.egress_rate, keys.egress_burst)?,
            run_dir: keys::run_dir(&wire.run_dir)?,
        })
    }

    /// Whether nothing is limited.
    pub fn is_unlimited(&self) -> bool {
        self.ingress.is_none() && self.egress.is_none()
    }
}

/// One direction's limit from its keys, in bits; 0 stands for none. The messages are the reference's.
fn limit(direction: &str, rate: Option<u64>, burst: Option<u64>) -> Result<Option<Limit>> {
    let invalid = |msg: &str, details: String| Err(Error::config(msg).details(details));
    let (rate, burst) = (rate.unwrap_or_default(), burst.unwrap_or_default());
    match (rate, burst) {
        (0, 0) => return Ok(None),
        (_, 0) => {
            return invalid(
                "if rate is set, burst must also be set",
                format!("{direction}Rate is {rate}; set {direction}Burst, in bits, or remove both"),
            );
        }
        (0, _) => {
            return invalid(
                "if burst is set, rate must also be set",
                format!(
                    "{direction}Burst is {burst}; set {direction}Rate, in bit/s, or remove both"
                ),
            );
        }
        _ => {}
    }
    let bytes = u32::try_from(burst / 8).ok().filter(|bytes| *bytes < u32::MAX);
    let Some(bytes) = bytes else {
        return invalid(
            "burst cannot be more than 4GB",
            format!("{direction}Burst is {burst} bits, and may be 34359738359"),
        );
    };
    for (key, unit, value) in [("Rate", "bit/s", rate), ("Burst", "bits", burst)] {
        if value < 8 {
            return invalid(
                &format!("{direction}{key} is less than a byte"),
                format!("it is {value} {unit}; the kernel counts bytes: set 8 or more"),
            );
        }
    }
    Ok(Some(Limit { rate: rate / 8, burst: bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rate: u64, burst: u64) -> Result<Option<Limit>> {
        limit("ingress", Some(rate), Some(burst))
    }

    fn refused(rate: u64, burst: u64) -> String {
        of(rate, burst).unwrap_err().msg
    }

    #[test]
    fn bits_become_bytes_and_none_is_no_limit() {
        assert_eq!(limit("ingress", None, None), Ok(None));
        assert_eq!(of(0, 0), Ok(None));
        assert_eq!(of(8, 8), Ok(Some(Limit { rate: 1, burst: 1 })));
        assert_eq!(of(1_000_001, 15), Ok(Some(Limit { rate: 125_000, burst: 1 })));
        let widest = Limit { rate: u64::MAX / 8, burst: u32::MAX - 1 };
        assert_eq!(of(u64::MAX, 34_359_738_359), Ok(Some(widest)));
    }

    #[test]
    fn half_a_limit_and_what_the_kernel_cannot_hold_are_refused() {
        assert_eq!(refused(1000, 0), "if rate is set, burst must also be set");
        assert_eq!(refused(0, 1000), "if burst is set, rate must also be set");
        assert_eq!(refused(1000, 34_359_738_360), "burst cannot be more than 4GB");
        assert_eq!(refused(1000, u64::MAX), "burst cannot be more than 4GB");
        assert_eq!(refused(7, 1000), "ingressRate is less than a byte");
        assert_eq!(refused(1000, 7), "ingressBurst is less than a byte");
    }
}
