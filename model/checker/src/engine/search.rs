//! Breadth-first search: every reachable state once, shortest counterexamples, exact counts.

use std::time::{Duration, Instant};

use rustc_hash::FxHashSet;

use super::{
    Broken, Model, Verdict,
    batch::{self, Batch, Expanded},
    memo::Place,
    memory,
    store::{Chunked, VectorSet},
    tables::{InternedBoard, LocalStep, TableSizes, Tables},
};

/// How often, in expanded states, limits are looked at and progress is told.
const STRIDE: u32 = 4096;

/// When to give up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Distinct states.
    pub states: usize,
    /// Bytes of memory for states, their index and what transitions came to, or for all that this process holds:
    /// parts with large states need more than the states that are made of them.
    pub bytes: usize,
    /// Time.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { states: usize::MAX, bytes: 12 << 30, time: Duration::MAX }
    }
}

/// How to search.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// When to give up.
    pub limits: Limits,
    /// Leave out transitions that fail by themselves, instead of stopping at them: what do the wider rules say then?
    pub skip_failed_steps: bool,
}

/// How far a search is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Distinct states found.
    pub distinct: usize,
    /// Transitions computed.
    pub generated: u64,
    /// States found and not expanded.
    pub queue: usize,
    /// The number of transitions to the states that are expanded now.
    pub depth: u32,
    /// Bytes for states, their index and what transitions came to.
    pub bytes: usize,
    /// Time since the start.
    pub elapsed: Duration,
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// Every reachable state was judged.
    Exhausted,
    /// A rule does not hold.
    Broken,
    /// The limit on states was reached.
    States,
    /// The limit on memory was reached.
    Memory,
    /// The limit on time was reached.
    Time,
}

/// A run to something bad, as short as any.
#[derive(Clone, Debug)]
pub struct Counterexample<A> {
    /// What is broken.
    pub broken: Broken,
    /// The transitions from the initial state. Either the last one fails, or the state behind it is judged bad.
    pub path: Vec<A>,
}

/// What a search has found.
#[derive(Clone, Debug)]
pub struct Outcome<A> {
    /// Why it ended.
    pub end: End,
    /// How far it got.
    pub progress: Progress,
    /// The most transitions on a shortest path to any state.
    pub depth: u32,
    /// The rule that does not hold.
    pub counterexample: Option<Counterexample<A>>,
    /// For each of [`Model::witnesses`]: the number of transitions to its first sight.
    pub witnesses: Vec<Option<u32>>,
    /// Distinct combinations of what the wider rules see, each judged once.
    pub judged: usize,
    /// What the tables held at the end.
    pub tables: TableSizes,
}

/// A search under way, or ended; holds every state found.
pub struct Search<'m, M: Model> {
    pub(crate) tables: Tables<'m, M>,
    pub(crate) states: VectorSet,
    parents: Chunked<u32>,
    /// The first state of each depth.
    levels: Vec<u32>,
    judge: Judge,
    witnesses: Vec<Option<u32>>,
    /// The same as bits.
    seen: u64,
    generated: u64,
    started: Instant,
    options: Options,
    counterexample: Option<Counterexample<M::Action>>,
}

impl<M: Model> std::fmt::Debug for Search<'_, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Search").field("distinct", &self.states.len()).finish_non_exhaustive()
    }
}

impl<'m, M: Model> Search<'m, M> {
    /// A search that has not begun.
    ///
    /// # Panics
    /// If the model names more than 64 witnesses.
    pub fn new(model: &'m M, options: Options) -> Self {
        assert!(model.witnesses().len() <= 64, "witnesses are bits of one word");
        let mut tables = Tables::new(model);
        let initial = tables.initial();
        let judge = Judge::new(&initial, &mut tables);
        Self {
            tables,
            states: VectorSet::keyed(initial.len(), initial.len() - usize::from(model.has_ledger())),
            parents: Chunked::new(),
            levels: vec![0],
            judge,
            witnesses: vec![None; model.witnesses().len()],
            seen: 0,
            generated: 0,
            started: Instant::now(),
            options,
            counterexample: None,
        }
    }

