//! The engine: exhaustive search over models whose states are small arrays of interned parts.
//!
//! A state of a distributed system is a few hosts, links and ledgers. Millions of states are combinations of a few
//! thousand distinct hosts, so a state here is an array of ids, one for each *slot*, and each id names a *part* in a
//! table. A transition looks at a few parts and changes one or two, and what it does to a part depends on nothing but
//! that part and the change: so each distinct change of each distinct part is computed once and remembered
//! ([`tables`]), and so is what each transition came to behind the parts that it looked at (`memo`). The real actors
//! run at the speed of table look-ups.
//!
//! A model is written once, against [`Board`], and runs on three of them: on the interned tables ([`tables`]), on
//! plain cloned parts ([`plain`], the state of the second opinion), and on plain parts that narrate what
//! happens ([`plain::Plain::step_narrated`], for transcripts).
//!
//! How to write a model: split the state into slots; put whatever changes together, and is big, into one part; let
//! [`Model::offers`] list what one part could do when looked at alone, and [`Model::enabled`] refuse what the rest of
//! the state forbids (a budget, a server that is down); let [`Model::next`] read and change parts through the board
//! only. Everything must be deterministic, in content and in order.

pub mod graph;
pub mod memory;
#[cfg(feature = "stateright")]
mod picture;
pub mod plain;
pub mod search;
pub mod store;
pub mod tables;
#[cfg(feature = "stateright")]
pub mod twin;
pub mod walk;

mod batch;
pub(crate) mod guard;
mod memo;

use std::{fmt::Debug, hash::Hash, rc::Rc};

use serde::{Serialize, de::DeserializeOwned};
use world::Fault;

/// A rule that does not hold, or a step that panicked.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Broken {
    /// The rule's id, such as `I-8`; `panic` for a step that did not return.
    pub rule: String,
    /// What was found, for the reader of the transcript.
    pub why: String,
}

impl Broken {
    /// That this rule does not hold, and why.
    pub fn new(rule: impl Into<String>, why: impl Into<String>) -> Self {
        Self { rule: rule.into(), why: why.into() }
    }
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        Self { rule: fault.rule, why: fault.why }
    }
}

/// What looking at a part, a pair or a whole state tells.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Verdict {
    /// The rule that does not hold; none if all do.
    pub broken: Option<Broken>,
    /// The witnesses seen here: bit `i` is entry `i` of [`Model::witnesses`].
    pub witnesses: u64,
}

impl Verdict {
    /// Joins two verdicts; the first broken rule stays.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { broken: self.broken.or(other.broken), witnesses: self.witnesses | other.witnesses }
    }
}

/// A way to rename a state: the parts change slots, and names inside of them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Symmetry {
    /// For each slot, the one whose part, renamed, comes to stand there.
    pub slots: Vec<usize>,
    /// The place of the symmetry that undoes this one.
    pub inverse: usize,
}

