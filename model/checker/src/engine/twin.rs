//! The second opinion: stateright's checker over the same model on plain cloned states.

use std::{
    fmt::{self, Write as _},
    net::SocketAddr,
};

use stateright::{Checker, Property};

use super::{Broken, Model, plain::Plain};

/// A model as stateright sees it.
#[derive(Clone, Debug)]
pub struct Twin<M>(pub M);

/// An action with the line that describes it, for stateright's explorer.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Named<A> {
    /// The action.
    pub action: A,
    line: String,
}

impl<A> fmt::Debug for Named<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl<M: Model> stateright::Model for Twin<M> {
    type State = Plain<M>;
    type Action = Named<M::Action>;

    fn init_states(&self) -> Vec<Self::State> {
        vec![Plain::initial(&self.0)]
    }

    fn actions(&self, state: &Self::State, actions: &mut Vec<Self::Action>) {
        let possible = state.possible(&self.0).into_iter();
        actions.extend(possible.map(|action| Named { line: self.0.describe(&action), action }));
    }

    fn next_state(&self, last: &Self::State, named: Self::Action) -> Option<Self::State> {
        let mut state = last.clone();
        state.step(&self.0, &named.action);
        state.witnesses = 0;
        Some(state)
    }

    fn format_action(&self, named: &Self::Action) -> String {
        named.line.clone()
    }

    fn format_step(&self, last: &Self::State, named: Self::Action) -> Option<String> {
        let mut state = last.clone();
        let mut text = state.step_narrated(&self.0, &named.action).join("\n");
        text.push_str("\n\n");
        for (slot, part) in state.parts.iter().enumerate() {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{}: {part:#?}", self.0.slot_name(slot));
        }
        Some(text)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::<Self>::always("every rule holds", |twin, state: &Plain<M>| {
            state.judge(&twin.0).broken.is_none()
        })]
    }
}

/// What the second opinion says.
#[derive(Clone, Debug)]
pub struct Opinion<A> {
    /// Distinct states.
    pub distinct: usize,
    /// Transitions computed.
    pub generated: usize,
    /// The most transitions on any path that was followed.
    pub depth: u32,
    /// What is broken, and a path to it, which need not be a shortest one.
    pub counterexample: Option<(Broken, Vec<A>)>,
}

/// Searches the whole model with stateright, on one thread.
pub fn second_opinion<M: Model + Clone + fmt::Debug>(model: M) -> Opinion<M::Action> {
    use stateright::Model as _;
    let checker = Twin(model.clone()).checker().threads(1).spawn_bfs().join();
    let counterexample = checker.discovery("every rule holds").map(|path| {
        let broken = path.last_state().judge(&model).broken;
        let actions = path.into_actions().into_iter().map(|named| named.action).collect();
        (broken.unwrap_or_else(|| Broken::new("unknown", "stateright alone objects")), actions)
    });
    Opinion {
        distinct: checker.unique_state_count(),
        // It counts the initial state too.
        generated: checker.state_count() - 1,
        // It counts states, not transitions.
        depth: u32::try_from(checker.max_depth()).map_or(u32::MAX, |depth| depth.saturating_sub(1)),
        counterexample,
    }
}

/// Serves stateright's own explorer of this model, until the process ends.
pub fn explore<M: Model + Clone + fmt::Debug>(model: M, address: SocketAddr) {
    use stateright::Model as _;
    Twin(model).checker().serve(address);
}