    /// Searches to the end, telling how far it is from time to time.
    pub fn run(&mut self, tell: &mut dyn FnMut(&Progress)) -> Outcome<M::Action> {
        let mut initial = self.tables.initial();
        self.tables.canonicalise(&mut initial, &mut Vec::new());
        self.add(&initial, 0);
        let mut end = self.counterexample.as_ref().map(|_| End::Broken);
        let mut batch = Batch::new(initial.len());
        let mut index = 0;
        let mut told = 0;
        while end.is_none() && index < self.count() {
            let until = self.count().min(index + batch::STATES);
            let (model, skips) = (self.tables.model, self.options.skip_failed_steps);
            let leaves_out = |broken: &Broken| skips && !model.is_about_histories(broken);
            batch.expand(index..until, &mut self.states, &mut self.tables, leaves_out);
            for expanded in batch.expanded() {
                if index == self.levels[self.levels.len() - 1] {
                    self.levels.push(self.count());
                }
                self.add_expanded(index, &batch, expanded);
                index += 1;
                if self.counterexample.is_some() {
                    end = Some(End::Broken);
                    break;
                }
            }
            if end.is_none() && index >= told + STRIDE {
                told = index;
                let progress = self.progress(index);
                tell(&progress);
                end = self.over_limit(&progress);
            }
        }
        let progress = self.progress(index);
        tell(&progress);
        Outcome {
            end: end.unwrap_or(End::Exhausted),
            progress,
            depth: self.depth_of(self.count() - 1),
            counterexample: self.counterexample.clone(),
            witnesses: self.witnesses.clone(),
            judged: self.judge.wholes.len(),
            tables: self.tables.sizes(),
        }
    }

    fn count(&self) -> u32 {
        u32::try_from(self.states.len()).expect("fewer than 2^32 states")
    }

    fn progress(&self, expanded: u32) -> Progress {
        Progress {
            distinct: self.states.len(),
            generated: self.generated,
            queue: self.states.len() - expanded as usize,
            depth: self.depth_of(expanded.saturating_sub(1)),
            bytes: self.states.bytes() + self.parents.bytes() + self.tables.memo.bytes(),
            elapsed: self.started.elapsed(),
        }
    }

    fn over_limit(&self, progress: &Progress) -> Option<End> {
        let limits = self.options.limits;
        if progress.queue == 0 {
            None
        } else if progress.distinct > limits.states {
            Some(End::States)
        } else if progress.bytes.max(memory::held().unwrap_or_default()) > limits.bytes {
            Some(End::Memory)
        } else if progress.elapsed > limits.time {
            Some(End::Time)
        } else {
            None
        }
    }

    /// How many states were found.
    pub fn distinct(&self) -> usize {
        self.states.len()
    }

    /// Every state found, as the ids of its parts, slot by slot.
    pub fn states(&self) -> impl Iterator<Item = &[u32]> {
        let count = u32::try_from(self.states.len()).expect("fewer than 2^32 states");
        (0..count).map(|index| self.states.get(index))
    }

    /// The part with this id.
    pub fn part(&self, id: u32) -> &M::Part {
        self.tables.part(id)
    }

    /// Every distinct change of a part that was computed: the part before, and the part behind. In no order.
    pub fn changes(&self) -> impl Iterator<Item = (&M::Part, &M::Part)> {
        self.tables.changes()
    }

