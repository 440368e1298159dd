//! Whatever another server sends, Zab takes it, notes it or drops the link; it never panics.
//!
//! One server with a disk and links that behave, and other ends that say anything: mostly what fits, now and then the
//! last epoch, the highest counter, or a packet of another role.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::{
    Exit, Message, Note, Quorum, Recovered, Role, Ticket, Timer, Vote,
    zab::{Config, Effects, Input, Zab},
};
use spec::{Epoch, ServerId, Zxid};

/// Marsaglia's xorshift; the seed must not be 0.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn of<A: Copy>(&mut self, choices: &[A]) -> A {
        choices[usize::try_from(self.below(choices.len() as u64)).expect("few choices")]
    }
}

enum Job {
    Append(Zxid, u8),
    Truncate(Zxid),
    Accepted(Epoch),
    Current(Epoch),
    Snapshot(Zxid),
    Sync,
}

/// The server's surroundings.
#[derive(Default)]
struct Around {
    accepted: Epoch,
    current: Epoch,
    floor: Zxid,
    log: Vec<(Zxid, u8)>,
    jobs: VecDeque<(Ticket, Job)>,
    searches: Vec<Ticket>,
    reloading: bool,
    looking: bool,
    /// What it has offered an election last.
    offer: Option<Vote>,
    dialling: Option<ServerId>,
    /// The link that this server dialled.
    dialled: Option<ServerId>,
    /// Those that it accepted.
    accepted_links: BTreeSet<ServerId>,
    /// The last packet to each link that is up.
    said: BTreeMap<ServerId, Message<u8>>,
    /// Where others were told to cut their logs.
    cut: BTreeMap<ServerId, Zxid>,
    timers: BTreeSet<Timer>,
    ended: bool,
    notes: BTreeMap<&'static str, u32>,
}

impl Around {
    fn has_link(&self, with: ServerId) -> bool {
        self.dialled == Some(with) || self.accepted_links.contains(&with)
    }

    fn job(&mut self, ticket: Ticket, job: Job) {
        self.jobs.push_back((ticket, job));
    }

    /// How many states are to be stored.
    fn states(&self) -> usize {
        self.jobs.iter().filter(|(_, job)| matches!(job, Job::Snapshot(_))).count()
    }

    fn recovered(&self) -> Recovered<u8> {
        let last = self.log.last().map_or(self.floor, |(zxid, _)| *zxid);
        let (accepted, current, floor) = (self.accepted, self.current, self.floor);
        Recovered { accepted, current, floor, last, base: floor, tail: self.log.clone() }
    }

    fn finish(&mut self) -> Option<Ticket> {
        let (ticket, job) = self.jobs.pop_front()?;
        match job {
            Job::Append(zxid, txn) => self.log.push((zxid, txn)),
            Job::Truncate(last) => {
                self.log.retain(|(zxid, _)| *zxid <= last);
                self.floor = self.floor.min(last);
            }
            Job::Accepted(epoch) => self.accepted = epoch,
            Job::Current(epoch) => self.current = epoch,
            Job::Snapshot(label) => {
                self.floor = label;
                self.log.clear();
            }
            Job::Sync => {}
        }
        Some(ticket)
    }
}

