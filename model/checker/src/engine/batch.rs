//! States that are expanded together.
//!
//! What a search does with a state is short, and most of it waits for memory: the tables are far larger than what a
//! processor keeps at hand. So several states go through it together, a step of all of them at a time, and their waits
//! overlap. What comes of it is the same, in the same order, as if each went alone.

use std::ops::Range;

use super::{
    Broken, Model,
    memo::{Asked, Place, Remembered},
    search::Expander,
    store::VectorSet,
    tables::Tables,
};

/// How many states are expanded together.
pub(crate) const STATES: u32 = 32;

/// States, and what their transitions come to.
#[derive(Debug)]
pub(crate) struct Batch {
    slots: usize,
    /// The states, one behind the other.
    states: Vec<u32>,
    asked: Vec<Asked>,
    /// What becomes of each state.
    expanded: Vec<Expanded>,
    /// What they lead to, one behind the other.
    after: Vec<u32>,
    /// Whether each was found before, or is covered.
    known: Vec<bool>,
    expander: Expander,
}

/// What becomes of one state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expanded {
    /// How many transitions were taken or failed.
    pub(crate) generated: u64,
    /// The witnesses that they met.
    pub(crate) witnesses: u64,
    /// The states that they lead to, among those of the batch.
    pub(crate) after: Range<usize>,
    /// The first transition that failed, by its number among all offers; no later one is looked at.
    pub(crate) failure: Option<(usize, Broken)>,
}

impl Batch {
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            slots,
            states: Vec::new(),
            asked: Vec::new(),
            expanded: Vec::new(),
            after: Vec::new(),
            known: Vec::new(),
            expander: Expander::new(slots),
        }
    }

    /// Expands these states. Transitions that fail end their state's, unless they are left out.
    pub(crate) fn expand<M: Model>(
        &mut self,
        indices: Range<u32>,
        states: &mut VectorSet,
        tables: &mut Tables<'_, M>,
        leaves_out: impl Fn(&Broken) -> bool,
    ) {
        self.states.clear();
        self.expanded.clear();
        self.after.clear();
        self.known.clear();
        for index in indices {
            self.states.extend_from_slice(states.get(index));
        }
        tables.memo.make_room();
        let ranges = self.ask(tables);
        self.learn(tables, &ranges);
        for (state, range) in ranges.into_iter().enumerate() {
            self.take(tables, state, range, &leaves_out);
        }
        for ids in self.after.chunks_exact_mut(self.slots) {
            tables.canonicalise(ids, &mut self.expander.scratch);
        }
        let tables = &*tables;
        states.look_up(&self.after, |held, rest| tables.allows_all_of(held, rest), &mut self.known);
    }

    /// What became of each state.
    pub(crate) fn expanded(&self) -> &[Expanded] {
        &self.expanded
    }

    /// The state at this place among all that the batch leads to; none if it was found before.
    pub(crate) fn unknown(&self, place: usize) -> Option<&[u32]> {
        (!self.known[place]).then(|| &self.after[place * self.slots..][..self.slots])
    }

    /// Looks up where the transitions of all states end; returns which belong to which state.
    fn ask<M: Model>(&mut self, tables: &mut Tables<'_, M>) -> Vec<Range<usize>> {
        let mut offers = Vec::with_capacity(self.states.len());
        for (place, id) in self.states.iter().enumerate() {
            offers.push(tables.offers_at(place % self.slots, *id));
        }
        self.asked.clear();
        let mut ranges = Vec::with_capacity(self.states.len() / self.slots);
        for (state, offers) in offers.chunks_exact(self.slots).enumerate() {
            let start = self.asked.len();
            for numbers in offers.iter().map(|at| tables.offered(*at)) {
                let ask =
                    |number| Asked { number, state: state * self.slots, place: tables.memo.root(number) };
                self.asked.extend(numbers.map(ask));
            }
            ranges.push(start..self.asked.len());
        }
        tables.memo.follow_all(&mut self.asked, &self.states);
        ranges
    }

    /// Computes what is not known.
    fn learn<M: Model>(&mut self, tables: &mut Tables<'_, M>, ranges: &[Range<usize>]) {
        for range in ranges {
            for at in range.clone() {
                if self.asked[at].place == Place::UNKNOWN {
                    let Asked { number, state, .. } = self.asked[at];
                    self.expander.load(&self.states[state..state + self.slots]);
                    self.asked[at].place = self.expander.learn(tables, number);
                }
            }
        }
    }

    /// Makes the states that a state's transitions lead to.
    fn take<M: Model>(
        &mut self,
        tables: &Tables<'_, M>,
        state: usize,
        range: Range<usize>,
        leaves_out: &impl Fn(&Broken) -> bool,
    ) {
        let here = &self.states[state * self.slots..][..self.slots];
        let start = self.after.len() / self.slots;
        let mut expanded = Expanded::default();
        for asked in &self.asked[range] {
            if asked.place == Place::DISABLED {
                continue;
            }
            expanded.generated += 1;
            let (end, witnesses) = tables.memo.end(asked.place);
            expanded.witnesses |= witnesses;
            match end {
                Remembered::Taken(changes) => {
                    let at = self.after.len();
                    self.after.extend_from_slice(here);
                    changes.make(&mut self.after[at..]);
                }
                Remembered::Failed(broken) if leaves_out(broken) => {}
                Remembered::Failed(broken) => {
                    expanded.failure = Some((asked.number, broken.clone()));
                    break;
                }
            }
        }
        expanded.after = start..self.after.len() / self.slots;
        self.expanded.push(expanded);
    }
}