    /// The same with what was done to the part, and what that yields. In no order.
    pub fn steps(&self) -> impl Iterator<Item = LocalStep<'_, M>> {
        self.tables.steps()
    }

    /// The number of transitions on a shortest path to a state.
    pub fn depth_of(&self, index: u32) -> u32 {
        // `levels[d + 1]` is the first state behind depth `d`; the first entry marks the initial state's own level.
        let level = self.levels.partition_point(|&first| first <= index) - 1;
        u32::try_from(level).expect("depths are small")
    }

    /// Adds what the transitions of a state of the batch lead to.
    fn add_expanded(&mut self, index: u32, batch: &Batch, expanded: &Expanded) {
        self.generated += expanded.generated;
        self.see(expanded.witnesses, index);
        for ids in expanded.after.clone().filter_map(|place| batch.unknown(place)) {
            self.add(ids, index);
            if self.counterexample.is_some() {
                return;
            }
        }
        if let Some((number, broken)) = &expanded.failure {
            let (_, action) = self.tables.offer(*number, self.states.get(index));
            self.fail(broken.clone(), index, Some(&action));
        }
    }

    fn add(&mut self, ids: &[u32], parent: u32) {
        let tables = &self.tables;
        let (index, new) = self.states.insert_uncovered(ids, |held, rest| tables.allows_all_of(held, rest));
        if !new {
            return;
        }
        self.parents.push(parent);
        let verdict = self.judge.judge(ids, &mut self.tables);
        self.see(verdict.witnesses, index);
        if let Some(broken) = verdict.broken {
            self.fail(broken, index, None);
        }
    }

    fn see(&mut self, bits: u64, index: u32) {
        let mut bits = bits & !self.seen;
        self.seen |= bits;
        while bits != 0 {
            let bit = bits.trailing_zeros() as usize;
            bits &= bits - 1;
            self.witnesses[bit] = Some(self.depth_by_parents(index));
        }
    }

    fn fail(&mut self, broken: Broken, index: u32, last: Option<&M::Action>) {
        let (mut path, names) = self.named_path_to(index);
        path.extend(last.map(|action| self.tables.undo_names(&names, action.clone())));
        self.counterexample = Some(Counterexample { broken, path });
    }

    /// A shortest path to a state, or to one that differs from it only in names.
    pub fn path_to(&mut self, index: u32) -> Vec<M::Action> {
        self.named_path_to(index).0
    }

    /// A shortest path from the initial state, and the symmetries by which its end became the state.
    fn named_path_to(&mut self, mut index: u32) -> (Vec<M::Action>, Vec<usize>) {
        let mut states = vec![index];
        while index != 0 {
            index = self.parents.get(index);
            states.push(index);
        }
        states.reverse();
        let mut expander = Expander::new(self.states.get(0).len());
        let mut start = self.tables.initial();
        let mut names = vec![self.tables.canonicalise(&mut start, &mut expander.scratch)];
        let mut path = Vec::new();
        for pair in states.windows(2) {
            let (action, symmetry) = self.step_between(pair[0], pair[1], &mut expander);
            path.push(self.tables.undo_names(&names, action));
            names.push(symmetry);
        }
        (path, names)
    }

    /// The transition by which a state was found from another one, and the symmetry that it became itself by. Which
    /// one that was is not kept for each state.
    fn step_between(&mut self, from: u32, to: u32, expander: &mut Expander) -> (M::Action, usize) {
        expander.load(self.states.get(from));
        for slot in 0..expander.here.len() {
            for action in self.tables.offers(slot, expander.here[slot]).iter() {
                if let Some((Ok(()), _)) = expander.step(&mut self.tables, action) {
                    let symmetry = self.tables.canonicalise(&mut expander.after, &mut expander.scratch);
                    if expander.after == self.states.get(to) {
                        return (action.clone(), symmetry);
                    }
                }
            }
        }
        unreachable!("a state was found from its parent")
    }

    fn depth_by_parents(&self, mut index: u32) -> u32 {
        let mut depth = 0;
        while index != 0 {
            index = self.parents.get(index);
            depth += 1;
        }
        depth
    }
}

/// Computes the transitions of one state.
#[derive(Debug)]
pub(crate) struct Expander {
    pub(crate) here: Vec<u32>,
    pub(crate) after: Vec<u32>,
    pub(crate) scratch: Vec<u32>,
    /// What the last step has looked at.
    seen: Vec<(usize, u32)>,
}