impl Effects<u8> for Around {
    fn send(&mut self, to: ServerId, message: &Message<u8>) {
        assert!(self.has_link(to), "a packet to {to}, with which there is no link");
        if let Message::Trunc { last } = message {
            self.cut.insert(to, *last);
            *self.notes.entry("cuts").or_default() += 1;
        }
        self.said.insert(to, message.clone());
    }
    fn stream_snapshot(&mut self, to: ServerId, _: Zxid) {
        assert!(self.has_link(to));
    }
    fn stream_log(&mut self, to: ServerId, _: Zxid, _: Zxid) {
        assert!(self.has_link(to));
    }
    fn connect(&mut self, to: ServerId) {
        self.dialling = Some(to);
    }
    fn disconnect(&mut self, peer: ServerId) {
        self.accepted_links.remove(&peer);
        self.dialled.take_if(|with| *with == peer);
        self.dialling.take_if(|with| *with == peer);
    }
    fn refuse(&mut self, from: ServerId) {
        self.accepted_links.remove(&from);
    }
    fn append(&mut self, ticket: Ticket, zxid: Zxid, txn: &u8) {
        self.job(ticket, Job::Append(zxid, *txn));
    }
    fn truncate(&mut self, ticket: Ticket, last: Zxid) {
        self.job(ticket, Job::Truncate(last));
    }
    fn sync_log(&mut self, ticket: Ticket) {
        self.job(ticket, Job::Sync);
    }
    fn save_accepted(&mut self, ticket: Ticket, epoch: Epoch) {
        self.job(ticket, Job::Accepted(epoch));
    }
    fn save_current(&mut self, ticket: Ticket, epoch: Epoch) {
        self.job(ticket, Job::Current(epoch));
    }
    fn save_snapshot(&mut self, ticket: Ticket, label: Zxid) {
        self.job(ticket, Job::Snapshot(label));
    }
    fn locate(&mut self, ticket: Ticket, _: Zxid) {
        self.searches.push(ticket);
    }
    fn reload(&mut self) {
        self.reloading = true;
    }
    fn deliver(&mut self, _: Zxid, _: &u8) {}
    fn replay(&mut self, _: Zxid, _: &u8) {}
    fn set_timer(&mut self, timer: Timer) {
        self.timers.insert(timer);
    }
    fn cancel_timer(&mut self, timer: Timer) {
        self.timers.remove(&timer);
    }
    fn look(&mut self, offer: Vote) {
        assert!(self.jobs.is_empty(), "a vote while the disk is busy");
        self.looking = true;
        self.offer = Some(offer);
    }
    fn serve(&mut self, role: Role, _: Epoch) {
        let name = match role {
            Role::Leading => "led",
            Role::Following(_) => "followed",
            Role::Observing(_) => "observed",
        };
        *self.notes.entry(name).or_default() += 1;
    }
    fn retire(&mut self) {}
    fn note(&mut self, note: Note) {
        if matches!(note, Note::Dropped { .. }) {
            *self.notes.entry("dropped").or_default() += 1;
        }
    }
    fn exit(&mut self, _: Exit) {
        self.ended = true;
    }
}

/// A server without a vote.
const OBSERVER: ServerId = ServerId(4);

/// An epoch that fits, or one at the end of all.
fn epoch(chance: &mut Chance, zab: &Zab<u8>) -> Epoch {
    let led = zab.role().map_or(zab.accepted(), |(_, epoch)| epoch);
    match chance.below(40) {
        0 => Epoch(u32::MAX),
        1..10 => Epoch(led.0.saturating_add(1)),
        10..13 => Epoch(led.0.saturating_sub(1)),
        _ => led,
    }
}

fn zxid(chance: &mut Chance, zab: &Zab<u8>) -> Zxid {
    let history = zab.history();
    let last = history.last();
    match chance.below(12) {
        0 => Zxid::new(epoch(chance, zab), u32::MAX),
        1 => Zxid(u64::MAX),
        2 => Zxid::ZERO,
        3 => epoch(chance, zab).start(),
        4 => Zxid::new(epoch(chance, zab), 1),
        5 => history.applied(),
        6 => zab.last_proposed().unwrap_or(last),
        7..9 => last,
        _ => Zxid(last.0.saturating_add(1)),
    }
}

fn message(chance: &mut Chance, zab: &Zab<u8>) -> Message<u8> {
    let (epoch, zxid, known) = (epoch(chance, zab), zxid(chance, zab), zab.history().last());
    match chance.below(17) {
        0 | 1 => Message::FollowerInfo { accepted: epoch, extended: true },
        2 => Message::LeaderInfo { epoch, extended: true },
        3 => Message::AckEpoch { current: Some(zab.rank().0), last: known, floor: Zxid::ZERO },
        4 => Message::AckEpoch { current: Some(epoch), last: zxid, floor: zxid },
        5 => Message::Diff { last: zxid },
        6 => Message::Trunc { last: zxid },
        7 => Message::Proposal { zxid, txn: 0 },
        8 => Message::Commit { zxid },
        9 | 10 => Message::NewLeader { epoch },
        11 => Message::Ack { zxid: epoch.start() },
        12 => Message::Ack { zxid },
        13 => Message::ObserverInfo { accepted: epoch, extended: true },
        14 | 15 => Message::Inform { zxid, txn: 0 },
        _ => Message::UpToDate,
    }
}

