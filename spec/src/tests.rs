//! Each rule on small runs: one that it passes, one that breaks it, and one that it is silent on.

use alloc::{collections::BTreeSet, vec, vec::Vec};

use crate::{
    Epoch, ServerId, SessionId, Zxid, election,
    history::{Breach, Claim, Entry, History, Part, Phase, Record, ServerView, Stored},
    recovery,
    rule::{self, Check, Verdict},
    session::{self, Answered, Attempt},
    zab,
};
use Verdict::{Broken, Holds, Silent};

fn entry(epoch: u32, counter: u32) -> Entry {
    Entry { zxid: Zxid::new(Epoch(epoch), counter), digest: 0 }
}

fn other(epoch: u32, counter: u32) -> Entry {
    Entry { digest: 1, ..entry(epoch, counter) }
}

fn stored(epoch: u32) -> Stored {
    Stored { memory: Epoch(epoch), durable: Epoch(epoch) }
}

/// A server that follows server 1 in epoch 1, and has delivered this.
fn follower(id: u64, delivered: &[Entry]) -> ServerView {
    let last = delivered.last().map_or(Zxid::ZERO, |entry| entry.zxid);
    ServerView {
        id: ServerId(id),
        votes: true,
        part: Part::Following(ServerId(1), Phase::Broadcast),
        serving: true,
        accepted: stored(1),
        current: stored(1),
        joined: Some(Epoch(1)),
        logged: delivered.to_vec(),
        durable: delivered.to_vec(),
        delivered: delivered.to_vec(),
        window: delivered.to_vec(),
        processed: last,
        state: 7,
        replayed: 7,
        recovers: true,
    }
}

fn leader(id: u64, epoch: u32, logged: &[Entry]) -> ServerView {
    ServerView {
        part: Part::Leading(Phase::Broadcast),
        accepted: stored(epoch),
        current: stored(epoch),
        joined: Some(Epoch(epoch)),
        ..follower(id, logged)
    }
}

/// Epoch 1 under server 1 from nothing, with this committed since.
fn reign_of_one(committed: &[Entry]) -> Record {
    let mut record = Record::default();
    record.establish(Epoch(1), ServerId(1), &[]);
    record.commit(ServerId(1), committed);
    record
}

#[test]
fn i1_one_leader_for_each_epoch() {
    let mut record = reign_of_one(&[]);
    assert_eq!(zab::primary_uniqueness(&record), Silent);
    record.establish(Epoch(2), ServerId(2), &[]);
    assert_eq!(zab::primary_uniqueness(&record), Holds);
    record.establish(Epoch(2), ServerId(3), &[]);
    assert_eq!(zab::primary_uniqueness(&record), Broken);

    let (one, two) = (leader(1, 1, &[]), leader(2, 2, &[]));
    assert_eq!(zab::live_primary_uniqueness(&one, &two), Holds);
    assert_eq!(zab::live_primary_uniqueness(&one, &leader(2, 1, &[])), Broken);
    assert_eq!(zab::live_primary_uniqueness(&one, &follower(2, &[])), Silent);
}

#[test]
fn i2_delivered_was_broadcast() {
    let record = reign_of_one(&[entry(1, 1)]);
    assert_eq!(zab::integrity(&follower(2, &[]), &record), Silent);
    assert_eq!(zab::integrity(&follower(2, &[entry(1, 1)]), &record), Holds);
    assert_eq!(zab::integrity(&follower(2, &[other(1, 1)]), &record), Broken, "other content");
    let mut unreigned = Record::starting_with(vec![entry(1, 1)]);
    assert_eq!(zab::integrity(&follower(2, &[entry(1, 1)]), &unreigned), Holds, "from the start");
    unreigned.establish(Epoch(2), ServerId(1), &[entry(1, 1)]);
    unreigned.commit(ServerId(1), &[entry(1, 1), entry(3, 1)]);
    assert_eq!(
        zab::integrity(&follower(2, &[entry(1, 1), entry(3, 1)]), &unreigned),
        Broken,
        "of an epoch that was never established"
    );
}

