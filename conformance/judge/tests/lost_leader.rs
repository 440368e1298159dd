//! A leader's recording that has lost its end: its learners are believed, and their rules hold.

use std::{fs, path::Path};

use protocol::{
    Message, Notification, Quorum, Recovered, ServerState, Ticket, Vote,
    peer::{Config, Input, Packet},
    zab,
};
use recording::{Boot, Encoder, TreeMark, ring::Ring};
use spec::{Epoch, ServerId, SessionId, Zxid};
use tree::{Tree, Txn, TxnBody};

const LEADER: ServerId = ServerId(2);

fn boot(me: u64, voters: &[u64]) -> Boot {
    let config = Config {
        zab: zab::Config {
            me: ServerId(me),
            quorum: Quorum::majority(voters.iter().copied().map(ServerId)),
            window: 500,
            log_sync: false,
            counter_max: u32::MAX,
        },
        tick_ms: 100,
        session_timeout_min_ms: 200,
        session_timeout_max_ms: 2000,
        first_session: SessionId(1),
        settings: tree::Settings::default(),
        sweep_max: 0,
        read_only: false,
    };
    let recovered = Recovered {
        accepted: Epoch(0),
        current: Epoch(0),
        floor: Zxid::ZERO,
        last: Zxid::ZERO,
        base: Zxid::ZERO,
        tail: Vec::new(),
    };
    Boot { at_us: me, config, recovered, tree: TreeMark::of(&Tree::new()) }
}

/// Writes the recording of a server, a turn of its loop behind the other: when it began, and what it was told.
fn write(dir: &Path, me: u64, voters: &[u64], turns: Vec<(u64, Vec<Input<Tree>>)>) {
    let mut encoder = Encoder::default();
    encoder.boot(&boot(me, voters));
    for (at_us, inputs) in turns {
        encoder.turn(at_us);
        for input in inputs {
            encoder.input(&input, false);
        }
    }
    let records = encoder.take(Vec::new()).expect("each record is short");
    let dir = dir.join(format!("server{me}"));
    Ring::open(&dir, 1 << 20)
        .and_then(|mut ring| ring.write(1, true, &records))
        .expect("the folder can be written");
}

/// A server has elected server 2, or heard of it as an observer, and has promised it this epoch. What a leader that is not
/// `extended` proposes is recorded whole.
fn following(epoch: u32, votes: [(u64, ServerState); 2], extended: bool) -> Vec<Input<Tree>> {
    let vote = |(from, state)| {
        let vote = Vote { epoch: Epoch(0), zxid: Some(Zxid::ZERO), leader: LEADER };
        let notification = Notification { state, vote, round: 1 };
        Input::Notification { from: ServerId(from), notification }
    };
    vec![
        Input::Done(Ticket(0)),
        vote(votes[0]),
        vote(votes[1]),
        Input::Connected(LEADER),
        packet(Message::LeaderInfo { epoch: Epoch(epoch), extended }),
        Input::Done(Ticket(0)),
    ]
}

fn packet(message: Message<Txn>) -> Input<Tree> {
    Input::Packet { from: LEADER, packet: Packet::Zab(message), time: 0 }
}

fn propose(counter: u32) -> Input<Tree> {
    let body = TxnBody::Error { code: -101 };
    let txn = Txn { session: SessionId(9), cxid: 0, time: 5, body, digest: None };
    packet(Message::Proposal { zxid: Zxid::new(Epoch(1), counter), txn })
}

fn commit(counter: u32) -> Input<Tree> {
    packet(Message::Commit { zxid: Zxid::new(Epoch(1), counter) })
}

/// The judgement of what server 1 was told by the leader of this epoch; of the others nothing is recorded but the start.
fn judge(name: &str, epoch: u32, inputs: impl IntoIterator<Item = Input<Tree>>) -> judge::Report {
    let following = following(epoch, [(2, ServerState::Looking), (3, ServerState::Looking)], true);
    judge_voters(name, &[1, 2, 3], following.into_iter().chain(inputs))
}

/// The same of all that server 1 was told, with these voters.
fn judge_voters(name: &str, voters: &[u64], inputs: impl IntoIterator<Item = Input<Tree>>) -> judge::Report {
    judge_all(name, voters, [vec![(10, inputs.into_iter().collect())], vec![], vec![]])
}

