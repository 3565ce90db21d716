//! The hops of a way.

use serde::Serialize;

/// What becomes of the packet at a hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "state", content = "why")]
pub enum State {
    /// It goes on.
    Passes,
    /// It ends here: why.
    Fails(String),
    /// The kernel could not be asked: why.
    Unknown(String),
}

/// One hop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Where: a link, the node, a pod.
    pub place: String,
    /// What is there, and what the kernel answered.
    pub facts: Vec<String>,
    /// What becomes of the packet.
    #[serde(flatten)]
    pub state: State,
}

impl Step {
    /// A hop that the packet passes.
    pub fn at(place: impl Into<String>) -> Step {
        Step { place: place.into(), facts: Vec::new(), state: State::Passes }
    }

    /// With a fact.
    #[must_use]
    pub fn with(mut self, fact: impl Into<String>) -> Step {
        self.facts.push(fact.into());
        self
    }

    /// The packet ends here, unless it ended before.
    #[must_use]
    pub fn fails(mut self, why: impl Into<String>) -> Step {
        if self.state == State::Passes {
            self.state = State::Fails(why.into());
        }
        self
    }

    /// It ends here if that is so.
    #[must_use]
    pub fn fails_if(self, so: bool, why: impl Into<String>) -> Step {
        if so { self.fails(why) } else { self }
    }

    /// What becomes of it is not known.
    #[must_use]
    pub fn unknown(mut self, why: impl Into<String>) -> Step {
        if self.state == State::Passes {
            self.state = State::Unknown(why.into());
        }
        self
    }

    /// Whether the packet ends here.
    #[must_use]
    pub fn is_end(&self) -> bool {
        matches!(self.state, State::Fails(_))
    }
}

/// A way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trace {
    /// From where to where, in words.
    pub title: String,
    /// The hops, up to the one that fails.
    pub steps: Vec<Step>,
    /// The smallest MTU of the way, in bytes.
    pub mtu: Option<u32>,
}

impl Trace {
    /// Adds a hop; false if the packet goes no further.
    pub fn push(&mut self, step: Step) -> bool {
        let goes_on = !step.is_end();
        self.steps.push(step);
        goes_on
    }

    /// A link that the packet passes limits its size.
    pub fn limit(&mut self, mtu: u32) {
        if mtu > 0 {
            self.mtu = Some(self.mtu.map_or(mtu, |least| least.min(mtu)));
        }
    }

    /// The exit code: 0 it passes, 1 it fails, 2 not everything could be asked.
    #[must_use]
    pub fn code(&self) -> u8 {
        let is_unknown = |step: &Step| matches!(step.state, State::Unknown(_));
        if self.steps.iter().any(Step::is_end) {
            1
        } else if self.steps.iter().any(is_unknown) {
            2
        } else {
            0
        }
    }
}