/// What a correct server might say next, if anything.
fn answer(
    chance: &mut Chance,
    zab: &Zab<u8>,
    from: ServerId,
    said: Option<&Message<u8>>,
) -> Option<Message<u8>> {
    let last = zab.history().last();
    let next = if last.epoch() == zab.accepted() { Zxid(last.0 + 1) } else { Zxid::new(zab.accepted(), 1) };
    let proposal = if zab.is_observer() && zab.joined().is_some() {
        Message::Inform { zxid: next, txn: 0 }
    } else {
        Message::Proposal { zxid: next, txn: 0 }
    };
    Some(match said {
        None if from == OBSERVER => Message::ObserverInfo { accepted: zab.accepted(), extended: true },
        None => Message::FollowerInfo { accepted: zab.accepted(), extended: true },
        Some(Message::LeaderInfo { .. }) => {
            Message::AckEpoch { current: Some(Epoch(0)), last: Zxid::ZERO, floor: Zxid::ZERO }
        }
        Some(Message::NewLeader { epoch }) => Message::Ack { zxid: epoch.start() },
        Some(Message::Proposal { .. } | Message::Commit { .. }) => {
            Message::Ack { zxid: zab.last_proposed().unwrap_or(last) }
        }
        Some(Message::Inform { .. }) => return None,
        Some(Message::FollowerInfo { accepted, .. } | Message::ObserverInfo { accepted, .. }) => {
            Message::LeaderInfo { epoch: Epoch(accepted.0.saturating_add(1)), extended: true }
        }
        Some(Message::AckEpoch { .. }) if !zab.is_past_discovery() => Message::Diff { last },
        Some(Message::AckEpoch { .. }) => match chance.below(12) {
            0 => proposal,
            1 => Message::Commit { zxid: next },
            2 => Message::NewLeader { epoch: zab.accepted() },
            _ => return None,
        },
        Some(Message::Ack { .. }) if !zab.is_serving() => Message::UpToDate,
        Some(Message::Ack { .. }) if zab.committed() < last => Message::Commit { zxid: last },
        Some(Message::Ack { .. } | Message::UpToDate | Message::Diff { .. } | Message::Trunc { .. }) => {
            proposal
        }
    })
}

fn input(chance: &mut Chance, zab: &Zab<u8>, around: &mut Around) -> Option<Input<u8>> {
    let voter = ServerId(2 + chance.below(2));
    let other = chance.of(&[voter, voter, voter, OBSERVER]);
    match chance.below(20) {
        0..3 => around.finish().map(Input::Done),
        3 if around.reloading => {
            around.reloading = false;
            Some(Input::Reloaded(around.recovered()))
        }
        3 => around.searches.pop().map(|ticket| Input::Located { ticket, at: Some(around.floor) }),
        4 if around.looking => {
            around.looking = false;
            let own = if zab.is_observer() { voter } else { ServerId(1) };
            Some(Input::Elected(chance.of(&[own, own, voter])))
        }
        4 => zab.next_zxid().map(|_| Input::Propose(0)),
        5 => around.dialling.take().map(|to| {
            around.dialled = Some(to);
            around.said.remove(&to);
            Input::Connected(to)
        }),
        6 if around.dialled.is_none() && around.dialling.is_none() => {
            around.accepted_links.insert(other);
            around.said.remove(&other);
            Some(Input::Accepted(other))
        }
        7 if chance.below(20) == 0 => {
            let dialled = around.dialled.take_if(|with| *with == other).is_some();
            (around.accepted_links.remove(&other) || dialled).then_some(Input::Disconnected(other))
        }
        8 if chance.below(50) == 0 => around.timers.pop_first().map(Input::Timer),
        9 if chance.below(5) == 0 => {
            let zxid = zxid(chance, zab);
            around.has_link(other).then_some(Input::Snapshot { from: other, zxid })
        }
        _ => {
            let said = around.said.get(&other);
            let message = match chance.below(20) {
                0 => message(chance, zab),
                _ => answer(chance, zab, other, said)?,
            };
            around.has_link(other).then_some(Input::Message { from: other, message })
        }
    }
}

