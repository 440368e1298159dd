//! What an observer says, at each moment of its leader, and what a leader says to an observer: the zab actor alone.
//!
//! The leader is server 3 of the voters 1 to 3; 4 observes. After each word of the observer, everything about the
//! voters must be as it is without that word.

use std::collections::BTreeSet;

use protocol::{
    Exit, Message, Note, Quorum, Recovered, Role, Ticket, Timer, Violation, Vote,
    zab::{Config, Effects, Input, Zab},
};
use spec::{Epoch, ServerId, Zxid};

const LEADER: ServerId = ServerId(3);
const VOTER: ServerId = ServerId(2);
const OTHER_VOTER: ServerId = ServerId(1);
const OBSERVER: ServerId = ServerId(4);

/// What an actor has asked for.
#[derive(Default)]
struct Asked {
    sent: Vec<(ServerId, Message<u8>)>,
    jobs: Vec<Ticket>,
    closed: BTreeSet<ServerId>,
    timers: BTreeSet<Timer>,
    notes: Vec<Note>,
    delivered: Vec<Zxid>,
    served: Option<Role>,
    looked: bool,
}

impl Effects<u8> for Asked {
    fn send(&mut self, to: ServerId, message: &Message<u8>) {
        self.sent.push((to, message.clone()));
    }
    fn stream_snapshot(&mut self, _: ServerId, _: Zxid) {}
    fn stream_log(&mut self, _: ServerId, _: Zxid, _: Zxid) {}
    fn connect(&mut self, _: ServerId) {}
    fn disconnect(&mut self, peer: ServerId) {
        self.closed.insert(peer);
    }
    fn refuse(&mut self, from: ServerId) {
        self.closed.insert(from);
    }
    fn append(&mut self, ticket: Ticket, _: Zxid, _: &u8) {
        self.jobs.push(ticket);
    }
    fn truncate(&mut self, ticket: Ticket, _: Zxid) {
        self.jobs.push(ticket);
    }
    fn sync_log(&mut self, ticket: Ticket) {
        self.jobs.push(ticket);
    }
    fn save_accepted(&mut self, ticket: Ticket, _: Epoch) {
        self.jobs.push(ticket);
    }
    fn save_current(&mut self, ticket: Ticket, _: Epoch) {
        self.jobs.push(ticket);
    }
    fn save_snapshot(&mut self, ticket: Ticket, _: Zxid) {
        self.jobs.push(ticket);
    }
    fn locate(&mut self, ticket: Ticket, _: Zxid) {
        self.jobs.push(ticket);
    }
    fn reload(&mut self) {}
    fn deliver(&mut self, zxid: Zxid, _: &u8) {
        self.delivered.push(zxid);
    }
    fn replay(&mut self, _: Zxid, _: &u8) {}
    fn set_timer(&mut self, timer: Timer) {
        self.timers.insert(timer);
    }
    fn cancel_timer(&mut self, timer: Timer) {
        self.timers.remove(&timer);
    }
    fn look(&mut self, _: Vote) {
        self.looked = true;
    }
    fn serve(&mut self, role: Role, _: Epoch) {
        self.served = Some(role);
    }
    fn retire(&mut self) {
        self.served = None;
    }
    fn note(&mut self, note: Note) {
        self.notes.push(note);
    }
    fn exit(&mut self, _: Exit) {}
}

/// One server and what it has asked for.
struct Bench {
    zab: Zab<u8>,
    asked: Asked,
}

impl Bench {
    /// A server that looks for a leader, with this much on disk.
    fn new(me: ServerId, accepted: u32, current: u32, last: Zxid) -> Self {
        let config = Config {
            me,
            quorum: Quorum::majority((1..=3).map(ServerId)),
            window: 10,
            log_sync: false,
            counter_max: u32::MAX - 1,
        };
        let (accepted, current) = (Epoch(accepted), Epoch(current));
        let recovered =
            Recovered { accepted, current, floor: Zxid::ZERO, last, base: last, tail: Vec::new() };
        let mut asked = Asked::default();
        let zab = Zab::boot(config, recovered, &mut asked);
        let mut bench = Self { zab, asked };
        bench.finish();
        bench.asked.looked = false;
        bench
    }