/// The same of what each server was told in the turns of its loop.
fn judge_all(name: &str, voters: &[u64], turns: [Vec<(u64, Vec<Input<Tree>>)>; 3]) -> judge::Report {
    let dir = std::env::temp_dir().join(format!("zabkeeper-judge-{name}-{}", std::process::id()));
    for (me, turns) in (1..).zip(turns) {
        write(&dir, me, voters, turns);
    }
    let report = judge::judge(std::slice::from_ref(&dir), None).expect("there are three recordings");
    fs::remove_dir_all(&dir).expect("the folder is there");
    report
}

#[test]
fn commits_that_a_learner_keeps_for_later_are_believed() {
    let report = judge(
        "later",
        1,
        [
            packet(Message::Diff { last: Zxid::ZERO }),
            packet(Message::NewLeader { epoch: Epoch(1) }),
            propose(1),
            propose(2),
            propose(3),
            commit(1),
            commit(2),
            Input::Done(Ticket(0)),
            packet(Message::UpToDate),
            propose(4),
        ],
    );
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.committed, report.reigns, report.starts), (2, 1, 3), "{report}");
    assert!(report.tested["DeliveredIsCommitted"] > 0, "{report}");
}

/// Before it is established, a leader tells a follower to commit what no quorum may hold. With the follower's log not
/// synced, and the leader gone, all of that may be lost, and breaks no rule.
#[test]
fn commits_of_a_leader_that_is_not_established_are_none() {
    let synchronised =
        [packet(Message::Diff { last: Zxid::ZERO }), propose(1), commit(1), propose(2), commit(2)];
    let lost = [Input::Disconnected(LEADER)];
    let report = judge("early", 2, synchronised.clone().into_iter().chain(lost));
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.committed, report.reigns), (0, 0), "{report}");

    let joined = [packet(Message::NewLeader { epoch: Epoch(2) })];
    let done = [0, 1, 0].map(|ticket| Input::Done(Ticket(ticket)));
    let established = joined.into_iter().chain(done).chain([packet(Message::UpToDate)]);
    let report = judge("established", 2, synchronised.into_iter().chain(established));
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.committed, report.reigns), (2, 1), "{report}");
}

/// What an observer is told of while it is brought up to date comes behind what it has not logged yet.
#[test]
fn what_an_observer_is_told_before_it_serves_is_committed() {
    let inform = |counter| {
        let body = TxnBody::Error { code: -101 };
        let txn = Txn { session: SessionId(9), cxid: 0, time: 5, body, digest: None };
        packet(Message::Inform { zxid: Zxid::new(Epoch(1), counter), txn })
    };
    let told = [
        packet(Message::Diff { last: Zxid::new(Epoch(1), 1) }),
        propose(1),
        commit(1),
        packet(Message::NewLeader { epoch: Epoch(1) }),
        inform(2),
        inform(3),
        inform(4),
        Input::Done(Ticket(0)),
        Input::Done(Ticket(0)),
        packet(Message::UpToDate),
    ];
    let following = following(1, [(2, ServerState::Leading), (3, ServerState::Following)], false);
    let report = judge_voters("observer", &[2, 3], following.into_iter().chain(told));
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.committed, 4, "{report}");
}

/// A turn of the loop takes in what comes until it is over, so a later turn of another server may have led to it.
#[test]
fn a_turn_may_hear_of_what_a_later_one_has_led_to() {
    /// Enough for a moment that is judged.
    const COUNT: u32 = 16;
    let serving = [
        packet(Message::Diff { last: Zxid::ZERO }),
        packet(Message::NewLeader { epoch: Epoch(1) }),
        Input::Done(Ticket(0)),
        packet(Message::UpToDate),
    ];
    let joined = |votes| {
        let told = following(1, votes, false).into_iter().chain(serving.clone());
        told.chain((1..=COUNT).map(propose)).collect::<Vec<_>>()
    };
    let votes = [(2, ServerState::Looking), (3, ServerState::Looking)];
    let first =
        vec![(10, joined(votes)), (30, (0..COUNT).map(|ticket| Input::Done(Ticket(ticket))).collect())];
    let votes = [(2, ServerState::Leading), (1, ServerState::Following)];
    let third = vec![(10, joined(votes)), (20, (1..=COUNT).map(commit).collect())];
    let report = judge_all("turns", &[1, 2, 3], [first, vec![], third]);
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.committed, COUNT as usize, "{report}");
    assert!(report.tested["R-2"] > 0, "{report}");
}