/// Two servers' deliveries, and the verdicts of I-3, I-4 and `PrefixConsistency`.
type Row = (&'static [usize], &'static [usize], [Verdict; 3]);

#[test]
fn i3_i4_and_prefix_consistency_compare_two_servers() {
    let (a, b, c) = (entry(1, 1), entry(1, 2), entry(1, 3));
    let rows: [Row; 6] = [
        (&[0, 1], &[0, 1, 2], [Holds, Holds, Holds]),
        (&[0, 1], &[0, 2], [Broken, Holds, Broken]),
        (&[0, 1], &[1, 0], [Holds, Broken, Broken]),
        (&[0, 1, 2], &[0, 2], [Holds, Broken, Broken]),
        (&[0], &[1], [Broken, Silent, Broken]),
        (&[0], &[], [Silent, Silent, Silent]),
    ];
    for (one, two, expected) in rows {
        let pick = |places: &[usize]| -> Vec<Entry> { places.iter().map(|&at| [a, b, c][at]).collect() };
        let (one, two) = (follower(1, &pick(one)), follower(2, &pick(two)));
        let both = |check: fn(&ServerView, &ServerView) -> Verdict| check(&one, &two).and(check(&two, &one));
        let found = [both(zab::agreement), both(zab::total_order), both(zab::prefix_consistency)];
        assert_eq!(found, expected, "{:?} {:?}", one.delivered, two.delivered);
    }
}

#[test]
fn i5_is_about_all_pairs() {
    let record = reign_of_one(&[entry(1, 1), entry(1, 2)]);
    assert_eq!(zab::local_primary_order(&follower(2, &[entry(1, 1), entry(1, 2)]), &record), Holds);
    assert_eq!(zab::local_primary_order(&follower(2, &[entry(1, 2)]), &record), Broken, "a gap");
    // The published form asks for one pair in order, and (1:1, 1:1) is one.
    let swapped = follower(2, &[entry(1, 2), entry(1, 1)]);
    assert_eq!(zab::local_primary_order(&swapped, &record), Broken);
    let mut second = reign_of_one(&[entry(1, 1)]);
    second.establish(Epoch(2), ServerId(2), &[entry(1, 1)]);
    assert_eq!(zab::local_primary_order(&follower(2, &[entry(2, 1)]), &second), Broken, "lacks I[2]");
}

#[test]
fn i6_epochs_in_order_and_each_once() {
    assert_eq!(zab::global_primary_order(&follower(2, &[entry(1, 1), entry(2, 1)])), Holds);
    assert_eq!(zab::global_primary_order(&follower(2, &[entry(2, 1), entry(1, 1)])), Broken);
    assert_eq!(zab::global_primary_order(&follower(2, &[entry(1, 1), entry(1, 1)])), Broken);
}

#[test]
fn i7_and_i8_what_is_committed_survives_its_epoch() {
    let mut kept = reign_of_one(&[entry(1, 1)]);
    kept.establish(Epoch(2), ServerId(2), &[entry(1, 1)]);
    assert_eq!(zab::initial_history_integrity(&kept), Holds);
    assert_eq!(zab::primary_integrity(&follower(3, &[entry(1, 1)]), &kept), Holds);
    assert_eq!(zab::committed_log_monotonicity(&kept), Holds);

    let mut lost = reign_of_one(&[entry(1, 1)]);
    lost.establish(Epoch(2), ServerId(2), &[]);
    assert_eq!(zab::initial_history_integrity(&lost), Broken);
    assert_eq!(zab::primary_integrity(&follower(3, &[entry(1, 1)]), &lost), Broken);
    lost.commit(ServerId(2), &[entry(2, 1)]);
    assert_eq!(zab::committed_log_monotonicity(&lost), Broken, "2:1 in the place of 1:1");
    assert_eq!(lost.committed(), [entry(1, 1)], "what stands, stands");
}

