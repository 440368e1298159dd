//! The `session` model at bounds that take a moment: against the second opinion, and with nothing left out.

use std::collections::BTreeSet;

use crate::common::{agree, exhaust};
use checker::{
    engine::Model,
    session::{Bounds, Deed, Session},
};

/// Bounds with one kind of fault each, small enough for a checker that clones whole states.
fn small() -> Vec<Bounds> {
    let script =
        |first, second| Bounds { first: vec![first], second: vec![second], moves: 0, ..Bounds::default() };
    vec![
        Bounds { moves: 1, connections: 2, ..script(Deed::Set, Deed::Sync) },
        Bounds { ticks: 1, connections: 1, ..script(Deed::Create, Deed::Close) },
        Bounds { changes: 1, connections: 2, ..script(Deed::Sync, Deed::Multi) },
    ]
}

#[test]
fn the_second_opinion_counts_the_same() {
    for bounds in small() {
        agree(Session::new(bounds));
    }
}

#[test]
fn what_clients_cannot_see_may_be_taken_together() {
    let met = |bounds: &Bounds| -> BTreeSet<&'static str> {
        let model = Session::new(bounds.clone());
        let (outcome, names) = (exhaust(&model), model.witnesses().to_vec());
        names
            .into_iter()
            .zip(outcome.witnesses)
            .filter(|(_, depth)| depth.is_some())
            .map(|(name, _)| name)
            .collect()
    };
    for bounds in small() {
        let apart = Bounds { merged: false, ..bounds };
        let merged = Bounds { merged: true, ..apart.clone() };
        assert_eq!(met(&apart), met(&merged), "{apart:?}");
    }
}
