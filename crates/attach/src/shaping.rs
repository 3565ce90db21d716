//! Rate limits: a token bucket filter on what a link sends, and an IFB device through which all passes
//! that a link receives.

use crate::compare::{Differences, differs, missing};
use crate::item::{Ifb, Place, RateLimit, Redirect};
use crate::kernel::{Error, Kernel, Result};
use crate::owned::Owned;
use cni::Label;
use net::qdisc::{
    self, Bucket, INGRESS, INGRESS_HANDLE, Qdisc, ROOT, TBF_HANDLE, TICK_NS, Tbf, TbfReport,
};
use net::{Link, filter, link, sysctl};

/// How long a full bucket's worth beyond the burst may wait, in milliseconds: the reference's latency.
const LATENCY_MS: u64 = 25;

impl RateLimit {
    /// The filter. What may wait is the reference's: what passes in 25 ms, and a burst.
    fn tbf(&self) -> Tbf {
        let waiting = self.rate.saturating_mul(LATENCY_MS) / 1000;
        let limit = u32::try_from(waiting.saturating_add(self.burst.into())).unwrap_or(u32::MAX);
        Tbf { rate: self.rate, bucket: self.bucket(), limit }
    }

    /// The bucket: as the reference has it, in ticks of whole microseconds, where that is off by less
    /// than a thousandth; otherwise exact.
    fn bucket(&self) -> Bucket {
        let ticks = self.reference_ticks();
        let bytes = u128::from(ticks) * u128::from(TICK_NS) * u128::from(self.rate) / 1_000_000_000;
        let lost = u128::from(self.burst).abs_diff(bytes);
        if lost * 1000 < u128::from(self.burst) {
            Bucket::Ticks(ticks)
        } else {
            Bucket::Bytes(self.burst)
        }
    }

    /// The time in which the rate fills the bucket, as the reference tells it: what is above 32 bits is
    /// lost, first of the microseconds, then of the ticks.
    fn reference_ticks(&self) -> u32 {
        let microseconds = u128::from(self.burst) * 1_000_000 / u128::from(self.rate.max(1));
        (u64::from(microseconds as u32) * 1000 / TICK_NS) as u32
    }

    /// Whether a bucket is of our size, but for the kernel's rounding, or of the reference's.
    fn is_of_burst(&self, ticks: u32) -> bool {
        let time = u128::from(self.rate.max(1)) * u128::from(TICK_NS);
        let exact = u128::from(self.burst) * 1_000_000_000 / time;
        // The kernel multiplies by a factor of 32 bits (net/sched/sch_generic.c,
        // psched_ratecfg_precompute).
        let rounding = 1 + (exact >> 30) as u32;
        ticks == self.reference_ticks() || distance(exact as u32, ticks) <= rounding
    }

    /// Whether a queue is of our length, or of the reference's, which wraps in 32 bits.
    fn is_of_limit(&self, limit: u32) -> bool {
        let waiting = self.rate.saturating_mul(LATENCY_MS) / 1000;
        limit == self.tbf().limit || limit == (waiting as u32).wrapping_add(self.burst)
    }

    fn compare(&self, found: &TbfReport) -> Differences {
        let bits = |bytes: u64| u128::from(bytes) * 8;
        let mut all = differs("rate in bit/s", bits(found.rate), bits(self.rate));
        // The bucket is measured in time: at another rate it tells nothing of the burst.
        if all.is_empty() && !self.is_of_burst(found.ticks) {
            let nanoseconds = u128::from(found.ticks) * u128::from(TICK_NS);
            let burst = nanoseconds * u128::from(found.rate) / 1_000_000_000;
            all.extend(differs("burst in bytes", burst, self.burst.into()));
        }
        if !self.is_of_limit(found.limit) {
            all.extend(differs("limit in bytes", found.limit, self.tbf().limit));
        }
        all
    }
}