    fn step(&mut self, input: Input<u8>) {
        self.zab.step(input, &mut self.asked);
    }

    fn hear(&mut self, from: ServerId, message: Message<u8>) {
        self.step(Input::Message { from, message });
    }

    /// Ends every disk operation.
    fn finish(&mut self) {
        while !self.asked.jobs.is_empty() {
            let ticket = self.asked.jobs.remove(0);
            self.step(Input::Done(ticket));
        }
    }

    fn last_to(&self, to: ServerId) -> Option<&Message<u8>> {
        self.asked.sent.iter().rev().find(|(server, _)| *server == to).map(|(_, message)| message)
    }
}

/// How far the leader is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Moment {
    Gathering,
    Promising,
    Electing,
    Saving,
    Synchronising,
    Broadcasting,
    OneOpen,
}

const MOMENTS: [Moment; 7] = [
    Moment::Gathering,
    Moment::Promising,
    Moment::Electing,
    Moment::Saving,
    Moment::Synchronising,
    Moment::Broadcasting,
    Moment::OneOpen,
];

fn introduce(accepted: u32) -> Message<u8> {
    Message::FollowerInfo { accepted: Epoch(accepted), extended: true }
}

fn observe(accepted: u32) -> Message<u8> {
    Message::ObserverInfo { accepted: Epoch(accepted), extended: true }
}

fn ack_epoch(current: Option<u32>, last: Zxid) -> Message<u8> {
    Message::AckEpoch { current: current.map(Epoch), last, floor: Zxid::ZERO }
}

fn start_of(epoch: u32) -> Message<u8> {
    Message::Ack { zxid: Epoch(epoch).start() }
}

/// A leader at this moment, with one follower; the observer's link is up. Its disk holds 1:1.
fn leader_at(moment: Moment) -> Bench {
    let first = Zxid::new(Epoch(1), 1);
    let mut bench = Bench::new(LEADER, 1, 1, first);
    bench.step(Input::Elected(LEADER));
    bench.step(Input::Accepted(OBSERVER));
    bench.step(Input::Accepted(VOTER));
    let to = |reached: Moment, bench: &mut Bench, act: &dyn Fn(&mut Bench)| {
        if moment >= reached {
            act(bench);
        }
    };
    to(Moment::Promising, &mut bench, &|bench| bench.hear(VOTER, introduce(1)));
    to(Moment::Electing, &mut bench, &Bench::finish_all);
    to(Moment::Saving, &mut bench, &|bench| bench.hear(VOTER, ack_epoch(Some(1), first)));
    to(Moment::Synchronising, &mut bench, &Bench::finish_all);
    to(Moment::Broadcasting, &mut bench, &|bench| bench.hear(VOTER, start_of(2)));
    to(Moment::OneOpen, &mut bench, &|bench| {
        bench.step(Input::Propose(7));
        bench.finish();
    });
    assert_eq!(bench.zab.is_serving(), moment >= Moment::Broadcasting, "{moment:?}");
    bench
}

impl Bench {
    fn finish_all(bench: &mut Self) {
        bench.finish();
    }
}