#[test]
fn no_packet_stops_a_server() {
    let mut met = BTreeMap::new();
    for seed in 1..=3_000_u64 {
        let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let config = Config {
            me: ServerId(1),
            // In every third run this server has no vote either.
            quorum: Quorum::majority((if seed % 3 == 0 { 2 } else { 1 }..=3).map(ServerId)),
            window: 3,
            log_sync: true,
            counter_max: 5,
        };
        let mut around = Around::default();
        let recovered = around.recovered();
        let mut zab = Zab::boot(config, recovered, &mut around);
        for _ in 0..400 {
            if around.ended {
                break;
            }
            if let Some(input) = input(&mut chance, &zab, &mut around) {
                let taken = if let Input::Snapshot { from, zxid } = &input {
                    Some((zab.takes_snapshot(*from, *zxid), around.states()))
                } else {
                    None
                };
                zab.step(input, &mut around);
                if let Some((taken, before)) = taken {
                    assert_eq!(taken, around.states() > before, "a state is stored if it was to be taken");
                    *met.entry(if taken { "state taken" } else { "state refused" }).or_insert(0) += 1;
                }
            }
        }
        for (name, count) in around.notes {
            *met.entry(name).or_insert(0) += count;
        }
    }
    let rows = [("led", 100), ("followed", 100), ("observed", 100), ("dropped", 100)];
    for (name, least) in rows.into_iter().chain([("state taken", 20), ("state refused", 100)]) {
        assert!(met.get(name).is_some_and(|count| *count > least), "{name}: {met:?}");
    }
}

/// A leader of three with one learner, and a second one that was sent an open proposal and NEWLEADER.
fn leader_with_one_joining() -> (Zab<u8>, Around) {
    let config = Config {
        me: ServerId(1),
        quorum: Quorum::majority((1..=3).map(ServerId)),
        window: 3,
        log_sync: true,
        counter_max: 5,
    };
    let mut around = Around::default();
    let recovered = around.recovered();
    let mut zab = Zab::boot(config, recovered, &mut around);
    let tell = |zab: &mut Zab<u8>, input: Input<u8>, around: &mut Around| {
        zab.step(input, around);
        while let Some(ticket) = around.finish() {
            zab.step(Input::Done(ticket), around);
        }
    };
    while let Some(ticket) = around.finish() {
        zab.step(Input::Done(ticket), &mut around);
    }
    tell(&mut zab, Input::Elected(ServerId(1)), &mut around);
    for from in [2, 3].map(ServerId) {
        around.accepted_links.insert(from);
        tell(&mut zab, Input::Accepted(from), &mut around);
        let hello = Message::FollowerInfo { accepted: Epoch(0), extended: false };
        tell(&mut zab, Input::Message { from, message: hello }, &mut around);
        let message = Message::AckEpoch { current: Some(Epoch(0)), last: Zxid::ZERO, floor: Zxid::ZERO };
        tell(&mut zab, Input::Message { from, message }, &mut around);
        assert!(matches!(around.said.get(&from), Some(Message::NewLeader { .. })), "{:?}", around.said);
        if from == ServerId(2) {
            let message = Message::Ack { zxid: Epoch(1).start() };
            tell(&mut zab, Input::Message { from, message }, &mut around);
            tell(&mut zab, Input::Propose(7), &mut around);
        }
    }
    (zab, around)
}

#[test]
fn an_acknowledgement_before_that_of_newleader_is_kept_and_counts_with_it() {
    let (mut zab, mut around) = leader_with_one_joining();
    let first = Zxid::new(Epoch(1), 1);
    let ack = |zxid| Input::Message { from: ServerId(3), message: Message::Ack { zxid } };
    assert_eq!((zab.last_proposed(), zab.committed()), (Some(first), Zxid::ZERO));
    zab.step(ack(first), &mut around);
    assert!(around.has_link(ServerId(3)));
    assert_eq!(zab.committed(), Zxid::ZERO, "it has not joined");
    zab.step(ack(Epoch(1).start()), &mut around);
    assert_eq!(zab.committed(), first, "itself and one that has joined hold it");
    assert!(around.has_link(ServerId(3)));
}

