//! The second opinion: stateright's checker over the same model on plain cloned states.

use std::{
    fmt,
    hash::{Hash, Hasher},
    net::SocketAddr,
    sync::Arc,
};

use stateright::{Checker, Property};

use super::{Broken, Model, picture, plain::Plain};

/// A model as stateright sees it.
#[derive(Debug)]
pub struct Twin<M>(Arc<M>);

impl<M> Twin<M> {
    /// Of this model.
    pub fn new(model: M) -> Self {
        Self(Arc::new(model))
    }
}

/// A state with its model, which knows the words for it.
pub struct Situation<M: Model> {
    model: Arc<M>,
    /// The state.
    pub plain: Plain<M>,
}

impl<M: Model> Clone for Situation<M> {
    fn clone(&self) -> Self {
        Self { model: Arc::clone(&self.model), plain: self.plain.clone() }
    }
}

impl<M: Model> PartialEq for Situation<M> {
    fn eq(&self, other: &Self) -> bool {
        self.plain == other.plain
    }
}

impl<M: Model> Eq for Situation<M> {}

impl<M: Model> Hash for Situation<M> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.plain.hash(state);
    }
}

/// As stateright's explorer shows it: each part of which there is something to tell.
impl<M: Model> fmt::Debug for Situation<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(broken) = &self.plain.broken {
            writeln!(f, "BROKEN {}: {}\n", broken.rule, broken.why)?;
        }
        for (slot, part) in self.plain.parts.iter().enumerate() {
            let lines = self.model.tell(part);
            if let Some((first, rest)) = lines.split_first() {
                writeln!(f, "{}: {first}", self.model.slot_name(slot))?;
                rest.iter().try_for_each(|line| writeln!(f, "    {line}"))?;
            }
        }
        Ok(())
    }
}

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
    type State = Situation<M>;
    type Action = Named<M::Action>;

    fn init_states(&self) -> Vec<Self::State> {
        vec![Situation { model: Arc::clone(&self.0), plain: Plain::initial(&*self.0) }]
    }

    fn actions(&self, state: &Self::State, actions: &mut Vec<Self::Action>) {
        let possible = state.plain.possible(&self.0).into_iter();
        actions.extend(possible.map(|action| Named { line: self.0.describe(&action), action }));
    }

    fn next_state(&self, last: &Self::State, named: Self::Action) -> Option<Self::State> {
        let mut state = last.clone();
        state.plain.step(&self.0, &named.action);
        state.plain.witnesses = 0;
        Some(state)
    }

    fn format_action(&self, named: &Self::Action) -> String {
        named.line.clone()
    }

    fn format_step(&self, last: &Self::State, named: Self::Action) -> Option<String> {
        let mut state = last.clone();
        // What happens, over what it comes to.
        let mut lines = state.plain.step_narrated(&self.0, &named.action);
        lines.extend((!lines.is_empty()).then(String::new));
        lines.push(format!("{state:?}"));
        Some(lines.join("\n"))
    }

    fn as_svg(&self, path: stateright::Path<Self::State, Self::Action>) -> Option<String> {
        let actions: Vec<_> = path.into_actions().into_iter().map(|named| named.action).collect();
        picture::svg(&*self.0, &actions)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::<Self>::always("every rule holds", |twin, state: &Situation<M>| {
            state.plain.judge(&twin.0).broken.is_none()
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
    let checker = Twin::new(model.clone()).checker().threads(1).spawn_bfs().join();
    let counterexample = checker.discovery("every rule holds").map(|path| {
        let broken = path.last_state().plain.judge(&model).broken;
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
pub(crate) fn explore<M: Model + Clone + fmt::Debug>(model: M, address: SocketAddr) {
    use stateright::Model as _;
    Twin::new(model).checker().serve(address);
}