/// Whatever an observer says, and whenever: nobody is elected, unseated or committed by it.
#[test]
fn no_word_of_an_observer_counts_at_any_moment() {
    let beyond = Zxid::new(Epoch(9), 9);
    let words: Vec<Vec<Message<u8>>> = vec![
        vec![observe(0)],
        vec![observe(1)],
        // It has promised an epoch that is beyond this one, or is at the end of all.
        vec![observe(8)],
        vec![observe(u32::MAX - 1)],
        vec![observe(u32::MAX)],
        vec![introduce(0)],
        vec![introduce(8)],
        // It has more than the leader, from one that failed.
        vec![observe(0), ack_epoch(Some(9), beyond)],
        vec![observe(0), ack_epoch(None, beyond)],
        vec![ack_epoch(Some(9), beyond)],
        // Acknowledgements of NEWLEADER and of proposals.
        vec![start_of(2)],
        vec![Message::Ack { zxid: Zxid::new(Epoch(2), 1) }],
        vec![observe(0), ack_epoch(Some(1), Zxid::new(Epoch(1), 1)), start_of(2)],
        vec![
            observe(0),
            ack_epoch(Some(1), Zxid::new(Epoch(1), 1)),
            start_of(2),
            Message::Ack { zxid: Zxid::new(Epoch(2), 1) },
        ],
        vec![Message::UpToDate],
        vec![Message::Inform { zxid: beyond, txn: 1 }],
    ];
    for moment in MOMENTS {
        for said in &words {
            let mut bench = leader_at(moment);
            let (sent, committed) = (bench.asked.sent.len(), bench.zab.committed());
            let serving = bench.zab.is_serving();
            for word in said {
                // A leader that has dropped the link hears no more of it.
                if !bench.asked.closed.contains(&OBSERVER) {
                    bench.hear(OBSERVER, word.clone());
                }
            }
            let told = |what: &str| format!("{moment:?}, {said:?}: {what}");
            assert!(matches!(bench.zab.role(), Some((Role::Leading, _))), "{}", told("it gives up"));
            assert!(!bench.asked.looked, "{}", told("it looks for a leader"));
            assert_eq!(bench.zab.is_serving(), serving, "{}", told("it is established or not"));
            assert_eq!(bench.zab.committed(), committed, "{}", told("something is committed"));
            assert!(bench.asked.jobs.is_empty() || moment != Moment::Gathering, "{}", told("it promises"));
            let to_voters = bench.asked.sent[sent..].iter().filter(|(to, _)| *to != OBSERVER).count();
            assert_eq!(to_voters, 0, "{}", told("voters are told something"));
            assert!(!bench.asked.closed.contains(&VOTER), "{}", told("a voter is dropped"));
            // The voters go on as ever: the epoch is established, and a write is committed by them.
            if moment == Moment::Gathering {
                bench.hear(VOTER, introduce(1));
            }
            bench.finish();
            let Some((_, epoch)) = bench.zab.role() else { unreachable!("it leads") };
            if moment <= Moment::Electing {
                bench.hear(VOTER, ack_epoch(Some(1), Zxid::new(Epoch(1), 1)));
                bench.finish();
            }
            if moment < Moment::Broadcasting {
                bench.hear(VOTER, Message::Ack { zxid: epoch.start() });
            }
            assert!(bench.zab.is_serving(), "{}", told("it cannot be established any more"));
            if moment < Moment::OneOpen {
                bench.step(Input::Propose(7));
                bench.finish();
            }
            assert!(
                bench.zab.committed() < Zxid::new(epoch, 1),
                "{}",
                told("a write is committed too early")
            );
            bench.hear(VOTER, Message::Ack { zxid: Zxid::new(epoch, 1) });
            assert_eq!(bench.zab.committed(), Zxid::new(epoch, 1), "{}", told("a write is not committed"));
        }
    }
}

/// Z-20: an epoch is chosen above the promise of an observer, or it could not join.
#[test]
fn the_epoch_is_beyond_what_an_observer_has_promised() {
    let mut bench = leader_at(Moment::Gathering);
    bench.hear(OBSERVER, observe(8));
    bench.hear(VOTER, introduce(1));
    bench.finish();
    assert_eq!(bench.zab.role(), Some((Role::Leading, Epoch(9))));
}