#[test]
fn an_acknowledgement_of_nothing_is_none_before_newleader_either() {
    let (mut zab, mut around) = leader_with_one_joining();
    let message = Message::Ack { zxid: Zxid::new(Epoch(1), 2) };
    zab.step(Input::Message { from: ServerId(3), message }, &mut around);
    assert!(!around.has_link(ServerId(3)));
}

#[test]
fn the_start_of_another_epoch_is_no_acknowledgement() {
    for (epoch, stays) in [(0, true), (1, true), (2, false), (99, false)] {
        let (mut zab, mut around) = leader_with_one_joining();
        let message = Message::Ack { zxid: Epoch(epoch).start() };
        zab.step(Input::Message { from: ServerId(2), message }, &mut around);
        assert_eq!(around.has_link(ServerId(2)), stays, "{epoch}:0 in epoch 1");
    }
}

/// A server of three that has promised this epoch, and looks for a leader.
fn looking_behind(accepted: Epoch) -> (Zab<u8>, Around) {
    looking(Around { accepted, ..Around::default() })
}

/// A server of three with this on disk, that looks for a leader.
fn looking(mut around: Around) -> (Zab<u8>, Around) {
    let config = Config {
        me: ServerId(1),
        quorum: Quorum::majority((1..=3).map(ServerId)),
        window: 3,
        log_sync: true,
        counter_max: 5,
    };
    let recovered = around.recovered();
    let mut zab = Zab::boot(config, recovered, &mut around);
    while let Some(ticket) = around.finish() {
        zab.step(Input::Done(ticket), &mut around);
    }
    (zab, around)
}

#[test]
fn the_last_epoch_of_all_is_not_promised() {
    let from = ServerId(2);
    for (named, promised) in [(Epoch::LAST, None), (Epoch(u32::MAX - 1), Some(Epoch(u32::MAX - 1)))] {
        let (mut zab, mut around) = looking_behind(Epoch(3));
        zab.step(Input::Elected(from), &mut around);
        around.dialled = around.dialling.take();
        zab.step(Input::Connected(from), &mut around);
        let message = Message::LeaderInfo { epoch: named, extended: true };
        zab.step(Input::Message { from, message }, &mut around);
        while around.finish().is_some() {}
        assert_eq!(around.accepted, promised.unwrap_or(Epoch(3)));
        assert_eq!(around.has_link(from), promised.is_some());
    }
}

#[test]
fn nobody_leads_the_last_epoch_of_all() {
    for (accepted, led) in
        [(u32::MAX - 2, true), (u32::MAX - 1, false), (u32::MAX, false)].map(|(n, led)| (Epoch(n), led))
    {
        let (mut zab, mut around) = looking_behind(accepted);
        zab.step(Input::Elected(ServerId(1)), &mut around);
        let from = ServerId(2);
        around.accepted_links.insert(from);
        zab.step(Input::Accepted(from), &mut around);
        let message = Message::FollowerInfo { accepted: Epoch(0), extended: true };
        zab.step(Input::Message { from, message }, &mut around);
        while around.finish().is_some() {}
        assert_eq!(around.accepted > accepted, led, "{accepted:?}");
    }
}

/// F-5: a leader makes way for a promise that another leader can come behind, and for none at the end of all.
#[test]
fn a_leader_stays_where_no_other_could_come() {
    for (accepted, stays) in [(u32::MAX - 2, false), (u32::MAX - 1, true), (u32::MAX, true)] {
        let (mut zab, mut around) = looking_behind(Epoch(3));
        zab.step(Input::Elected(ServerId(1)), &mut around);
        let follower = ServerId(2);
        let say = |zab: &mut Zab<u8>, around: &mut Around, from, message| {
            zab.step(Input::Message { from, message }, around);
            settle(zab, around);
        };
        around.accepted_links.insert(follower);
        zab.step(Input::Accepted(follower), &mut around);
        say(&mut zab, &mut around, follower, Message::FollowerInfo { accepted: Epoch(3), extended: true });
        let nothing = Message::AckEpoch { current: Some(Epoch(0)), last: Zxid::ZERO, floor: Zxid::ZERO };
        say(&mut zab, &mut around, follower, nothing);
        say(&mut zab, &mut around, follower, Message::Ack { zxid: Epoch(4).start() });
        assert!(zab.is_serving(), "it leads epoch 4");

        let third = ServerId(3);
        around.accepted_links.insert(third);
        zab.step(Input::Accepted(third), &mut around);
        say(
            &mut zab,
            &mut around,
            third,
            Message::FollowerInfo { accepted: Epoch(accepted), extended: true },
        );
        assert_eq!(zab.is_serving(), stays, "epoch {accepted} is promised");
        assert!(!stays || !around.has_link(third), "it cannot join");
    }
}