#[test]
fn a_deposed_leader_may_commit_late_what_its_successor_has() {
    let mut record = reign_of_one(&[]);
    record.establish(Epoch(2), ServerId(2), &[entry(1, 1)]);
    record.commit(ServerId(1), &[entry(1, 1)]);
    assert_eq!(zab::committed_log_monotonicity(&record), Holds);
    record.commit(ServerId(1), &[entry(1, 1), entry(1, 2)]);
    record.commit(ServerId(2), &[entry(1, 1), entry(2, 1)]);
    assert_eq!(zab::committed_log_monotonicity(&record), Broken);
}

#[test]
fn i9_serving_needs_the_whole_initial_history() {
    let mut record = reign_of_one(&[]);
    record.establish(Epoch(2), ServerId(2), &[entry(1, 1)]);
    let serving = |delivered: &[Entry]| ServerView { current: stored(2), ..follower(3, delivered) };
    assert_eq!(zab::commit_consistency(&serving(&[entry(1, 1)]), &record), Holds);
    assert_eq!(zab::commit_consistency(&serving(&[]), &record), Broken);
    let early = ServerView { current: stored(3), ..follower(3, &[entry(1, 1)]) };
    assert_eq!(zab::commit_consistency(&early, &record), Broken, "epoch 3 is not established");
}

#[test]
fn i10_and_process_consistency_compare_members_of_one_epoch() {
    let (long, short) = (follower(2, &[entry(1, 1), entry(1, 2)]), follower(3, &[entry(1, 1)]));
    let foreign = follower(3, &[other(1, 1)]);
    assert_eq!(zab::history_consistency(&long, &short), Holds);
    assert_eq!(zab::history_consistency(&long, &foreign), Broken);
    let elsewhere = ServerView { joined: Some(Epoch(2)), ..foreign.clone() };
    assert_eq!(zab::history_consistency(&long, &elsewhere), Silent);

    let lead = leader(1, 1, &[entry(1, 1)]);
    assert_eq!(zab::process_consistency(&short, &lead), Holds);
    assert_eq!(zab::process_consistency(&long, &lead), Broken, "more than the leader has");
    assert_eq!(zab::process_consistency(&foreign, &lead), Broken);
    assert_eq!(zab::process_consistency(&elsewhere, &lead), Silent);
}

#[test]
fn leaders_have_what_was_committed_before_their_successors() {
    let mut record = reign_of_one(&[entry(1, 1)]);
    assert_eq!(zab::leader_log_completeness(&leader(1, 1, &[entry(1, 1)]), &record), Holds);
    assert_eq!(zab::leader_log_completeness(&leader(1, 1, &[]), &record), Broken);
    record.establish(Epoch(2), ServerId(2), &[entry(1, 1), entry(1, 2)]);
    let deposed = leader(1, 1, &[entry(1, 1)]);
    assert_eq!(zab::leader_log_completeness(&deposed, &record), Holds, "1:2 came with epoch 2");
}

#[test]
fn committed_is_a_prefix_of_nothing_else_and_lost_nowhere() {
    let record = reign_of_one(&[entry(1, 1)]);
    let with = |delivered: &[Entry]| zab::delivered_is_committed(&follower(2, delivered), &record);
    assert_eq!([with(&[]), with(&[entry(1, 1)]), with(&[entry(1, 1), entry(1, 2)])], [Silent, Holds, Broken]);

    let full = follower(2, &[entry(1, 1), entry(1, 2)]);
    let cut = follower(2, &[entry(1, 1)]);
    assert_eq!(zab::committed_log_durability(&cut, &full, &record), Silent, "it grows");
    assert_eq!(zab::committed_log_durability(&full, &cut, &record), Holds, "1:2 is not committed");
    let crashed = ServerView { part: Part::Down, ..follower(2, &[]) };
    assert_eq!(zab::committed_log_durability(&cut, &crashed, &record), Broken);
    let resent = follower(2, &[]);
    assert_eq!(
        zab::committed_log_durability(&cut, &resent, &record),
        Holds,
        "the leader of epoch 1 sends it again"
    );
    let lost = ServerView { accepted: stored(2), ..follower(2, &[]) };
    assert_eq!(zab::committed_log_durability(&cut, &lost, &record), Broken, "a later leader does not");
}

