//! What the kernel answers.

use net::{Answer, Verb, address, link, route};

/// A datagram of rtnetlink, read as the answer to each question that is asked.
pub fn rtnetlink(data: &[u8]) {
    answer(&link::list(), data);
    answer(&link::by_index(1), data);
    answer(&link::vlans(), data);
    answer(&address::groups_of_link(1), data);
    for found in answer(&address::of_link(1), data) {
        let sent = address::add(found.link, found.address, true).to_bytes(1);
        let [ref again] = answer(&address::of_link(1), &sent)[..] else { panic!("{found:?}") };
        assert_eq!((again.link, again.address), (found.link, found.address));
    }
    for found in answer(&route::list(false), data) {
        let sent = route::add(&found).to_bytes(1);
        let [ref again] = answer(&route::list(false), &sent)[..] else { panic!("{found:?}") };
        assert_eq!(again.dst.network(), found.dst.network());
        assert_eq!(route::Route { dst: found.dst, ..again.clone() }, found);
    }
}

/// What a verb finds in it, when it is the answer to the request that it says it is.
fn answer<T>(verb: &Verb<T>, datagram: &[u8]) -> Vec<T> {
    let sequence = datagram.get(8..12).and_then(|bytes| bytes.try_into().ok());
    let sequence = sequence.map_or(1, u32::from_ne_bytes);
    let mut answer = Answer::default();
    if let Err(error) = verb.read(datagram, sequence, &mut answer) {
        assert!(!error.to_string().is_empty());
    }
    answer.found
}

/// A datagram of nf_tables.
pub fn nftables(data: &[u8]) {
    let answers = match nft::read(data) {
        Ok(answers) => answers,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    for answer in answers {
        if let nft::Answer::Rule(rule) = answer {
            rule.jump();
            rule.iptables_comment();
        }
    }
}