/// Transactions of two epochs.
fn held() -> [Zxid; 4] {
    [(1, 1), (1, 2), (1, 3), (3, 1)].map(|(epoch, counter)| Zxid::new(Epoch(epoch), counter))
}

/// Carries out what is asked of the disk.
fn settle(zab: &mut Zab<u8>, around: &mut Around) {
    while let Some(ticket) = around.finish() {
        zab.step(Input::Done(ticket), around);
    }
}

/// The leader of the next two.
const LEADER: ServerId = ServerId(2);

/// A follower of three with this log, which has promised epoch 4 to its leader.
fn promised(log: Vec<(Zxid, u8)>) -> (Zab<u8>, Around) {
    let (mut zab, mut around) =
        looking(Around { accepted: Epoch(3), current: Epoch(3), log, ..Around::default() });
    zab.step(Input::Elected(LEADER), &mut around);
    around.dialled = around.dialling.take();
    zab.step(Input::Connected(LEADER), &mut around);
    tell(&mut zab, &mut around, Message::LeaderInfo { epoch: Epoch(4), extended: true });
    (zab, around)
}

/// The leader says this, and the disk follows.
fn tell(zab: &mut Zab<u8>, around: &mut Around, message: Message<u8>) {
    zab.step(Input::Message { from: LEADER, message }, around);
    settle(zab, around);
}

/// A follower of three that holds these, and was told to cut its log.
fn cutting(wanted: Zxid) -> (Zab<u8>, Around) {
    let (mut zab, mut around) = promised(held().map(|zxid| (zxid, 0)).to_vec());
    tell(&mut zab, &mut around, Message::Trunc { last: wanted });
    assert!(around.reloading, "nothing is cut: {:?}", around.said);
    (zab, around)
}

/// A power cut has put the file of the epoch back.
#[test]
fn whoever_holds_a_transaction_of_an_epoch_has_joined_it() {
    let log = held().map(|zxid| (zxid, 0)).to_vec();
    let behind = |log: &[(Zxid, u8)]| Around {
        accepted: Epoch(3),
        current: Epoch(1),
        log: log.to_vec(),
        ..Around::default()
    };
    let (mut zab, mut around) = looking(behind(&log));
    let last = held()[3];
    assert_eq!(around.offer, Some(Vote { epoch: Epoch(3), zxid: Some(last), leader: ServerId(1) }));
    zab.step(Input::Elected(LEADER), &mut around);
    around.dialled = around.dialling.take();
    zab.step(Input::Connected(LEADER), &mut around);
    tell(&mut zab, &mut around, Message::LeaderInfo { epoch: Epoch(4), extended: true });
    let said = Message::AckEpoch { current: Some(Epoch(3)), last, floor: Zxid::ZERO };
    assert_eq!(around.said.get(&LEADER), Some(&said));

    // A leader counts for itself, and for those who follow it, what the last transaction tells.
    let second = Zxid::new(Epoch(2), 9);
    for (held, current, last, leads) in [
        (&log[..], Epoch(2), second, true),
        (&log[..3], Epoch(1), last, false),
        (&log[..3], Epoch(1), held()[2], true),
    ] {
        let (mut zab, mut around) = looking(behind(held));
        zab.step(Input::Elected(ServerId(1)), &mut around);
        around.accepted_links.insert(LEADER);
        zab.step(Input::Accepted(LEADER), &mut around);
        tell(&mut zab, &mut around, Message::FollowerInfo { accepted: Epoch(3), extended: true });
        tell(&mut zab, &mut around, Message::AckEpoch { current: Some(current), last, floor: Zxid::ZERO });
        assert_eq!(zab.is_past_discovery(), leads, "beside {current:?}, {last}");
    }
}

