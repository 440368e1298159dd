//! What tests of every model ask.

use std::fmt::Debug;

use checker::{
    engine::{
        Model,
        search::{End, Options, Outcome, Search},
        twin::second_opinion,
    },
    trace,
};

/// Searches every state of a model, all of whose rules hold.
pub(crate) fn exhaust<M: Model>(model: &M) -> Outcome<M::Action> {
    let outcome = Search::new(model, Options::default()).run(&mut |_| {});
    if let Some(found) = &outcome.counterexample {
        panic!("{}", trace::tell(model, found));
    }
    assert_eq!(outcome.end, End::Exhausted);
    outcome
}

/// Both engines find the same number of states and of transitions.
pub(crate) fn agree<M: Model + Clone + Debug>(model: M) {
    let own = exhaust(&model);
    let said = format!("{model:?}");
    let other = second_opinion(model);
    assert!(other.counterexample.is_none(), "{said}");
    assert_eq!(own.progress.distinct, other.distinct, "{said}");
    assert_eq!(own.progress.generated, other.generated as u64, "{said}");
}