/// What an IFB device with a mark tells of, each with the mark: itself, and before it what is on the
/// host's end of its attachment, which can carry none.
pub(crate) fn marked(ifb: &Link) -> Vec<(String, Owned)> {
    let name = ifb.name.clone();
    let mut owned = Vec::new();
    if let Some(label) = Label::read(&ifb.alias) {
        let host = format!("veth{}", label.hash.get(..11).unwrap_or_default());
        owned.push(Owned::RateLimit { link: host.clone() });
        owned.push(Owned::Redirect { from: host, to: name.clone() });
    }
    owned.push(Owned::Ifb { name });
    owned.into_iter().map(|owned| (ifb.alias.clone(), owned)).collect()
}

/// How far two counters that wrap are from each other.
fn distance(a: u32, b: u32) -> u32 {
    a.wrapping_sub(b).min(b.wrapping_sub(a))
}

/// Names the module of a kind that the kernel does not have: that is ENOENT, or EOPNOTSUPP of a link.
fn unless_missing(error: net::Error, what: &str, module: &str) -> Error {
    if error.errno != net::ENOENT && !error.is_unsupported() {
        return error.into();
    }
    Error::Unsupported(format!(
        "the kernel has no {what}: load the module {module}, or install the package that has it \
         (linux-modules-extra, kernel-modules-extra); {error}"
    ))
}

fn is_tbf(qdisc: &Qdisc) -> bool {
    qdisc.kind == "tbf" && qdisc.handle == TBF_HANDLE
}

