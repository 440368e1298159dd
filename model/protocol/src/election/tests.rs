//! Each transition of the table in `spec/election.md`, and the order of votes.

use alloc::{
    collections::{BTreeSet, VecDeque},
    vec,
    vec::Vec,
};

use spec::{Epoch, ServerId, Zxid, election::is_strict_total_order};

use super::{Effects, Election, Input, outranks};
use crate::{Note, Notification, Quorum, ServerState, Timer, Vote};

#[derive(Clone, Debug, Eq, PartialEq)]
enum Said {
    Notify(u64, Notification),
    Elected(u64),
    Set(Timer),
    Cancel(Timer),
    Note(Note),
}

#[derive(Default)]
struct Log(Vec<Said>);

impl Effects for Log {
    fn notify(&mut self, to: ServerId, notification: &Notification) {
        self.0.push(Said::Notify(to.0, *notification));
    }
    fn elected(&mut self, leader: ServerId) {
        self.0.push(Said::Elected(leader.0));
    }
    fn set_timer(&mut self, timer: Timer) {
        self.0.push(Said::Set(timer));
    }
    fn cancel_timer(&mut self, timer: Timer) {
        self.0.push(Said::Cancel(timer));
    }
    fn note(&mut self, note: Note) {
        self.0.push(Said::Note(note));
    }
}

fn vote(epoch: u32, counter: u32, leader: u64) -> Vote {
    Vote { epoch: Epoch(epoch), zxid: Some(Zxid::new(Epoch(1), counter)), leader: ServerId(leader) }
}

fn word(state: ServerState, vote: Vote, round: u64) -> Notification {
    Notification { state, vote, round }
}

fn looking(vote: Vote, round: u64) -> Notification {
    word(ServerState::Looking, vote, round)
}

fn voters(count: u64) -> Quorum {
    Quorum::majority((1..=count).map(ServerId))
}

fn step(election: &mut Election, input: Input) -> Vec<Said> {
    let mut log = Log::default();
    election.step(input, &mut log);
    log.0
}

fn heard(from: u64, notification: Notification) -> Input {
    Input::Notification { from: ServerId(from), notification }
}

fn hear(election: &mut Election, from: u64, notification: Notification) -> Vec<Said> {
    step(election, heard(from, notification))
}

/// Server 2 of three, in round 1 with its own vote.
fn second_of_three() -> Election {
    let mut election = Election::new(ServerId(2), voters(3));
    step(&mut election, Input::Look(vote(1, 1, 2)));
    election
}

#[test]
fn each_level_of_the_order_counts_only_under_a_tie_above() {
    let quorum = voters(3);
    let rows = [
        (vote(2, 1, 1), vote(1, 9, 3), "a higher epoch beats a later transaction and a higher server"),
        (vote(1, 2, 1), vote(1, 1, 3), "in one epoch, a later transaction beats a higher server"),
        (vote(1, 1, 3), vote(1, 1, 2), "all else equal, the higher server wins"),
        (
            vote(2, 5, 1),
            vote(1, 5, 2),
            "equal transactions do not let the server decide across epochs (1419)",
        ),
        (vote(2, 5, 1), vote(1, 6, 1), "a later transaction does not decide across epochs"),
        (vote(1, 1, 1), vote(9, 9, 9), "whoever has no vote loses to one that has"),
    ];
    for (better, worse, reason) in rows {
        assert!(outranks(&quorum, &better, &worse), "{reason}");
        assert!(!outranks(&quorum, &worse, &better), "{reason}");
    }
}

#[test]
fn f1_the_order_is_strict_and_total_on_every_small_set_of_votes() {
    let mut votes = Vec::new();
    for epoch in 0..3 {
        for leader in 1..=4 {
            votes.extend((0..3).map(|counter| vote(epoch, counter, leader)));
            votes.push(Vote { zxid: None, ..vote(epoch, 0, leader) });
        }
    }
    let quorum = voters(3);
    assert!(is_strict_total_order(&votes, |a, b| outranks(&quorum, a, b)));
    // The predicate is able to fail: issue 1419.
    let unguarded = |a: &Vote, b: &Vote| {
        a.epoch > b.epoch
            || (a.epoch == b.epoch && a.zxid > b.zxid)
            || (a.zxid == b.zxid && a.leader > b.leader)
    };
    assert!(!is_strict_total_order(&votes, unguarded));
}