/// Server 1, elected among these, with this log.
fn leading(quorum: Quorum, log: &[Zxid]) -> (Zab<u8>, Around) {
    let config = Config { me: ServerId(1), quorum, window: 3, log_sync: true, counter_max: 5 };
    let log: Vec<_> = log.iter().map(|zxid| (*zxid, 0)).collect();
    let mut around = Around { accepted: Epoch(5), current: Epoch(1), log, ..Around::default() };
    let recovered = around.recovered();
    let mut zab = Zab::boot(config, recovered, &mut around);
    settle(&mut zab, &mut around);
    zab.step(Input::Elected(ServerId(1)), &mut around);
    (zab, around)
}

/// A server of ZooKeeper's says something to the leader, and the disk follows.
fn says(zab: &mut Zab<u8>, around: &mut Around, from: u64, message: Message<u8>) {
    zab.step(Input::Message { from: ServerId(from), message }, around);
    settle(zab, around);
}

/// One of them introduces itself.
fn comes(zab: &mut Zab<u8>, around: &mut Around, from: u64) {
    around.accepted_links.insert(ServerId(from));
    zab.step(Input::Accepted(ServerId(from)), around);
    says(zab, around, from, Message::FollowerInfo { accepted: Epoch(5), extended: false });
}

fn holds(current: u32, last: Zxid) -> Message<u8> {
    Message::AckEpoch { current: Some(Epoch(current)), last, floor: Zxid::ZERO }
}

/// ZooKeeper's learners keep their log under a state that they receive, and would replay its end at the next start.
#[test]
fn whoever_goes_beyond_what_is_applied_is_cut_back_to_it_whatever_the_epoch() {
    let (mut zab, mut around) = leading(Quorum::majority((1..=3).map(ServerId)), &held()[..3]);
    let end = held()[2];
    comes(&mut zab, &mut around, 2);
    says(&mut zab, &mut around, 2, holds(1, end));
    says(&mut zab, &mut around, 2, Message::Ack { zxid: Epoch(6).start() });
    assert!(zab.is_serving());
    comes(&mut zab, &mut around, 3);
    says(&mut zab, &mut around, 3, holds(5, Zxid::new(Epoch(5), 1)));
    assert_eq!(around.cut.get(&ServerId(3)), Some(&end));
}

#[test]
fn a_leader_does_not_give_up_for_a_voter_without_weight() {
    let weights = [(1, 1), (2, 1), (3, 1), (4, 0)].map(|(id, weight)| (ServerId(id), weight));
    for (ahead, leads) in [(4, true), (3, false)] {
        let quorum = Quorum::hierarchical([weights]).expect("some have weight");
        let (mut zab, mut around) = leading(quorum, &held()[..2]);
        for from in [2, ahead] {
            comes(&mut zab, &mut around, from);
        }
        says(&mut zab, &mut around, ahead, holds(1, held()[2]));
        assert_eq!(!zab.is_looking(), leads, "{ahead} holds more");
        if leads {
            says(&mut zab, &mut around, 2, holds(1, held()[1]));
            assert!(zab.is_past_discovery());
            assert_eq!(around.cut.get(&ServerId(ahead)), Some(&held()[1]));
        }
    }
}

#[test]
fn nobody_s_silence_counts_before_there_is_something_to_say() {
    let (mut zab, mut around) = leading(Quorum::majority((1..=5).map(ServerId)), &held()[..3]);
    for from in [2, 3] {
        comes(&mut zab, &mut around, from);
    }
    for from in [2, 3] {
        says(&mut zab, &mut around, from, holds(1, held()[2]));
    }
    let silences =
        |around: &Around| [2, 3].map(|from| around.timers.contains(&Timer::Silence(ServerId(from))));
    says(&mut zab, &mut around, 2, Message::Ack { zxid: Epoch(6).start() });
    assert_eq!((zab.is_serving(), silences(&around)), (false, [false, false]));
    says(&mut zab, &mut around, 3, Message::Ack { zxid: Epoch(6).start() });
    assert_eq!((zab.is_serving(), silences(&around)), (true, [true, true]));
}

