//! Runs of chance over the least machine.
use std::collections::BTreeSet;

use spec::SessionId;

use crate::{
    net::chance::{Play, Run, Tally},
    register::{Read, Register, Txn, Write},
};

impl Play for Register {
    fn setup() -> Vec<Write> {
        Vec::new()
    }

    fn put(cell: u8, value: u32) -> Write {
        Write::Set(cell, value)
    }

    fn own(value: u32) -> Write {
        Write::Own(100 + u8::try_from(value % 100).expect("small"), value)
    }

    fn get(cell: u8, watch: bool) -> Read {
        if watch { Read::Watch(cell) } else { Read::Get(cell) }
    }

    fn put_by(txn: &Txn) -> Option<(u8, u32)> {
        match txn {
            Txn::Set { cell, value, .. } => Some((*cell, value.value)),
            Txn::Open(..) | Txn::Close { .. } | Txn::Error { .. } => None,
        }
    }

    fn value(answer: &str) -> Option<u32> {
        (answer != "NoNode").then(|| answer.parse().expect("a number"))
    }

    fn is_done(answer: &str) -> bool {
        answer == "Done"
    }

    fn owners(&self) -> BTreeSet<SessionId> {
        self.cells.values().filter_map(|cell| cell.owner).collect()
    }
}

#[test]
fn the_rules_of_sessions_hold_whatever_happens() {
    let mut tally = Tally::default();
    // In 2455 a server fails to become a leader and finds another one with an epoch below its own promise.
    // In 32707 a client takes its session from the leader's successor to the leader, which does not know of either.
    for seed in (1..=400).chain([2455, 32_707]) {
        Run::<Register>::play(seed, 0, 3000, &mut tally);
    }
    // What the runs must have reached, or they show little.
    let Tally { replies, writes, syncs, events, refused, used_up, epochs } = tally;
    let least =
        [(replies, 50_000), (writes, 10_000), (syncs, 10_000), (events, 2_000), (refused, 50), (used_up, 50)];
    assert!(least.iter().all(|(found, least)| found >= least), "{least:?}");
    assert!(epochs > 1000, "{epochs} epochs");
}

#[test]
fn the_rules_of_sessions_hold_with_observers() {
    let mut tally = Tally::default();
    for seed in 1..=200 {
        Run::<Register>::play(seed, 1 + seed % 2, 3000, &mut tally);
    }
    let Tally { replies, writes, syncs, events, refused, used_up, epochs } = tally;
    let least =
        [(replies, 25_000), (writes, 5_000), (syncs, 5_000), (events, 1_000), (refused, 25), (used_up, 25)];
    assert!(least.iter().all(|(found, least)| found >= least), "{least:?}");
    assert!(epochs > 500, "{epochs} epochs");
}