impl Kernel {
    /// Makes an IFB device, down. One of its name without an
    /// alias, or with ours, is left of a call that was killed, or the reference's for the same
    /// container: it is made anew.
    pub(crate) fn add_ifb(&mut self, ifb: &Ifb) -> Result<()> {
        if let Some(left) = self.own_ifb(&ifb.name, &ifb.alias)? {
            self.remove_link(&left)?;
        }
        let made = self.host.set(&link::add_ifb(&ifb.name, ifb.mac.unwrap_or_default(), ifb.mtu));
        made.map_err(|error| unless_missing(error, "IFB devices", "ifb"))?;
        let index = self.index(Place::Host, &ifb.name)?;
        self.host.set(&link::set_alias(index, &ifb.alias, &ifb.name))?;
        // It has no use for addresses; each link-local one costs all others time.
        match sysctl::write(&format!("net/ipv6/conf/{}/disable_ipv6", ifb.name), "1") {
            Err(error) if !error.is_gone() && !error.is_read_only() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The IFB device of a name, if it is the attachment's or has no mark.
    fn own_ifb(&mut self, name: &str, alias: &str) -> Result<Option<Link>> {
        let Some(link) = self.link(Place::Host, name)? else { return Ok(None) };
        let mark = |alias: &str| alias.split(' ').take(2).map(str::to_owned).collect::<Vec<_>>();
        if link.kind != "ifb" || !(link.alias.is_empty() || mark(&link.alias) == mark(alias)) {
            return Err(Error::Conflict(format!(
                "link {name} is in use: it is a {} with the alias {:?}; remove it",
                link.kind, link.alias
            )));
        }
        Ok(Some(link))
    }

    pub(crate) fn check_ifb(&mut self, ifb: &Ifb) -> Result<Differences> {
        let Some(link) = self.link(Place::Host, &ifb.name)? else { return Ok(missing()) };
        let mut all = differs("kind", link.kind.as_str(), "ifb");
        all.extend(differs("MTU", link.mtu, ifb.mtu));
        all.extend(ifb.mac.map_or_else(Vec::new, |mac| differs("MAC address", link.mac, mac)));
        if !ifb.alias.is_empty() {
            all.extend(differs("alias", &link.alias, &ifb.alias));
        }
        Ok(all)
    }

    /// Removes an IFB device that carries the mark, or none. One of another attachment, such as that of
    /// another interface of the container, is left alone.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_ifb(&mut self, name: &str, mark: &str) -> Result<()> {
        match self.own_ifb(name, mark) {
            Ok(Some(link)) => self.remove_link(&link),
            Ok(None) | Err(Error::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Limits what a link sends. A filter of our handle is left of a call that was killed, or the
    /// reference's.
    pub(crate) fn add_rate_limit(&mut self, limit: &RateLimit) -> Result<()> {
        let (index, name) = (self.index(Place::Host, &limit.link)?, &limit.link);
        let missing = |error| unless_missing(error, "token bucket filters", "sch_tbf");
        match self.host.set(&qdisc::add_tbf(index, &limit.tbf(), name)) {
            Err(error) if error.is_exists() => {}
            done => return done.map_err(missing),
        }
        match self.host.get(&qdisc::at(index, ROOT, name))? {
            Some(found) if !is_tbf(&found) => Err(Error::Conflict(format!(
                "{name} has a root qdisc of another program, {} {:x}:; remove it: tc qdisc del dev \
                 {name} root",
                found.kind,
                found.handle >> 16
            ))),
            _ => self.host.set(&qdisc::replace_tbf(index, &limit.tbf(), name)).map_err(missing),
        }
    }

    pub(crate) fn check_rate_limit(&mut self, limit: &RateLimit) -> Result<Differences> {
        let index = self.index(Place::Host, &limit.link)?;
        let found = self.host.get(&qdisc::at(index, ROOT, &limit.link))?;
        Ok(match found.filter(is_tbf).and_then(|found| found.tbf) {
            None => missing(),
            Some(found) => limit.compare(&found),
        })
    }

    /// Removes a limit of ours from a link that lives on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_rate_limit(&mut self, name: &str) -> Result<()> {
        let Some(link) = self.link(Place::Host, name)? else { return Ok(()) };
        let found = self.host.get(&qdisc::at(link.index, ROOT, name))?;
        if !found.as_ref().is_some_and(is_tbf) {
            return Ok(());
        }
        self.remove_qdisc(&link, (TBF_HANDLE, ROOT))
    }

    /// Of a qdisc that is gone the kernel says EINVAL, or ENOENT.
    fn remove_qdisc(&mut self, link: &Link, (handle, parent): (u32, u32)) -> Result<()> {
        match self.host.set(&qdisc::del(link.index, handle, parent, &link.name)) {
            Err(error) if !error.is_gone() => {
                match self.host.get(&qdisc::at(link.index, parent, &link.name))? {
                    Some(found) if found.handle == handle => Err(error.into()),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Sends all that a link receives through another. What redirects to this one, or to a link that is
    /// gone, is left of an earlier call, or the reference's: it is made anew.
    pub(crate) fn add_redirect(&mut self, redirect: &Redirect) -> Result<()> {
        self.remove_redirect(&redirect.from, &redirect.to)?;
        let (from, to) = (&redirect.from, self.index(Place::Host, &redirect.to)?);
        let index = self.index(Place::Host, from)?;
        if let Err(error) = self.host.set(&qdisc::add_ingress(index, from)) {
            return Err(match self.host.get(&qdisc::at(index, INGRESS, from))? {
                Some(found) if error.is_exists() => Error::Conflict(format!(
                    "{from} has a qdisc {} of another program; remove it: tc qdisc del dev {from} {}",
                    found.kind, found.kind
                )),
                _ => unless_missing(error, "ingress qdisc", "sch_ingress"),
            });
        }
        let added = self.host.set(&filter::redirect(index, to, from));
        added.map_err(|error| {
            unless_missing(error, "u32 filters or mirred actions", "cls_u32 and act_mirred")
        })
    }

    pub(crate) fn check_redirect(&mut self, redirect: &Redirect) -> Result<Differences> {
        let from = self.index(Place::Host, &redirect.from)?;
        let to = self.index(Place::Host, &redirect.to)?;
        if self.host.get(&qdisc::at(from, INGRESS, &redirect.from))?.is_none() {
            return Ok(missing());
        }
        let filters = self.host.list(&filter::of_ingress(from, &redirect.from))?;
        Ok(match &filters[..] {
            [] => missing(),
            // The lowest priority decides.
            [first, ..] if first.redirect == Some(to) => Vec::new(),
            [first, ..] => match first.redirect {
                None => vec![format!("a {} filter comes before it", first.kind)],
                Some(0) => vec!["it leads to a link that is gone".to_owned()],
                Some(other) => vec![format!("it leads to link {other}, not {to}")],
            },
        })
    }

    /// Whether what a link receives is redirected to another.
    ///
    /// # Errors
    /// The kernel's.
    pub fn is_redirected(&mut self, from: &str, to: &str) -> Result<bool> {
        let (Some(from), Some(to)) = (self.link(Place::Host, from)?, self.link(Place::Host, to)?)
        else {
            return Ok(false);
        };
        let filters = self.host.list(&filter::of_ingress(from.index, &from.name))?;
        Ok(filters.iter().any(|filter| filter.redirect == Some(to.index)))
    }

    /// Removes a redirection of ours from a link that lives on: to the IFB of that name, or to one that
    /// is gone. The qdisc goes with it, unless it has filters of others.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_redirect(&mut self, from: &str, to: &str) -> Result<()> {
        let Some(link) = self.link(Place::Host, from)? else { return Ok(()) };
        let ingress = self.host.get(&qdisc::at(link.index, INGRESS, from))?;
        if ingress.is_none_or(|found| found.kind != "ingress") {
            return Ok(());
        }
        let to = self.link(Place::Host, to)?.map_or(0, |link| link.index);
        let filters = self.host.list(&filter::of_ingress(link.index, from))?;
        let own = |filter: &filter::Filter| {
            filter.priority == filter::PRIORITY
                && filter.redirect.is_some_and(|target| target == to || target == 0)
        };
        if filters.iter().all(own) {
            return self.remove_qdisc(&link, (INGRESS_HANDLE, INGRESS));
        }
        if filters.iter().any(own) {
            self.host.set(&filter::del(link.index, filter::PRIORITY, from))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(rate: u64, burst: u32) -> RateLimit {
        RateLimit { link: "veth0".to_owned(), rate, burst, owned: true }
    }

    #[test]
    fn what_may_wait_is_the_references() {
        assert_eq!(limit(1_000_000, 100_000).tbf().limit, 125_000);
        assert_eq!(limit(1, 1).tbf().limit, 1);
        // The reference wraps, and leaves hardly any room.
        assert_eq!(limit(1_000_000, u32::MAX - 1).tbf().limit, u32::MAX);
        assert!(limit(1_000_000, u32::MAX - 1).is_of_limit(24_998));
        assert_eq!(limit(u64::MAX, 1).tbf().limit, u32::MAX);
    }

    #[test]
    fn a_bucket_is_the_references_unless_that_is_wrong() {
        // 100 ms: 1,562,500 ticks of 64 ns.
        assert_eq!(limit(1_000_000, 100_000).bucket(), Bucket::Ticks(1_562_500));
        assert_eq!(limit(1_250_000_000, 1_250_000).bucket(), Bucket::Ticks(15_625));
        // 0.64 µs, of which the reference makes none.
        assert_eq!(limit(12_500_000_000, 8000).bucket(), Bucket::Bytes(8000));
        // 429 s, of which the reference keeps 154.
        assert_eq!(limit(1_250_000, 536_870_911).bucket(), Bucket::Bytes(536_870_911));
        assert_eq!(limit(1, u32::MAX).bucket(), Bucket::Bytes(u32::MAX));
    }

    #[test]
    fn a_bucket_is_compared_as_the_kernel_or_the_reference_rounds_it() {
        let usual = limit(1_000_000, 100_000);
        assert!(usual.is_of_burst(1_562_500) && usual.is_of_burst(1_562_499));
        assert!(!usual.is_of_burst(1_562_400));
        // What the reference's ADD leaves of containerd's burst, and ours.
        let containerd = limit(1_250_000, 536_870_911);
        assert!(containerd.is_of_burst((429_496_728_u64 * 1000 / 64) as u32));
        let fast = limit(12_500_000_000, 8000);
        assert!(fast.is_of_burst(10) && fast.is_of_burst(0) && !fast.is_of_burst(16));
    }

    #[test]
    fn each_difference_is_named_with_both_values() {
        let report = TbfReport { rate: 2_000_000, ticks: 1_562_500, limit: 125_000 };
        let usual = limit(1_000_000, 100_000);
        assert_eq!(usual.compare(&report), ["rate in bit/s is 16000000, not 8000000"]);
        let report = TbfReport { rate: 1_000_000, ticks: 3_125_000, limit: 9 };
        assert_eq!(
            usual.compare(&report),
            ["burst in bytes is 200000, not 100000", "limit in bytes is 9, not 125000"]
        );
    }
}