/// Z-20: LEADERINFO, and all behind it, only when the epoch is established; then no open proposal, and INFORM when one
/// is committed.
#[test]
fn an_observer_gets_what_is_decided_and_nothing_else() {
    let mut bench = leader_at(Moment::Gathering);
    bench.hear(OBSERVER, observe(0));
    bench.hear(VOTER, introduce(1));
    bench.finish();
    bench.hear(VOTER, ack_epoch(Some(1), Zxid::new(Epoch(1), 1)));
    bench.finish();
    assert_eq!(bench.last_to(OBSERVER), None, "the epoch is not established");
    bench.hear(VOTER, start_of(2));
    assert!(matches!(bench.last_to(OBSERVER), Some(Message::LeaderInfo { epoch: Epoch(2), .. })));
    bench.step(Input::Propose(7));
    bench.finish();
    bench.hear(OBSERVER, ack_epoch(Some(0), Zxid::new(Epoch(1), 1)));
    let to_observer = |bench: &Bench| -> Vec<Message<u8>> {
        let sent = bench.asked.sent.iter().filter(|(to, _)| *to == OBSERVER);
        sent.map(|(_, message)| message.clone()).collect()
    };
    let said = to_observer(&bench);
    assert!(matches!(said[1..], [Message::Diff { .. }, Message::NewLeader { epoch: Epoch(2) }]), "{said:?}");
    let zxid = Zxid::new(Epoch(2), 1);
    bench.hear(VOTER, Message::Ack { zxid });
    assert_eq!(to_observer(&bench)[3..], [Message::Inform { zxid, txn: 7 }], "between NEWLEADER and its ACK");
    bench.hear(OBSERVER, start_of(2));
    assert_eq!(bench.last_to(OBSERVER), Some(&Message::UpToDate));
    assert_eq!(bench.zab.joined_learners().collect::<Vec<_>>(), [VOTER, OBSERVER]);
    // It lags as long as it gives a sign of life, and no longer.
    let silence = Timer::Silence(OBSERVER);
    for _ in 0..5 {
        bench.step(Input::Propose(7));
        bench.finish();
        bench.asked.timers.remove(&silence);
        bench.zab.heard_from(OBSERVER, &mut bench.asked);
        assert!(bench.asked.timers.contains(&silence), "it acknowledges nothing, and is not behind for that");
    }
    bench.step(Input::Timer(silence));
    assert!(bench.asked.closed.contains(&OBSERVER) && bench.zab.is_serving());
}

/// A leader without followers is none, whatever its observers.
#[test]
fn observers_are_no_quorum() {
    let mut bench = leader_at(Moment::Broadcasting);
    bench.hear(OBSERVER, observe(0));
    bench.hear(OBSERVER, ack_epoch(Some(1), Zxid::new(Epoch(1), 1)));
    bench.hear(OBSERVER, start_of(2));
    bench.step(Input::Disconnected(VOTER));
    assert!(bench.zab.role().is_none() && bench.asked.closed.contains(&OBSERVER));
}

/// The other way round: a server with a vote that calls itself an observer, and one without that calls itself a follower.
#[test]
fn lists_that_differ_are_noticed() {
    for (from, word) in [(OTHER_VOTER, observe(0)), (OBSERVER, introduce(0))] {
        let mut bench = leader_at(Moment::Broadcasting);
        bench.step(Input::Accepted(from));
        bench.hear(from, word);
        let dropped = Note::Dropped { peer: from, violation: Violation::NotItsPart };
        assert!(bench.asked.notes.contains(&dropped) && bench.asked.closed.contains(&from));
        assert!(bench.zab.is_serving());
    }
}

/// An observer that has joined epoch 2.
fn observing() -> Bench {
    let first = Zxid::new(Epoch(1), 1);
    let mut bench = Bench::new(OBSERVER, 1, 1, first);
    bench.step(Input::Elected(LEADER));
    bench.step(Input::Connected(LEADER));
    assert_eq!(bench.last_to(LEADER), Some(&observe(1)));
    bench.hear(LEADER, Message::LeaderInfo { epoch: Epoch(2), extended: true });
    bench.finish();
    assert_eq!(bench.last_to(LEADER), Some(&ack_epoch(Some(1), first)));
    bench.hear(LEADER, Message::Diff { last: first });
    bench.hear(LEADER, Message::NewLeader { epoch: Epoch(2) });
    bench.finish();
    assert_eq!(bench.last_to(LEADER), Some(&start_of(2)));
    bench
}