/// An Apache leader names the last transaction of a state when it begins to send it, and forwards from an earlier one on.
#[test]
fn what_a_state_holds_may_be_forwarded_too() {
    let at = |counter| Zxid::new(Epoch(4), counter);
    let proposal = |counter| Message::Proposal { zxid: at(counter), txn: 0 };
    let commit = |counter| Message::Commit { zxid: at(counter) };
    let joined = || {
        let (mut zab, mut around) = promised(Vec::new());
        zab.step(Input::Snapshot { from: LEADER, zxid: at(5) }, &mut around);
        settle(&mut zab, &mut around);
        for message in [proposal(4), commit(4), proposal(5), proposal(6), commit(5), proposal(7), commit(6)] {
            tell(&mut zab, &mut around, message);
            assert!(around.has_link(LEADER));
        }
        (zab, around)
    };
    let (mut zab, mut around) = joined();
    tell(&mut zab, &mut around, Message::NewLeader { epoch: Epoch(4) });
    tell(&mut zab, &mut around, Message::UpToDate);
    assert!(zab.is_serving());
    assert_eq!((zab.committed(), zab.history().last()), (at(6), at(7)));
    // Behind NEWLEADER, and of what comes behind the state, nothing is passed over.
    let (mut zab, mut around) = joined();
    tell(&mut zab, &mut around, proposal(6));
    assert!(!around.has_link(LEADER));
    let (mut zab, mut around) = joined();
    tell(&mut zab, &mut around, Message::NewLeader { epoch: Epoch(4) });
    tell(&mut zab, &mut around, commit(5));
    assert!(!around.has_link(LEADER));
}

#[test]
fn an_epoch_does_not_begin_anew_behind_its_last_counter() {
    let at = |counter| Zxid::new(Epoch(4), counter);
    for (last, next, stays) in [(u32::MAX - 1, u32::MAX, true), (u32::MAX, 0, false)] {
        let (mut zab, mut around) = promised(Vec::new());
        zab.step(Input::Snapshot { from: LEADER, zxid: at(last) }, &mut around);
        settle(&mut zab, &mut around);
        tell(&mut zab, &mut around, Message::NewLeader { epoch: Epoch(4) });
        tell(&mut zab, &mut around, Message::UpToDate);
        assert!(zab.is_serving());
        tell(&mut zab, &mut around, Message::Proposal { zxid: at(next), txn: 0 });
        assert_eq!(around.has_link(LEADER), stays, "{next} behind {last}");
    }
}

#[test]
fn a_log_that_ends_elsewhere_than_it_was_to_be_cut_ends_the_server() {
    let at = |epoch, counter| Zxid::new(Epoch(epoch), counter);
    for (wanted, found, ends) in [
        (at(1, 2), at(1, 2), false),
        (at(1, 2), at(1, 1), true),
        (at(1, 2), at(1, 3), true),
        (at(1, 2), at(3, 1), true),
        (at(3, 0), at(1, 3), false),
        (at(3, 0), at(3, 1), true),
    ] {
        let (mut zab, mut around) = cutting(wanted);
        around.log = held().into_iter().filter(|held| *held <= found).map(|held| (held, 0)).collect();
        zab.step(Input::Reloaded(around.recovered()), &mut around);
        assert_eq!(around.ended, ends, "cut at {wanted}, and the end is {found}");
    }
}

/// Where a leader has sent its state as of the start of its epoch, a log ends with that: there is nothing to cut.
#[test]
fn a_log_that_ends_with_the_start_of_an_epoch_is_not_cut() {
    let log = held().map(|zxid| (zxid, 0)).to_vec();
    for (last, cuts) in [(Epoch(3).start(), 0), (Zxid::new(Epoch(1), 4), 1)] {
        let (mut zab, mut around) =
            looking(Around { accepted: Epoch(3), current: Epoch(3), log: log.clone(), ..Around::default() });
        zab.step(Input::Elected(ServerId(1)), &mut around);
        for from in [LEADER, ServerId(3)] {
            around.accepted_links.insert(from);
            zab.step(Input::Accepted(from), &mut around);
        }
        tell(&mut zab, &mut around, Message::FollowerInfo { accepted: Epoch(3), extended: false });
        tell(&mut zab, &mut around, Message::AckEpoch { current: Some(Epoch(3)), last, floor: Zxid::ZERO });
        assert!(matches!(around.said.get(&LEADER), Some(Message::NewLeader { .. })), "{:?}", around.said);
        assert_eq!(around.notes.get("cuts").copied().unwrap_or_default(), cuts, "{last}");
    }
}