#[test]
fn only_old_epochs_are_a_correct_servers_breach() {
    let breaches =
        [Breach::State, Breach::Ack, Breach::Proposal, Breach::Commit, Breach::Truncate, Breach::OldEpoch];
    let broken = |breach| {
        let verdicts = rule::all().filter_map(|rule| match rule.check {
            Check::Breach(check) => Some(check(breach)),
            Check::Server(_)
            | Check::Pair(_)
            | Check::ServerAndRecord(_)
            | Check::Record(_)
            | Check::Quorum(_)
            | Check::Step(_)
            | Check::Claim(_)
            | Check::Clients => None,
        });
        verdicts.filter(|verdict| *verdict == Broken).count()
    };
    assert_eq!(breaches.map(broken), [1, 1, 1, 1, 1, 0]);
}

#[test]
fn transactions_stand_behind_each_other() {
    let at = |epoch, counter| Zxid::new(Epoch(epoch), counter);
    let rows = [
        (at(1, 2), at(1, 1), true),
        (at(1, 3), at(1, 1), false),
        (at(2, 1), at(1, 7), true),
        (at(2, 2), at(1, 7), false),
        (at(1, 1), at(2, 7), false),
        (at(2, 0), at(1, 7), false),
        (at(1, u32::MAX), at(1, u32::MAX - 1), true),
        (at(1, 0), at(1, u32::MAX), false),
    ];
    for (after, before, follows) in rows {
        assert_eq!(after.follows(before), follows, "{after} behind {before}");
    }
}

#[test]
fn r1_epochs_on_disk() {
    let (old, new) = (follower(2, &[]), ServerView { accepted: stored(2), ..follower(2, &[]) });
    let record = Record::default();
    assert_eq!(recovery::epochs_grow(&old, &new, &record), Holds);
    assert_eq!(recovery::epochs_grow(&new, &old, &record), Broken);
    assert_eq!(recovery::epochs_grow(&old, &old, &record), Silent);
    assert_eq!(recovery::joined_after_promised(&new), Holds);
    assert_eq!(
        recovery::joined_after_promised(&ServerView { accepted: stored(0), ..follower(2, &[]) }),
        Broken
    );
}

struct Run(Vec<ServerView>, Record);

impl History for Run {
    fn servers(&self) -> Vec<ServerView> {
        self.0.clone()
    }
    fn record(&self) -> &Record {
        &self.1
    }
    fn decides(&self, servers: &BTreeSet<ServerId>) -> bool {
        servers.len() > self.0.len() / 2
    }
}

#[test]
fn r2_needs_a_quorum_of_disks() {
    let record = reign_of_one(&[entry(1, 1)]);
    let unsynced = |id| ServerView { durable: vec![], ..follower(id, &[entry(1, 1)]) };
    let synced = |id| follower(id, &[entry(1, 1)]);
    let r2 = rule::all().find(|rule| rule.id == "R-2").expect("R-2 is a rule");
    let judge = |servers| r2.judge(&Run(servers, record.clone()));
    assert_eq!(judge(vec![synced(1), synced(2), unsynced(3)]), Holds);
    assert_eq!(judge(vec![synced(1), unsynced(2), unsynced(3)]), Broken);
    let broken = rule::broken(&Run(vec![synced(1), unsynced(2), unsynced(3)], record.clone()));
    assert_eq!(broken.iter().map(|rule| rule.id).collect::<Vec<_>>(), ["R-2"]);
}