#[test]
fn an_observer_logs_and_applies_what_it_is_informed_of_and_acknowledges_none() {
    let mut bench = observing();
    let zxid = |counter| Zxid::new(Epoch(2), counter);
    // Behind NEWLEADER it waits for UPTODATE.
    bench.hear(LEADER, Message::Inform { zxid: zxid(1), txn: 1 });
    assert_eq!(bench.asked.delivered, []);
    bench.hear(LEADER, Message::UpToDate);
    assert_eq!(bench.asked.served, Some(Role::Observing(LEADER)));
    assert_eq!(bench.asked.delivered, [zxid(1)], "logged, and applied before that is durable");
    let sent = bench.asked.sent.len();
    bench.hear(LEADER, Message::Inform { zxid: zxid(2), txn: 2 });
    assert_eq!(bench.asked.jobs.len(), 2);
    bench.finish();
    assert_eq!(bench.asked.sent.len(), sent, "no acknowledgement");
    assert_eq!((bench.zab.history().flushed(), bench.zab.committed()), (zxid(2), zxid(2)));
}

#[test]
fn an_observer_takes_no_gap_no_proposal_and_no_commit() {
    let inform = |counter| Message::Inform { zxid: Zxid::new(Epoch(2), counter), txn: 1 };
    let open = Zxid::new(Epoch(2), 1);
    for (word, taken) in [
        (inform(1), true),
        (inform(2), false),
        (Message::Proposal { zxid: open, txn: 1 }, false),
        (Message::Commit { zxid: open }, false),
    ] {
        let mut bench = observing();
        bench.hear(LEADER, Message::UpToDate);
        bench.hear(LEADER, word.clone());
        assert_eq!(bench.zab.role().is_some(), taken, "{word:?}");
    }
    // Nor does a follower take an INFORM.
    let mut bench = Bench::new(VOTER, 1, 1, Zxid::ZERO);
    bench.step(Input::Elected(LEADER));
    bench.step(Input::Connected(LEADER));
    bench.hear(LEADER, inform(1));
    assert!(bench.zab.role().is_none());
}

/// From Apache's leaders an observer also gets what was decided before it came as PROPOSAL and COMMIT, and INFORM before
/// NEWLEADER.
#[test]
fn an_observer_takes_what_apaches_leaders_send_before_newleader() {
    let first = Zxid::new(Epoch(1), 1);
    let mut bench = Bench::new(OBSERVER, 1, 1, Zxid::ZERO);
    bench.step(Input::Elected(LEADER));
    bench.step(Input::Connected(LEADER));
    bench.hear(LEADER, Message::LeaderInfo { epoch: Epoch(2), extended: false });
    bench.finish();
    bench.hear(LEADER, Message::Diff { last: first });
    bench.hear(LEADER, Message::Proposal { zxid: first, txn: 1 });
    bench.hear(LEADER, Message::Commit { zxid: first });
    bench.hear(LEADER, Message::Inform { zxid: Zxid::new(Epoch(2), 1), txn: 2 });
    bench.hear(LEADER, Message::NewLeader { epoch: Epoch(2) });
    assert_ne!(bench.last_to(LEADER), Some(&start_of(2)), "history first");
    bench.finish();
    assert_eq!(bench.last_to(LEADER), Some(&start_of(2)));
    bench.hear(LEADER, Message::UpToDate);
    assert_eq!(bench.zab.committed(), Zxid::new(Epoch(2), 1));
}

/// A deposed leader that does not know it is refused, by observers as by followers.
#[test]
fn an_observer_does_not_go_back_to_an_earlier_epoch() {
    let mut bench = Bench::new(OBSERVER, 3, 1, Zxid::ZERO);
    bench.step(Input::Elected(LEADER));
    bench.step(Input::Connected(LEADER));
    bench.hear(LEADER, Message::LeaderInfo { epoch: Epoch(2), extended: true });
    assert!(bench.zab.role().is_none());
}