#[test]
fn looking_starts_a_round_with_the_own_vote_told_to_all() {
    let mut election = Election::new(ServerId(2), voters(3));
    let mine = looking(vote(1, 1, 2), 1);
    assert_eq!(
        step(&mut election, Input::Look(vote(1, 1, 2))),
        [Said::Notify(1, mine), Said::Notify(3, mine), Said::Set(Timer::Resend)]
    );
}

#[test]
fn a_server_alone_elects_itself_at_once() {
    let mut election = Election::new(ServerId(1), voters(1));
    let said = step(&mut election, Input::Look(vote(0, 0, 1)));
    assert!(said.contains(&Said::Elected(1)), "{said:?}");
}

#[test]
fn a_better_vote_of_the_round_is_adopted_and_told() {
    let mut election = second_of_three();
    let said = hear(&mut election, 3, looking(vote(1, 1, 3), 1));
    assert_eq!(
        said,
        [
            Said::Notify(1, looking(vote(1, 1, 3), 1)),
            Said::Notify(3, looking(vote(1, 1, 3), 1)),
            Said::Set(Timer::Resend),
            Said::Set(Timer::Finalize),
        ]
    );
}

#[test]
fn a_worse_vote_of_the_round_is_counted_and_changes_nothing() {
    let mut election = second_of_three();
    assert_eq!(hear(&mut election, 1, looking(vote(1, 1, 1), 1)), []);
    assert_eq!(election.supporters(), BTreeSet::from([ServerId(2)]));
}

#[test]
fn a_quorum_waits_for_a_better_vote_and_then_ends() {
    let mut election = second_of_three();
    assert_eq!(hear(&mut election, 1, looking(vote(1, 1, 2), 1)), [Said::Set(Timer::Finalize)]);
    let said = step(&mut election, Input::Timer(Timer::Finalize));
    let result = word(ServerState::Leading, vote(1, 1, 2), 1);
    assert_eq!(
        said,
        [
            Said::Cancel(Timer::Resend),
            Said::Cancel(Timer::Finalize),
            Said::Elected(2),
            Said::Notify(3, result),
        ],
        "server 3 has not voted the same, and is told"
    );
}

#[test]
fn a_better_vote_during_the_wait_ends_the_wait() {
    let mut election = second_of_three();
    hear(&mut election, 1, looking(vote(1, 1, 2), 1));
    let said = hear(&mut election, 3, looking(vote(1, 2, 3), 1));
    assert!(!said.iter().any(|said| matches!(said, Said::Elected(_))), "{said:?}");
    assert_eq!(election.word(), Some(looking(vote(1, 2, 3), 1)));
    // 2 and 3 agree now, and the wait starts anew for them.
    assert!(election.is_finalizing());
}

#[test]
fn a_later_round_during_the_wait_matters_with_a_better_vote_or_from_those_counted_on() {
    let mut election = second_of_three();
    hear(&mut election, 1, looking(vote(1, 1, 2), 1));
    let said = hear(&mut election, 3, looking(vote(1, 0, 3), 2));
    assert_eq!(said, [Said::Note(Note::VoteIgnored { from: ServerId(3) })]);
    assert!(election.is_finalizing());
    hear(&mut election, 3, looking(vote(1, 2, 3), 2));
    assert_eq!(election.word(), Some(looking(vote(1, 2, 3), 2)), "a better vote");

    let mut election = second_of_three();
    hear(&mut election, 1, looking(vote(1, 1, 2), 1));
    hear(&mut election, 1, looking(vote(1, 1, 1), 2));
    assert_eq!(election.word(), Some(looking(vote(1, 1, 2), 2)), "the quorum is gone");
    assert!(!election.is_finalizing());

    let mut election = second_of_three();
    hear(&mut election, 1, looking(vote(1, 1, 3), 1));
    assert!(election.is_finalizing());
    hear(&mut election, 3, looking(vote(1, 1, 3), 2));
    assert_eq!(election.round(), 2, "the proposed leader looks again");
}

