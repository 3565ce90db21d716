//! Which plugin of the conflist there is which one of the template, and which are others'.

use crate::duties::template::kind;
use serde_json::Value;

/// The plugins of the three versions of a conflist, and which belong together.
#[derive(Debug)]
pub struct Pairs<'a> {
    base: &'a [Value],
    there: &'a [Value],
    /// The template's.
    pub now: &'a [Value],
    /// For each of `now` its index in `base`, and in `there`.
    found: Vec<(Option<usize>, Option<usize>)>,
    /// Of those in `base` that `now` lacks: their indexes in `base` and `there`.
    dropped: Vec<(usize, usize)>,
}

impl<'a> Pairs<'a> {
    /// Pairs them. Without a base the types of the template alone say what is ours.
    pub fn of(base: Option<&'a [Value]>, there: &'a [Value], now: &'a [Value]) -> Pairs<'a> {
        let known = base.unwrap_or_default();
        let base_of_now = matched(now, known, &vec![false; known.len()]);
        let there_of_base = matched(known, there, &vec![false; there.len()]);
        let mut taken = vec![false; there.len()];
        there_of_base.iter().flatten().for_each(|at| taken[*at] = true);
        // A plugin that an administrator chained, and that the template has now, is one.
        let mut adopted = matched(now, there, &taken);
        let of_base = |base: Option<usize>| base.map(|base| there_of_base[base]);
        let found = base_of_now.iter().enumerate();
        let found: Vec<_> = found
            .map(|(at, base)| match of_base(*base) {
                Some(there) => (*base, there),
                None => (None, adopted[at].take()),
            })
            .collect();
        let kept: Vec<Option<usize>> = found.iter().map(|(base, _)| *base).collect();
        let dropped = there_of_base.iter().enumerate();
        let dropped = dropped.filter(|(base, _)| !kept.contains(&Some(*base)));
        let dropped = dropped.filter_map(|(base, there)| Some((base, (*there)?))).collect();
        Pairs { base: known, there, now, found, dropped }
    }

    /// Whether the file is a network of ours: it has a plugin that was written, or, where that is not
    /// known, begins with the template's first.
    pub fn is_ours(&self) -> bool {
        if self.base.is_empty() {
            let first = |plugins: &[Value]| plugins.first().map(|plugin| kind(plugin).to_owned());
            return first(self.there) == first(self.now);
        }
        !self.dropped.is_empty() || self.found.iter().any(|(_, there)| there.is_some())
    }

    /// A plugin of the template as it was written last.
    pub fn base_of(&self, at: usize) -> Option<&'a Value> {
        self.found.get(at)?.0.and_then(|base| self.base.get(base))
    }

    /// A plugin of the template as it is there.
    pub fn there_of(&self, at: usize) -> Option<&'a Value> {
        self.found.get(at)?.1.and_then(|there| self.there.get(there))
    }

    /// What was written, is there, and is in the template no more: as it was written, as it is.
    pub fn dropped(&self) -> impl Iterator<Item = (&'a Value, &'a Value)> {
        let both = move |(base, there): &(usize, usize)| (&self.base[*base], &self.there[*there]);
        self.dropped.iter().map(both)
    }

    /// The others'.
    pub fn others(&self) -> impl Iterator<Item = &'a Value> {
        self.others_at().map(move |at| &self.there[at])
    }

    /// The others' in front of all of ours.
    pub fn in_front(&self) -> impl Iterator<Item = &'a Value> {
        self.chosen(move |at| self.anchor(at).is_none() && !self.is_last(at))
    }

    /// The others' behind this one of the template, which are not at the end.
    pub fn behind(&self, now: usize) -> impl Iterator<Item = &'a Value> {
        self.chosen(move |at| self.anchor(at) == Some(now) && !self.is_last(at))
    }

    /// The others' that none of ours follows.
    pub fn at_the_end(&self) -> impl Iterator<Item = &'a Value> {
        self.chosen(move |at| self.is_last(at))
    }

    fn chosen(&self, choose: impl Fn(usize) -> bool) -> impl Iterator<Item = &'a Value> {
        self.others_at().filter(move |at| choose(*at)).map(move |at| &self.there[at])
    }

    fn others_at(&self) -> impl Iterator<Item = usize> {
        (0..self.there.len()).filter(move |at| !self.is_ours_at(*at))
    }

    fn is_ours_at(&self, at: usize) -> bool {
        self.dropped.iter().any(|(_, there)| *there == at) || self.now_of(at).is_some()
    }

    /// The one of the template that this one of `there` is.
    fn now_of(&self, at: usize) -> Option<usize> {
        self.found.iter().position(|(_, there)| *there == Some(at))
    }

    /// The nearest of the template's in front of this one of `there`; its first where all that stood
    /// there went; never one before a plugin of the same type, which is ours as the first of its type.
    fn anchor(&self, at: usize) -> Option<usize> {
        let nearest = (0..at).rev().find_map(|before| self.now_of(before));
        let nearest =
            nearest.or_else(|| (0..at).any(|before| self.is_ours_at(before)).then_some(0));
        let same = |now: &Value| kind(now) == kind(&self.there[at]);
        nearest.max(self.now.iter().rposition(same))
    }

    /// Whether none of ours follows this one of `there`.
    fn is_last(&self, at: usize) -> bool {
        (at + 1..self.there.len()).all(|behind| !self.is_ours_at(behind))
    }
}

/// For each of `of` the one of `among` that it is: the first of the same type that is not `taken`, each
/// once. Equal ones are not preferred: what is written would be paired otherwise the next time.
fn matched(of: &[Value], among: &[Value], taken: &[bool]) -> Vec<Option<usize>> {
    let mut taken = taken.to_vec();
    let find = |plugin: &Value| {
        let same = |at: &usize| !taken[*at] && kind(plugin) == kind(&among[*at]);
        let found = (0..among.len()).find(same);
        found.iter().for_each(|at| taken[*at] = true);
        found
    };
    of.iter().map(find).collect()
}
