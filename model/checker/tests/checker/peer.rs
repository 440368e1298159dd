//! The `peer` model at bounds that take a moment: against the second opinion, and with nothing left out.

use crate::common::{agree, exhaust};
use checker::{
    engine::Model,
    peer::{Bounds, Peer},
};

/// Bounds with different faults each, small enough for a checker that clones whole states.
fn small() -> Vec<Bounds> {
    let pair =
        Bounds { servers: 2, looks: 4, connections: 2, writes: 2, covering: false, ..Bounds::default() };
    vec![
        Bounds { looks: 5, timeouts: 1, resends: 1, ..pair.clone() },
        Bounds { crashes: 1, ..pair.clone() },
        Bounds { eager: false, crashes: 1, writes: 1, connections: 1, ..pair.clone() },
        Bounds { breaks: 1, pings: 1, window: 0, log_sync: false, ..pair.clone() },
        Bounds { ticks: 3, refusals: true, looks: 2, ..pair },
        Bounds { writes: 0, connections: 0, looks: 3, servers: 3, ..Bounds::default() },
    ]
}

fn met(bounds: &Bounds) -> Vec<&'static str> {
    let model = Peer::new(bounds.clone());
    let outcome = exhaust(&model);
    let names = model.witnesses().iter().zip(outcome.witnesses);
    names.filter(|(_, depth)| depth.is_some()).map(|(name, _)| *name).collect()
}

#[test]
fn the_second_opinion_counts_the_same() {
    for bounds in &small()[..5] {
        agree(Peer::new(bounds.clone()));
    }
}

#[test]
fn what_is_left_out_for_having_used_more_was_judged() {
    for bounds in small() {
        let all = Bounds { covering: false, ..bounds.clone() };
        let less = Bounds { covering: true, ..bounds };
        assert_eq!(met(&all), met(&less), "{all:?}");
    }
}

#[test]
fn a_client_is_answered_only_when_a_write_is_durable_at_a_quorum() {
    let names = met(&Bounds { servers: 2, looks: 2, eager: false, ..Bounds::default() });
    for name in ["elected", "established", "acknowledged", "acknowledged-at-a-follower", "R-2", "R-3", "S-8"]
    {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
}