#[test]
fn the_wait_is_left_out_when_every_voter_voted_the_same() {
    let mut election = second_of_three();
    hear(&mut election, 1, looking(vote(1, 1, 2), 1));
    let said = hear(&mut election, 3, looking(vote(1, 1, 2), 1));
    assert_eq!(said, [Said::Cancel(Timer::Resend), Said::Cancel(Timer::Finalize), Said::Elected(2)]);
}

#[test]
fn the_wait_is_left_out_when_the_others_cannot_be_reached() {
    let rows: [(&[Input], bool, &str); 4] = [
        (&[Input::LinkDown(ServerId(3))], true, "refused before the quorum"),
        (&[], false, "not refused"),
        (&[Input::LinkDown(ServerId(1))], false, "the one that answered was refused, not the silent one"),
        (
            &[
                Input::LinkDown(ServerId(3)),
                Input::Notification { from: ServerId(3), notification: looking(vote(1, 0, 3), 1) },
            ],
            false,
            "refused, and heard of later",
        ),
    ];
    for (before, ends, reason) in rows {
        let mut election = second_of_three();
        for input in before {
            step(&mut election, *input);
        }
        let said = hear(&mut election, 1, looking(vote(1, 1, 2), 1));
        assert_eq!(said.contains(&Said::Elected(2)), ends, "{reason}");
    }
    let mut election = second_of_three();
    hear(&mut election, 1, looking(vote(1, 1, 2), 1));
    let said = step(&mut election, Input::LinkDown(ServerId(3)));
    assert!(said.contains(&Said::Elected(2)), "refused during the wait");
}

#[test]
fn a_later_round_starts_anew_with_the_better_of_both_votes() {
    let rows = [
        (vote(1, 2, 1), vote(1, 2, 1), "theirs is better"),
        (vote(1, 1, 1), vote(1, 1, 2), "the own vote is better, though something else was proposed before"),
    ];
    for (theirs, expected, reason) in rows {
        // Of five, so that two are no quorum.
        let mut election = Election::new(ServerId(2), voters(5));
        step(&mut election, Input::Look(vote(1, 1, 2)));
        hear(&mut election, 3, looking(vote(1, 3, 3), 1));
        let said = hear(&mut election, 1, looking(theirs, 4));
        assert!(said.contains(&Said::Notify(3, looking(expected, 4))), "{reason}: {said:?}");
        assert!(!election.supporters().contains(&ServerId(3)), "{reason}: older votes are forgotten");
    }
}

#[test]
fn an_earlier_round_is_answered_and_dropped() {
    let mut election = second_of_three();
    hear(&mut election, 1, looking(vote(1, 1, 1), 4));
    let said = hear(&mut election, 3, looking(vote(9, 9, 3), 3));
    assert_eq!(
        said,
        [Said::Note(Note::StaleVote { from: ServerId(3) }), Said::Notify(3, looking(vote(1, 1, 2), 4)),]
    );
}

#[test]
fn votes_without_data_count_for_nothing() {
    let none = |leader| Vote { zxid: None, ..vote(9, 9, leader) };
    let mut election = second_of_three();
    assert_eq!(
        hear(&mut election, 3, looking(none(3), 1)),
        [Said::Note(Note::VoteIgnored { from: ServerId(3) })]
    );
    // Nor does a server without data take part; it can only join.
    let mut empty = Election::new(ServerId(2), voters(3));
    step(&mut empty, Input::Look(none(2)));
    assert_eq!(
        hear(&mut empty, 3, looking(vote(1, 1, 3), 1)),
        [Said::Note(Note::VoteIgnored { from: ServerId(3) })]
    );
    hear(&mut empty, 1, word(ServerState::Following, vote(2, 1, 3), 7));
    let said = hear(&mut empty, 3, word(ServerState::Leading, vote(2, 1, 3), 7));
    assert!(said.contains(&Said::Elected(3)), "{said:?}");
}

#[test]
fn votes_of_and_for_strangers_count_for_nothing() {
    let mut election = second_of_three();
    assert_eq!(
        hear(&mut election, 3, looking(vote(9, 9, 9), 1)),
        [Said::Note(Note::VoteIgnored { from: ServerId(3) })],
        "for a stranger"
    );
    assert_eq!(
        hear(&mut election, 9, looking(vote(9, 9, 3), 1)),
        [Said::Notify(9, looking(vote(1, 1, 2), 1))],
        "of a stranger, who is told and not heard"
    );
    assert_eq!(
        hear(&mut election, 3, word(ServerState::Observing, vote(9, 9, 3), 1)),
        [Said::Note(Note::VoteIgnored { from: ServerId(3) })],
        "of an observer"
    );
}

