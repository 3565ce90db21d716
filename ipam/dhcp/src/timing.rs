//! When a message is sent again, and when a lease is renewed: pure functions of times and of a random
//! number.

use crate::lease::Lease;
use std::time::Duration;

/// How soon the first messages are sent again, and how many, as the reference: a server that is there
/// answers at once, and a lost frame is not to cost a pod four seconds.
const FAST: Duration = Duration::from_secs(2);
const FAST_ONES: u32 = 4;
/// Then the delay doubles from here (RFC 2131 section 4.1).
const SLOW: Duration = Duration::from_secs(4);
/// Delays are random within a second more or less.
const JITTER: Duration = Duration::from_secs(1);
/// The least time between two attempts to renew a lease (RFC 2131 section 4.4.5).
const RENEWAL_LEAST: Duration = Duration::from_secs(60);

/// How long the answer to the nth message of an exchange, counted from 0, is waited for. `chance` is
/// random, 0 to 1.
pub fn patience(nth: u32, longest: Duration, chance: f64) -> Duration {
    let doubled = |times: u32| SLOW.saturating_mul(1u32.checked_shl(times).unwrap_or(u32::MAX));
    let base = nth.checked_sub(FAST_ONES).map_or(FAST, doubled).min(longest.max(FAST));
    (base + 2 * JITTER.mul_f64(chance.clamp(0.0, 1.0))).saturating_sub(JITTER)
}

/// What a lease needs next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing for this time.
    Wait(Duration),
    /// Ask its server (RENEWING).
    Renew,
    /// Ask any server (REBINDING).
    Rebind,
    /// It is over.
    Expire,
}

/// What a lease needs next, at `age` after the request that it was acknowledged for. `asked` is its age
/// when it was asked for last, without success, if it was.
pub fn next(lease: &Lease, age: Duration, asked: Option<Duration>) -> Next {
    let Some(validity) = lease.validity() else { return Next::Wait(Duration::MAX) };
    let [renewal, rebinding] =
        [lease.renewal, lease.rebinding].map(|time| Duration::from_secs(time.into()));
    let (begin, end, step) = match age {
        age if age >= validity => return Next::Expire,
        age if age >= rebinding => (rebinding, validity, Next::Rebind),
        age if age >= renewal => (renewal, rebinding, Next::Renew),
        age => return Next::Wait(renewal - age),
    };
    match asked.filter(|asked| *asked >= begin) {
        None => step,
        Some(asked) => {
            // Half of the time that is left, but no less than a minute; of a short lease a tenth.
            let least = RENEWAL_LEAST.min(validity / 10);
            let due = asked + ((end.saturating_sub(asked)) / 2).max(least);
            match due.min(end) {
                due if due <= age => step,
                due => Next::Wait(due - age),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn lease(seconds: u32) -> Lease {
        Lease {
            address: Ipv4Addr::new(10, 0, 0, 9),
            prefix: 24,
            server: Ipv4Addr::new(10, 0, 0, 1),
            routers: vec![],
            classless: vec![],
            classful: vec![],
            dns: crate::lease::Names::default(),
            seconds,
            renewal: seconds / 2,
            rebinding: seconds / 8 * 7,
        }
    }

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn delays_double_to_the_longest() {
        let delays: Vec<u64> = (0..10).map(|nth| patience(nth, s(62), 0.5).as_secs()).collect();
        assert_eq!(delays, [2, 2, 2, 2, 4, 8, 16, 32, 62, 62]);
        assert_eq!((patience(0, s(62), 0.0), patience(0, s(62), 1.0)), (s(1), s(3)));
        assert_eq!(patience(40, s(62), 0.5), s(62));
    }

    #[test]
    fn a_lease_is_renewed_then_rebound_then_over() {
        let lease = lease(800);
        assert_eq!(next(&lease, s(100), None), Next::Wait(s(300)));
        assert_eq!(next(&lease, s(400), None), Next::Renew);
        // Half of the 300 s until T2, then half again, and at least a minute.
        assert_eq!(next(&lease, s(402), Some(s(400))), Next::Wait(s(148)));
        assert_eq!(next(&lease, s(550), Some(s(400))), Next::Renew);
        assert_eq!(next(&lease, s(660), Some(s(650))), Next::Wait(s(40)));
        assert_eq!(next(&lease, s(700), Some(s(650))), Next::Rebind);
        assert_eq!(next(&lease, s(701), Some(s(700))), Next::Wait(s(59)));
        assert_eq!(next(&lease, s(790), Some(s(760))), Next::Wait(s(10)));
        assert_eq!(next(&lease, s(800), Some(s(760))), Next::Expire);
    }

    #[test]
    fn a_lease_for_ever_needs_nothing() {
        assert_eq!(next(&lease(u32::MAX), s(1 << 33), None), Next::Wait(Duration::MAX));
    }

    proptest! {
        /// Whoever waits as told finds something to do, and time passes between two attempts.
        #[test]
        fn waiting_leads_on(seconds in 2u32..100_000, age in 0u64..100_000, asked in proptest::option::of(0u64..100_000)) {
            let lease = lease(seconds);
            let asked = asked.map(s).filter(|asked| *asked <= s(age));
            if let Next::Wait(time) = next(&lease, s(age), asked) {
                prop_assert!(time > Duration::ZERO);
                prop_assert!(!matches!(next(&lease, s(age) + time, asked), Next::Wait(_)));
            }
        }
    }
}
