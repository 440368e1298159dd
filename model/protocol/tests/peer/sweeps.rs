//! What a leader writes by itself.
use crate::register::Write;
use crate::{World, set};
use protocol::Timer;

/// Three servers whose leader, whenever it looks, finds these writes due, and takes so many of them.
fn due(writes: Vec<Write>, sweep_max: usize) -> World {
    let mut net = World::down(3, 0, 100, u32::MAX - 1);
    (net.settings, net.sweep_max) = (writes, sweep_max);
    for id in 1..=3 {
        net.start(id);
    }
    net.pump();
    net
}

fn cells(net: &World) -> Vec<(u8, u32)> {
    let cells = &net.node(1).machine.cells;
    assert!((2..=3).all(|id| net.node(id).machine.cells == *cells), "all have applied the same");
    cells.iter().map(|(number, cell)| (*number, cell.value)).collect()
}

fn next_is_set(net: &World) -> bool {
    net.node(net.leader()).timers.contains_key(&Timer::SweepNext)
}

#[test]
fn what_is_due_is_written_one_after_the_other_and_no_more_than_is_allowed() {
    let writes = vec![Write::Set(1, 1), Write::Swap(2, 0, 9), Write::Set(3, 3), Write::Set(4, 4)];
    let mut net = due(writes, 3);
    let leader = net.leader();
    let (client, _, _) = net.open(1);
    net.fire(leader, Timer::Sweep);
    net.pump();
    assert_eq!(cells(&net), [(1, 1)]);
    // What is prepared by then counts: this one comes too late.
    net.request(client, 1, set(2, 7));
    net.fire(leader, Timer::SweepNext);
    net.pump();
    assert_eq!(cells(&net), [(1, 1), (2, 7)]);
    net.fire(leader, Timer::SweepNext);
    net.pump();
    assert_eq!(cells(&net), [(1, 1), (2, 7), (3, 3)]);
    net.fire(leader, Timer::SweepNext);
    net.pump();
    assert!(!next_is_set(&net), "three are enough");
    assert_eq!(cells(&net), [(1, 1), (2, 7), (3, 3)]);
}

#[test]
fn a_look_waits_until_the_next_may_be_written_and_is_not_forgotten() {
    let mut net = due(vec![Write::Set(1, 1), Write::Set(2, 2)], 2);
    let leader = net.leader();
    let count = |net: &World| net.node(leader).machine.last;
    net.fire(leader, Timer::Sweep);
    net.pump();
    let first = count(&net);
    // It is time to look again before it is done with what it found.
    net.fire(leader, Timer::Sweep);
    net.pump();
    assert_eq!(count(&net), first, "the timer paces a look too");
    for written in 1..=3 {
        net.fire(leader, Timer::SweepNext);
        net.pump();
        assert_eq!(
            count(&net).counter(),
            first.counter() + written,
            "the second of the first look, then two more"
        );
    }
    net.fire(leader, Timer::SweepNext);
    assert!(!next_is_set(&net));
}

#[test]
fn what_was_due_ends_with_the_reign() {
    let mut net = due(vec![Write::Set(1, 1), Write::Set(2, 2)], 2);
    let leader = net.leader();
    net.fire(leader, Timer::Sweep);
    net.pump();
    for other in (1..=3).filter(|id| *id != leader) {
        net.cut(leader, other);
    }
    net.pump();
    net.finalize();
    let timers = net.nodes.values().map(|node| node.timers.keys().copied().collect::<Vec<_>>());
    let sweeps: Vec<_> =
        timers.flatten().filter(|timer| matches!(timer, Timer::Sweep | Timer::SweepNext)).collect();
    assert_eq!(sweeps, [Timer::Sweep], "of whoever leads now");
    assert_eq!(cells(&net), [(1, 1)]);
}

#[test]
fn who_may_sweep_nothing_never_looks() {
    let net = due(vec![Write::Set(1, 1)], 0);
    assert!(net.nodes.values().all(|node| !node.timers.contains_key(&Timer::Sweep)));
}