impl Expander {
    pub(crate) fn new(slots: usize) -> Self {
        let scratch = Vec::with_capacity(slots);
        Self { here: vec![0; slots], after: vec![0; slots], scratch, seen: Vec::new() }
    }

    pub(crate) fn load(&mut self, ids: &[u32]) {
        self.here.copy_from_slice(ids);
    }

    /// Whether the transition is enabled in `here`.
    pub(crate) fn allows<M: Model>(&mut self, tables: &mut Tables<'_, M>, action: &M::Action) -> bool {
        let model = tables.model;
        model.enabled(&InternedBoard::new(tables, &mut self.here), action)
    }

    /// Takes a transition from `here` to `after`, if it is enabled; also returns the witnesses met.
    pub(crate) fn step<M: Model>(
        &mut self,
        tables: &mut Tables<'_, M>,
        action: &M::Action,
    ) -> Option<(Result<(), Broken>, u64)> {
        let model = tables.model;
        self.after.copy_from_slice(&self.here);
        let mut board = InternedBoard::new(tables, &mut self.after);
        let stepped = model.enabled(&board, action).then(|| model.next(&mut board, action));
        let witnesses = board.witnesses;
        self.seen = board.seen();
        Some((stepped?, witnesses))
    }

    /// Computes the transition of this number among all offers, which `here` has, and remembers it.
    pub(crate) fn learn<M: Model>(&mut self, tables: &mut Tables<'_, M>, number: usize) -> Place {
        // An earlier state may have had it to learn as well.
        let known = tables.memo.place(number, &self.here);
        if known != Place::UNKNOWN {
            return known;
        }
        let (slot, action) = tables.offer(number, &self.here);
        let stepped = self.step(tables, &action);
        // The number of the transition stands for what is in this slot.
        self.seen.retain(|(other, _)| *other != slot);
        let states = (&*self.here, &*self.after);
        let outcome = stepped.as_ref().map(|(result, witnesses)| (result.as_ref().err(), *witnesses));
        tables.memo.record(number, &self.seen, states, outcome)
    }
}

/// Judges states, each distinct part, pair and combination of views once.
#[derive(Debug)]
pub(crate) struct Judge {
    /// The slots that have a view.
    slots: Vec<usize>,
    wholes: VectorSet,
    pairs: FxHashSet<(usize, usize, u32, u32)>,
    views: Vec<u32>,
}

impl Judge {
    pub(crate) fn new<M: Model>(initial: &[u32], tables: &mut Tables<'_, M>) -> Self {
        let slots: Vec<_> = (0..initial.len())
            .filter(|&slot| tables.model.view(slot, tables.part(initial[slot])).is_some())
            .collect();
        let length = slots.len().max(1);
        Self { slots, wholes: VectorSet::new(length), pairs: FxHashSet::default(), views: vec![0; length] }
    }

    pub(crate) fn judge<M: Model>(&mut self, ids: &[u32], tables: &mut Tables<'_, M>) -> Verdict {
        let mut verdict = Verdict::default();
        let mut viewed = 0;
        for (slot, &id) in ids.iter().enumerate() {
            let (view, new) = tables.view_id(slot, id);
            if new {
                verdict = verdict.and(tables.model.judge_part(slot, tables.part(id)));
            }
            if self.slots.get(viewed) == Some(&slot) {
                assert!(view != 0, "a slot that has a view at the start always has one");
                self.views[viewed] = view;
                viewed += 1;
            }
        }
        if viewed == 0 || verdict.broken.is_some() || !self.wholes.insert(&self.views).1 {
            return verdict;
        }
        let views: Vec<_> = self.slots.iter().zip(&self.views).map(|(&s, &v)| (s, tables.view(v))).collect();
        for (i, &(low, a)) in views.iter().enumerate() {
            for (j, &(high, b)) in views.iter().enumerate().skip(i + 1) {
                if self.pairs.insert((low, high, self.views[i], self.views[j])) {
                    verdict = verdict.and(tables.model.judge_pair((low, high), (a, b)));
                }
            }
        }
        verdict.and(tables.model.judge_whole(&views))
    }
}
