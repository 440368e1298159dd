//! The search for traps: states from which no healed, fault-free run gets anywhere.
//!
//! Liveness is shown in a weak and honest form: from every state of an exhausted search that has room left in its
//! budgets, *some* run without further faults reaches a goal. A protocol that can lock itself up has a state from
//! which none does.

use super::{
    Model,
    plain::Plain,
    search::{Counterexample, Expander, Search},
};

/// What the search for traps has found.
#[derive(Clone, Debug)]
pub struct Traps<A> {
    /// States from which a goal must be in reach.
    pub demanded: usize,
    /// States that are a goal.
    pub goals: usize,
    /// States that are demanded and from which no goal is in reach.
    pub traps: usize,
    /// A shortest path to a trap.
    pub first: Option<Counterexample<A>>,
}

/// Looks for states that are [demanded](Model::is_demanded) and from which no fault-free run reaches a
/// [goal](Model::is_goal). The search must have been exhausted, with nothing left out for its ledger.
pub fn traps<M: Model>(search: &mut Search<'_, M>) -> Traps<M::Action> {
    let model = search.tables.model;
    assert!(!model.has_ledger(), "what is left out may be a trap: it has less left to go on with");
    let edges = Edges::of(search);
    let count = search.states.len();
    let mut live = vec![false; count];
    let mut found = Traps { demanded: 0, goals: 0, traps: 0, first: None };
    for (index, live) in live.iter_mut().enumerate() {
        *live = model.is_goal(&parts(search, index));
        found.goals += usize::from(*live);
    }
    // Edges mostly lead to states found later: walking backwards settles almost all of them in one pass.
    let mut changed = true;
    while changed {
        changed = false;
        for index in (0..count).rev() {
            if !live[index] && edges.from(index).iter().any(|&to| live[to as usize]) {
                live[index] = true;
                changed = true;
            }
        }
    }
    for (index, live) in live.iter().enumerate() {
        if model.is_demanded(&parts(search, index)) {
            found.demanded += 1;
            if !live {
                found.traps += 1;
                if found.first.is_none() {
                    let path = search.path_to(u32::try_from(index).expect("fewer than 2^32 states"));
                    let broken =
                        super::Broken::new("no-traps", "no fault-free run from here reaches the goal");
                    found.first = Some(Counterexample { broken, path });
                }
            }
        }
    }
    found
}

fn parts<'s, M: Model>(search: &'s Search<'_, M>, index: usize) -> Vec<&'s M::Part> {
    let index = u32::try_from(index).expect("fewer than 2^32 states");
    search.states.get(index).iter().map(|&id| search.tables.part(id)).collect()
}

/// The fault-free transitions between the states of a search.
#[derive(Debug)]
struct Edges {
    /// `starts[i]..starts[i + 1]` are the edges of state `i`.
    starts: Vec<usize>,
    targets: Vec<u32>,
}

impl Edges {
    fn of<M: Model>(search: &mut Search<'_, M>) -> Self {
        let mut edges = Self { starts: vec![0], targets: Vec::new() };
        let count = u32::try_from(search.states.len()).expect("fewer than 2^32 states");
        let mut expander = Expander::new(search.states.get(0).len());
        for index in 0..count {
            expander.load(search.states.get(index));
            for slot in 0..expander.here.len() {
                let offers = search.tables.offers(slot, expander.here[slot]);
                for action in offers.iter().filter(|action| search.tables.model.is_fault_free(action)) {
                    if let Some((Ok(()), _)) = expander.step(&mut search.tables, action) {
                        search.tables.canonicalise(&mut expander.after, &mut expander.scratch);
                        let (to, new) = search.states.insert(&expander.after);
                        assert!(!new, "the search was exhausted");
                        if to != index {
                            edges.targets.push(to);
                        }
                    }
                }
            }
            edges.starts.push(edges.targets.len());
        }
        edges
    }

    fn from(&self, index: usize) -> &[u32] {
        &self.targets[self.starts[index]..self.starts[index + 1]]
    }
}

/// Carries out a path, step by step, on plain parts. Ends early at a broken rule.
pub fn follow<M: Model>(model: &M, path: &[M::Action]) -> Plain<M> {
    let mut state = Plain::initial(model);
    for action in path {
        state.step(model, action);
        if state.broken.is_some() {
            break;
        }
    }
    state
}