#[test]
fn r3_and_r6_what_is_claimed_is_on_disk() {
    let entries = [entry(1, 1), entry(1, 2)];
    let ready = ServerView {
        part: Part::Following(ServerId(1), Phase::Synchronisation),
        serving: false,
        ..follower(2, &entries)
    };
    let unsynced = ServerView { durable: vec![entry(1, 1)], ..ready.clone() };
    let unpromised = ServerView { accepted: Stored { memory: Epoch(2), durable: Epoch(1) }, ..ready.clone() };
    let unjoined = ServerView { current: stored(0), ..ready.clone() };
    let last = Zxid::new(Epoch(1), 2);
    let counting = Claim::AckEpoch { current: Some(Epoch(1)), last };
    let rows = [
        (&ready, counting, Holds, Holds),
        (&unpromised, counting, Broken, Holds),
        (&unsynced, counting, Holds, Broken),
        (&ready, Claim::AckEpoch { current: Some(Epoch(0)), last }, Holds, Broken),
        (&ready, Claim::AckEpoch { current: None, last }, Silent, Holds),
        (&ready, Claim::Vote { current: Epoch(1), last }, Silent, Holds),
        (&unsynced, Claim::Vote { current: Epoch(1), last }, Silent, Broken),
        (&ready, Claim::Vote { current: Epoch(1), last: Zxid::new(Epoch(1), 1) }, Silent, Broken),
        (&ready, Claim::Ack(last), Holds, Silent),
        (&unsynced, Claim::Ack(last), Broken, Silent),
        (&ready, Claim::Ack(Epoch(1).start()), Holds, Silent),
        (&unsynced, Claim::Ack(Epoch(1).start()), Broken, Silent),
        (&unjoined, Claim::Ack(Epoch(1).start()), Broken, Silent),
        (&ready, Claim::LeaderInfo(Epoch(1)), Holds, Silent),
        (&ready, Claim::LeaderInfo(Epoch(2)), Broken, Silent),
        (&ready, Claim::NewLeader(Epoch(1)), Holds, Silent),
        (&unjoined, Claim::NewLeader(Epoch(1)), Broken, Silent),
    ];
    for (server, claim, durable, exact) in rows {
        assert_eq!(recovery::claims_are_durable(server, claim), durable, "{claim:?} of {server:?}");
        assert_eq!(recovery::reports_are_exact(server, claim), exact, "{claim:?} of {server:?}");
    }
}

#[test]
fn r4_to_r8_one_server_by_itself() {
    let good = follower(2, &[entry(1, 1), entry(1, 2), entry(2, 1)]);
    let local = [
        recovery::history_is_contiguous,
        recovery::disk_recovers,
        recovery::state_is_replay,
        recovery::served_state_is_delivered,
        recovery::window_is_slice,
    ];
    assert_eq!(local.map(|check| check(&good)), [Holds; 5]);
    let bad = [
        ServerView { durable: vec![entry(1, 1), entry(1, 3)], ..good.clone() },
        ServerView { recovers: false, ..good.clone() },
        ServerView { state: 8, ..good.clone() },
        ServerView { delivered: vec![entry(1, 1)], ..good.clone() },
        ServerView { window: vec![entry(1, 1), entry(2, 1)], ..good.clone() },
    ];
    for (check, server) in local.into_iter().zip(&bad) {
        assert_eq!(check(server), Broken, "{server:?}");
    }
    let record = reign_of_one(&[entry(1, 1)]);
    assert_eq!(recovery::served_window_is_committed(&follower(2, &[entry(1, 1)]), &record), Holds);
    assert_eq!(recovery::served_window_is_committed(&good, &record), Broken);
}