/// While the lists of servers are being changed, others may give a server weight that has none here.
#[test]
fn nobody_is_elected_who_may_not_lead_here() {
    let weights = [(1, 1), (2, 1), (3, 1), (4, 0)].map(|(id, weight)| (ServerId(id), weight));
    let quorum = Quorum::hierarchical([weights]).expect("some have weight");
    for own in [4, 3] {
        let mut election = Election::new(ServerId(own), quorum.clone());
        step(&mut election, Input::Look(vote(1, 1, own)));
        for from in [1, 2, 3, 4].into_iter().filter(|from| *from != own) {
            let said = hear(&mut election, from, looking(vote(9, 9, 4), 1));
            assert!(!said.iter().any(|said| matches!(said, Said::Elected(_))), "{from}: {said:?}");
        }
        assert!(!election.is_finalizing());
    }
}

/// Sender, state, leader, round.
type Words = &'static [(u64, ServerState, u64, u64)];

#[test]
fn an_established_leader_is_joined_on_its_own_word_and_a_quorums() {
    use ServerState::{Following, Leading};
    let reign = |leader| vote(5, 1, leader);
    let rows: [(Words, bool, &str); 6] = [
        (&[(1, Following, 3, 7), (3, Leading, 3, 7)], true, "a later round"),
        (&[(3, Leading, 3, 7), (1, Following, 3, 7)], true, "in the other order"),
        (&[(1, Following, 3, 7), (3, Leading, 3, 9)], true, "rounds differ between members (1805)"),
        (&[(3, Leading, 3, 7)], false, "no quorum"),
        (&[(1, Following, 3, 7), (3, Following, 3, 7)], false, "the leader itself does not lead"),
        (&[(1, Leading, 1, 7), (3, Leading, 3, 7)], false, "two leaders without a following"),
    ];
    for (words, joins, reason) in rows {
        let mut election = second_of_three();
        let mut said = vec![];
        for &(from, state, leader, round) in words {
            said.extend(hear(&mut election, from, word(state, reign(leader), round)));
        }
        assert_eq!(said.contains(&Said::Elected(3)), joins, "{reason}: {said:?}");
    }
}

#[test]
fn the_word_of_members_of_two_reigns_does_not_add_up() {
    let mut election = second_of_three();
    hear(&mut election, 1, word(ServerState::Following, vote(4, 1, 3), 7));
    let said = hear(&mut election, 3, word(ServerState::Leading, vote(5, 1, 3), 8));
    assert_eq!(said, []);
}

#[test]
fn what_a_server_said_of_its_leader_is_void_once_it_looks() {
    let mut election = second_of_three();
    hear(&mut election, 3, word(ServerState::Leading, vote(5, 1, 3), 7));
    hear(&mut election, 3, looking(vote(1, 0, 3), 1));
    let said = hear(&mut election, 1, word(ServerState::Following, vote(5, 1, 3), 7));
    assert_eq!(said, [], "server 3 does not lead any more");
}

#[test]
fn those_who_decided_tell_those_who_look() {
    let mut election = second_of_three();
    hear(&mut election, 1, looking(vote(1, 1, 2), 1));
    step(&mut election, Input::Timer(Timer::Finalize));
    let question = looking(vote(9, 9, 3), 9);
    let answer = |epoch| word(ServerState::Leading, vote(epoch, 1, 2), 1);
    assert_eq!(hear(&mut election, 3, question), [Said::Notify(3, answer(1))]);
    step(&mut election, Input::Established(Epoch(2)));
    assert_eq!(
        hear(&mut election, 3, question),
        [Said::Notify(3, answer(2))],
        "the epoch it leads in (1732)"
    );
    assert_eq!(
        hear(&mut election, 1, word(ServerState::Following, vote(2, 1, 2), 1)),
        [Said::Note(Note::StaleVote { from: ServerId(1) })],
        "no question, no answer"
    );
    step(&mut election, Input::Stopped);
    assert_eq!(
        hear(&mut election, 3, question),
        [Said::Note(Note::StaleVote { from: ServerId(3) })],
        "it leads no longer, and has no vote yet"
    );
}

