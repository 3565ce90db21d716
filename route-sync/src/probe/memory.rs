//! Which nodes to ask next, and what the answers mean. No I/O.

use super::round::Answer;
use super::targets::Target;
use crate::source::nodes::Node;
use std::collections::BTreeMap;

/// So many rounds in a row make a verdict.
const ROUNDS: u8 = 2;

/// What the rounds before have shown.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Pod networks that did not answer when their nodes did, by node and whether of IPv6.
    silences: BTreeMap<(String, bool), Silence>,
    /// Who was asked last of all nodes, and who of those in `silences`.
    last: Option<String>,
    last_again: Option<String>,
    rounds: u64,
    answered: u64,
}

#[derive(Debug)]
struct Silence {
    target: Target,
    /// Rounds in which the node answered and its pod network did not.
    silent: u8,
    /// Rounds since in which neither answered.
    lost: u8,
    /// When the verdict was made, in seconds since 1970.
    since: u64,
}

/// What a round brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News<'a> {
    /// A pod network is silent.
    Silent(&'a Target),
    /// One that was answers.
    Answers(&'a Target),
}

fn key(target: &Target) -> (String, bool) {
    (target.node.clone(), !target.v4)
}

/// The first of a sorted list that comes after a name; behind the last one the first.
fn after<T>(sorted: &[T], name: impl Fn(&T) -> &str, last: Option<&str>) -> usize {
    let at = last.map_or(0, |last| sorted.partition_point(|of| name(of) <= last));
    if at < sorted.len() { at } else { 0 }
}

impl Memory {
    /// The nodes that are asked next, `limit` at most: those that did not answer again, up to half
    /// of them, and the others, by name, in turn. `nodes` is sorted by name.
    pub(super) fn next(
        &mut self,
        nodes: &[Node],
        limit: usize,
        mut targets: impl FnMut(&Node) -> Vec<Target>,
    ) -> Vec<Target> {
        let mut names: Vec<&str> = self.silences.keys().map(|(name, _)| name.as_str()).collect();
        names.dedup();
        let from = after(&names, |name| name, self.last_again.as_deref());
        let turn = names.iter().cycle().skip(from).take(names.len().min(limit / 2));
        let again: Vec<String> = turn.map(|name| (*name).to_owned()).collect();
        self.last_again = again.last().cloned().or(self.last_again.take());
        let mut asked = Vec::new();
        for name in &again {
            if let Ok(at) = nodes.binary_search_by(|node| node.name.as_str().cmp(name)) {
                asked.extend(nodes.get(at).map(&mut targets).unwrap_or_default());
            }
        }
        let mut room = limit - again.len();
        let from = after(nodes, |node| &node.name, self.last.as_deref());
        for node in nodes.iter().cycle().skip(from).take(nodes.len()) {
            if room == 0 {
                break;
            }
            let of_node = if again.contains(&node.name) { Vec::new() } else { targets(node) };
            if !of_node.is_empty() {
                room -= 1;
                self.last = Some(node.name.clone());
                asked.extend(of_node);
            }
        }
        asked
    }

    /// Takes in a round's answers; `now` in seconds since 1970.
    pub(super) fn take<'a>(&mut self, answers: &'a [Answer], now: u64) -> Vec<News<'a>> {
        self.rounds += 1;
        answers.iter().filter_map(|answer| self.take_one(answer, now)).collect()
    }

    fn take_one<'a>(&mut self, answer: &'a Answer, now: u64) -> Option<News<'a>> {
        let Answer { target, node, pods, unsent } = answer;
        let key = key(target);
        if *pods {
            self.answered += 1;
            let before = self.silences.remove(&key)?;
            return (before.silent >= ROUNDS).then_some(News::Answers(target));
        }
        if unsent.is_some() {
            return None;
        }
        if !node {
            self.lose(&key);
            return None;
        }
        let new = || Silence { target: target.clone(), silent: 0, lost: 0, since: now };
        let silence = self.silences.entry(key).or_insert_with(new);
        if silence.target != *target {
            *silence = new();
        }
        silence.lost = 0;
        silence.silent = silence.silent.saturating_add(1);
        (silence.silent == ROUNDS).then(|| {
            silence.since = now;
            News::Silent(target)
        })
    }

    /// Neither answers: no verdict, and in time none any more.
    fn lose(&mut self, key: &(String, bool)) {
        let Some(silence) = self.silences.get_mut(key) else { return };
        silence.lost += 1;
        if silence.silent < ROUNDS || silence.lost >= ROUNDS {
            self.silences.remove(key);
        }
    }

    /// Forgets results of nodes that are no longer probed.
    pub(super) fn keep(&mut self, is_target: impl Fn(&Target) -> bool) {
        self.silences.retain(|_, silence| is_target(&silence.target));
    }

    /// Pod networks that are silent, and since when.
    pub(super) fn silent(&self) -> impl Iterator<Item = (&Target, u64)> {
        let sure = self.silences.values().filter(|silence| silence.silent >= ROUNDS);
        sure.map(|silence| (&silence.target, silence.since))
    }

    pub(super) fn rounds(&self) -> u64 {
        self.rounds
    }

    pub(super) fn answered(&self) -> u64 {
        self.answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::targets::Question;
    use crate::report::Path;

    fn target(name: &str) -> Target {
        let question =
            |to: &str| Question { from: "192.0.2.1".parse().unwrap(), to: to.parse().unwrap() };
        let (of_node, of_pods) = (question("192.0.2.2"), question("10.244.2.0"));
        Target { node: name.to_owned(), v4: true, path: Path::Direct, port: 4789, of_node, of_pods }
    }

    fn nodes(names: &[&str]) -> Vec<Node> {
        let node =
            |name: &&str| Node { name: (*name).to_owned(), addresses: vec![], pod_cidrs: vec![] };
        names.iter().map(node).collect()
    }

    fn answer(name: &str, node: bool, pods: bool) -> Answer {
        Answer { target: target(name), node, pods, unsent: None }
    }

    fn next(memory: &mut Memory, nodes: &[Node], limit: usize) -> Vec<String> {
        let one = |node: &Node| match node.name.as_str() {
            "unasked" => vec![],
            name => vec![target(name)],
        };
        memory.next(nodes, limit, one).into_iter().map(|target| target.node).collect()
    }

    fn silent(memory: &Memory) -> Vec<(&str, u64)> {
        memory.silent().map(|(target, since)| (target.node.as_str(), since)).collect()
    }

    #[test]
    fn twice_in_a_row_is_a_verdict_and_one_answer_ends_it() {
        let mut memory = Memory::default();
        let target = target("two");
        let silence = answer("two", true, false);
        let mut take = |answer: &Answer, now| {
            let news = memory.take(std::slice::from_ref(answer), now);
            let news = news.first().map(|news| matches!(news, News::Silent(of) if **of == target));
            (news, memory.silent().map(|(_, since)| since).next())
        };
        assert_eq!(take(&silence, 1), (None, None));
        assert_eq!(take(&silence, 2), (Some(true), Some(2)));
        assert_eq!(take(&silence, 3), (None, Some(2)), "it is reported once");
        assert_eq!(take(&answer("two", true, true), 4), (Some(false), None));
        assert_eq!(take(&silence, 5), (None, None));
        assert_eq!(
            take(&answer("two", false, true), 6),
            (None, None),
            "the silence was not reported"
        );
        assert_eq!(take(&silence, 7), (None, None), "not in a row");
    }

    #[test]
    fn silence_of_both_is_no_verdict() {
        let mut memory = Memory::default();
        let (silence, lost) = (answer("two", true, false), answer("two", false, false));
        for _ in 0..3 {
            memory.take(std::slice::from_ref(&lost), 1);
        }
        assert_eq!(silent(&memory), []);
        for answer in [&silence, &lost, &silence] {
            memory.take(std::slice::from_ref(answer), 2);
        }
        assert_eq!(silent(&memory), [], "not in a row");
        memory.take(std::slice::from_ref(&silence), 3);
        memory.take(std::slice::from_ref(&lost), 4);
        assert_eq!(silent(&memory), [("two", 3)], "a packet may be lost");
        memory.take(std::slice::from_ref(&lost), 5);
        assert_eq!(silent(&memory), [], "the node is away");
    }

    #[test]
    fn a_failed_send_is_no_verdict() {
        let mut memory = Memory::default();
        for _ in 0..3 {
            let unsent = Some("send: no address".to_owned());
            memory.take(&[Answer { unsent, ..answer("two", true, false) }], 1);
        }
        assert_eq!(silent(&memory), []);
    }

    #[test]
    fn every_node_has_its_turn() {
        let mut memory = Memory::default();
        let nodes = nodes(&["a", "b", "c", "unasked", "x"]);
        assert_eq!(next(&mut memory, &nodes, 2), ["a", "b"]);
        assert_eq!(next(&mut memory, &nodes, 2), ["c", "x"]);
        assert_eq!(next(&mut memory, &nodes, 3), ["a", "b", "c"]);
        assert_eq!(next(&mut memory, &nodes, 3), ["x", "a", "b"]);
        assert_eq!(next(&mut memory, &nodes, 9), ["c", "x", "a", "b"], "each once");
        assert!(next(&mut memory, &[], 9).is_empty());
    }

    #[test]
    fn silent_ones_are_asked_again_and_leave_room_for_others() {
        let mut memory = Memory::default();
        let nodes = nodes(&["a", "b", "c", "d", "e", "f"]);
        let all: Vec<Answer> = ["d", "e", "f"].map(|name| answer(name, true, false)).into();
        memory.take(&all, 1);
        assert_eq!(next(&mut memory, &nodes, 4), ["d", "e", "a", "b"]);
        assert_eq!(next(&mut memory, &nodes, 4), ["f", "d", "c", "e"]);
        memory.keep(|target| target.node == "e");
        assert_eq!(next(&mut memory, &nodes, 2), ["e", "f"]);
    }

    /// A node that moved is another's concern.
    #[test]
    fn another_way_begins_anew() {
        let mut memory = Memory::default();
        memory.take(&[answer("two", true, false)], 1);
        let mut moved = answer("two", true, false);
        moved.target.path = Path::Vxlan;
        memory.take(std::slice::from_ref(&moved), 2);
        assert_eq!(silent(&memory), []);
        memory.take(std::slice::from_ref(&moved), 3);
        assert_eq!(silent(&memory), [("two", 3)]);
    }
}