#[test]
fn s_rules_over_what_clients_saw() {
    let sessions = |ids: &[i64]| ids.iter().map(|id| SessionId(*id)).collect::<BTreeSet<_>>();
    assert_eq!(session::owners_are_open(&sessions(&[1]), &sessions(&[1, 2])), Holds);
    assert_eq!(session::owners_are_open(&sessions(&[3]), &sessions(&[1, 2])), Broken);
    assert_eq!(session::owners_are_open(&sessions(&[]), &sessions(&[1])), Silent);
    assert_eq!(session::closed_own_nothing(&sessions(&[1]), &sessions(&[2])), Holds);
    assert_eq!(session::closed_own_nothing(&sessions(&[2]), &sessions(&[2])), Broken);

    let zxid = |counter| Zxid::new(Epoch(1), counter);
    let write = |counter, session, xid| Answered { zxid: zxid(counter), session: SessionId(session), xid };
    let committed = [write(1, 1, 1), write(2, 2, 1), write(3, 1, 2)];
    assert_eq!(session::sessions_write_in_order(&committed), Holds);
    assert_eq!(session::sessions_write_in_order(&[write(1, 1, 2), write(2, 1, 1)]), Broken);
    assert_eq!(session::sessions_write_in_order(&committed[..2]), Silent);

    assert_eq!(session::session_sees_forward(&[zxid(1), zxid(1), zxid(3)]), Holds);
    assert_eq!(session::session_sees_forward(&[zxid(3), zxid(1)]), Broken);

    let attempt = |xid, acknowledged| Attempt { session: SessionId(1), xid, acknowledged };
    let happened = |attempts: &[Attempt]| session::writes_happen_once(&committed, attempts);
    assert_eq!(happened(&[attempt(1, Some(zxid(1))), attempt(2, None), attempt(3, None)]), Holds);
    assert_eq!(happened(&[attempt(3, Some(zxid(4)))]), Broken, "acknowledged and lost");
    assert_eq!(happened(&[attempt(1, Some(zxid(2)))]), Broken, "acknowledged at another place");
    assert_eq!(session::writes_happen_once(&[write(1, 1, 1), write(2, 1, 1)], &[]), Broken, "twice");

    assert_eq!(session::sync_shows_acknowledged(Some(zxid(2)), &[zxid(2), zxid(3)]), Holds);
    assert_eq!(session::sync_shows_acknowledged(Some(zxid(2)), &[zxid(1)]), Broken);
    assert_eq!(session::sync_shows_acknowledged(None, &[zxid(1)]), Silent);
}

#[test]
fn f2_what_backs_a_result() {
    let word = |of, same_vote, same_reign, leads| election::Word {
        of: ServerId(of),
        leader: ServerId(3),
        same_vote,
        same_reign,
        leads,
    };
    let backed = |me, own_round, joins, words: &[election::Word]| {
        let result = election::Elected { me: ServerId(me), leader: ServerId(3), own_round, joins };
        election::result_is_backed(&result, words, |servers| servers.len() > 1)
    };
    let voted = [word(1, true, false, false), word(2, true, false, false)];
    let joined = [word(2, false, true, false), word(3, false, true, true)];
    assert!(backed(1, true, false, &voted), "a quorum shares the vote");
    assert!(backed(1, false, false, &voted), "the word that made the quorum brought its round, too");
    assert!(!backed(1, true, false, &voted[..1]), "one is no quorum");
    assert!(backed(1, true, true, &voted), "a vote of its own round stands, whoever completes it");
    assert!(!backed(1, false, true, &voted), "who joins a leader of another round has no part in its votes");
    assert!(backed(1, false, true, &joined), "a quorum has this leader, and it says so");
    assert!(!backed(1, false, true, &[joined[0], word(1, false, true, false)]), "the leader says nothing");
    assert!(!backed(3, false, true, &joined), "nobody is told by others that it leads in another round");
    assert!(backed(3, true, true, &joined), "in its own, it is");
}

#[test]
fn all_other_rules_are_about_histories() {
    let local = [
        "R-1",
        "R-1-order",
        "R-3",
        "R-4",
        "R-5",
        "R-6",
        "R-7",
        "R-7-serving",
        "R-8",
        "R-8-committed",
        "I-11",
        "I-12",
        "I-13",
        "I-14",
        "ObserverNeverLeads",
        "LeaderLogCompleteness",
        "ProcessConsistency",
    ];
    let found: Vec<_> = rule::all().filter(|rule| !rule.is_about_histories()).map(|rule| rule.id).collect();
    assert_eq!(found, local);
}

#[test]
fn every_rule_has_its_own_identifier() {
    let ids: Vec<_> = rule::all().map(|rule| rule.id).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
}