#[test]
fn what_came_too_early_is_heard_when_the_election_begins() {
    use ServerState::Following;
    let later = looking(vote(1, 1, 3), 2);
    let rows: [(&[Input], bool, &str); 5] = [
        (&[heard(3, later)], true, "a word of the next round"),
        (&[Input::Stopped, heard(3, later)], true, "between two roles"),
        (&[heard(3, looking(vote(1, 1, 3), 1))], false, "a word of the round that is over"),
        (&[heard(3, later), heard(3, word(Following, vote(1, 1, 2), 1))], false, "it has a leader since"),
        (&[heard(3, later), Input::LinkDown(ServerId(3))], false, "it may be gone since"),
    ];
    for (inputs, counts, reason) in rows {
        let mut election = second_of_three();
        hear(&mut election, 1, looking(vote(1, 1, 2), 1));
        step(&mut election, Input::Timer(Timer::Finalize));
        for input in inputs {
            step(&mut election, *input);
        }
        step(&mut election, Input::Look(vote(1, 1, 2)));
        assert_eq!(election.is_finalizing(), counts, "{reason}");
        step(&mut election, Input::Stopped);
        step(&mut election, Input::Look(vote(1, 1, 2)));
        assert!(!election.is_finalizing(), "{reason}: heard once");
    }
}

#[test]
fn timers_that_nothing_waits_for_are_noted() {
    let mut election = second_of_three();
    assert_eq!(
        step(&mut election, Input::Timer(Timer::Finalize)),
        [Said::Note(Note::IdleTimer(Timer::Finalize))]
    );
    let said = step(&mut election, Input::Timer(Timer::Resend));
    assert_eq!(said.len(), 3, "told again, and the timer set: {said:?}");
}

#[test]
fn the_highest_round_does_not_overflow() {
    let mut election = second_of_three();
    hear(&mut election, 3, looking(vote(1, 1, 3), u64::MAX));
    step(&mut election, Input::Look(vote(1, 1, 2)));
    assert_eq!(election.round(), u64::MAX);
}

/// Five servers, every message delivered in the order of sending: all elect the best, without waiting.
#[test]
fn five_servers_elect_the_best_of_them() {
    let mut servers: Vec<_> = (1..=5).map(|id| Election::new(ServerId(id), voters(5))).collect();
    let mut mail = VecDeque::new();
    let mut elected = vec![];
    let mut act = |servers: &mut Vec<Election>, id: u64, input, mail: &mut VecDeque<_>| {
        let server = servers.iter_mut().find(|server| server.me == ServerId(id)).expect("one of five");
        for said in step(server, input) {
            match said {
                Said::Notify(to, notification) => {
                    mail.push_back((to, Input::Notification { from: ServerId(id), notification }));
                }
                Said::Elected(leader) => elected.push((id, leader)),
                Said::Set(_) | Said::Cancel(_) | Said::Note(_) => {}
            }
        }
    };
    for id in 1..=5 {
        let counter = u32::from(id == 2) + 1;
        act(&mut servers, id, Input::Look(vote(1, counter, id)), &mut mail);
    }
    while let Some((to, input)) = mail.pop_front() {
        act(&mut servers, to, input, &mut mail);
    }
    elected.sort_unstable();
    assert_eq!(elected, [(1, 2), (2, 2), (3, 2), (4, 2), (5, 2)]);
}

#[test]
fn a_voter_that_looks_again_backs_no_leader_for_an_observer() {
    // E-11. Server 6 observes five voters.
    let mut observer = Election::new(ServerId(6), voters(5));
    step(&mut observer, Input::Look(vote(1, 1, 6)));
    let leader = vote(1, 1, 5);
    let elected = |said: Vec<Said>| said.contains(&Said::Elected(5));
    assert!(!elected(hear(&mut observer, 1, word(ServerState::Following, leader, 1))));
    assert!(!elected(hear(&mut observer, 2, word(ServerState::Following, leader, 1))));
    assert!(!elected(hear(&mut observer, 1, looking(vote(1, 1, 1), 1))));
    assert!(!elected(hear(&mut observer, 5, word(ServerState::Leading, leader, 1))), "two of five back it");
    assert!(elected(hear(&mut observer, 3, word(ServerState::Following, leader, 1))));
}