/// A system to search, cut into parts.
pub trait Model: Send + Sync + 'static {
    /// One piece of the state: an enum over hosts, links, ledgers.
    type Part: Clone + Debug + Eq + Hash + Send + Sync + Serialize;
    /// What can be done to one part.
    type Change: Clone + Debug + Eq + Hash + Send + Sync;
    /// What a change yields beside the new part: messages sent, ghost events, witnesses.
    type Yield: Debug + Eq + Hash;
    /// One transition of the whole, by name.
    type Action: Clone + Debug + Eq + Hash + Send + Sync + Serialize + DeserializeOwned;
    /// What the rules about pairs and about the whole look at in one part. The smaller, the fewer combinations.
    type View: Clone + Debug + Eq + Hash;

    /// The state that every run starts from, slot by slot.
    fn initial(&self) -> Vec<Self::Part>;

    /// Every transition that this part offers when looked at alone. Called once for each distinct part in each slot.
    fn offers(&self, slot: usize, part: &Self::Part, out: &mut Vec<Self::Action>);

    /// Whether the rest of the state allows a transition that was offered.
    fn enabled<B: Board<Self>>(&self, board: &B, action: &Self::Action) -> bool;

    /// Carries out a transition.
    ///
    /// # Errors
    /// The rule that it breaks, if it does: return what [`Board::change`] returned, or an error of your own.
    fn next<B: Board<Self>>(&self, board: &mut B, action: &Self::Action) -> Result<(), Broken>;

    /// Changes one part: a pure function of its arguments, called once for each distinct pair of them.
    ///
    /// # Errors
    /// The rule that the change breaks. A panic counts as one.
    fn change(&self, part: &mut Self::Part, change: &Self::Change) -> Result<Self::Yield, Broken>;

    /// What the wider rules see of the part in this slot; none if they never look at it.
    fn view(&self, slot: usize, part: &Self::Part) -> Option<Self::View>;

    /// Judges one part. Called once for each distinct part in each slot.
    fn judge_part(&self, slot: usize, part: &Self::Part) -> Verdict;

    /// Judges two slots against each other (the first is the lower). Called once for each distinct pair of views in
    /// each pair of slots.
    fn judge_pair(&self, slots: (usize, usize), views: (&Self::View, &Self::View)) -> Verdict;

    /// Judges the whole: the views of all slots that have one, in slot order. Called once for each distinct
    /// combination.
    fn judge_whole(&self, views: &[(usize, &Self::View)]) -> Verdict;

    /// The ways to rename the state without changing what can happen: a group, the identity first. States that differ
    /// only in names are searched once. Only the identity, unless a model says otherwise.
    fn symmetries(&self) -> Vec<Symmetry> {
        let slots = self.initial().len();
        vec![Symmetry { slots: (0..slots).collect(), inverse: 0 }]
    }

    /// The part under other names; the symmetry by its place in [`Model::symmetries`].
    fn rename_part(&self, _symmetry: usize, part: &Self::Part) -> Self::Part {
        part.clone()
    }

    /// The transition under other names.
    fn rename_action(&self, _symmetry: usize, action: &Self::Action) -> Self::Action {
        action.clone()
    }

    /// Whether the last slot holds what a run has used of its bounds, and nothing else; see [`Model::allows_all_of`].
    /// Such a slot has no view.
    fn has_ledger(&self) -> bool {
        false
    }

    /// Of two states that differ only in their ledgers, whether all that can happen with the `other` one can happen
    /// with `this` one too. Then a search that has met the first need not look at the second.
    fn allows_all_of(&self, this: &Self::Part, other: &Self::Part) -> bool {
        this == other
    }

    /// The names of the situations that a search should meet, at most 64.
    fn witnesses(&self) -> &[&'static str];

    /// Whether what a transition broke is a rule about histories: such a transition is never left out
    /// ([`search::Options::skip_failed_steps`]), for nothing later would show it again.
    fn is_about_histories(&self, _broken: &Broken) -> bool {
        false
    }

    /// Whether this state is what every healed run should be able to reach.
    fn is_goal(&self, parts: &[&Self::Part]) -> bool;

    /// Whether a goal must be in reach from this state: there is enough left of the bounds.
    fn is_demanded(&self, parts: &[&Self::Part]) -> bool;

    /// Whether a healed world would still do this: false for crashes, breaks and other faults. Used by the search
    /// for traps.
    fn is_fault_free(&self, action: &Self::Action) -> bool;

    /// One line for a reader: what the transition is.
    fn describe(&self, action: &Self::Action) -> String;

    /// Lines for a reader: what a change did to the part in this slot.
    fn narrate(
        &self,
        slot: usize,
        change: &Self::Change,
        yields: &Self::Yield,
        before: &Self::Part,
        after: &Self::Part,
    ) -> Vec<String>;

    /// The name of a slot, for a reader.
    fn slot_name(&self, slot: usize) -> String;

    /// Whether the slot is a server or a client, for a picture.
    fn is_host(&self, slot: usize) -> bool;

    /// The slots of the hosts from which and to which a transition carries a message, for a picture; none if it carries
    /// none.
    fn carries(&self, action: &Self::Action) -> Option<(usize, usize)>;

    /// Lines for a reader: what a part comes to. None if there is nothing to tell of it, as of a link that is closed.
    fn tell(&self, part: &Self::Part) -> Vec<String>;
}

/// The state as a model sees it, whatever holds it.
pub trait Board<M: Model + ?Sized> {
    /// The part in this slot.
    fn part(&self, slot: usize) -> &M::Part;

    /// Changes the part in this slot by [`Model::change`].
    ///
    /// # Errors
    /// What the change broke.
    fn change(&mut self, slot: usize, change: M::Change) -> Result<Rc<M::Yield>, Broken>;

    /// Records that these witnesses were met in this transition (bits as in [`Verdict::witnesses`]).
    fn witness(&mut self, bits: u64);
}

/// Every transition that is possible on this board, in a fixed order.
pub(crate) fn possible<M: Model, B: Board<M>>(model: &M, board: &B, slots: usize, out: &mut Vec<M::Action>) {
    let mut offers = Vec::new();
    for slot in 0..slots {
        offers.clear();
        model.offers(slot, board.part(slot), &mut offers);
        out.extend(offers.drain(..).filter(|action| model.enabled(board, action)));
    }
}
