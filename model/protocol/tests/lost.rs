//! A server whose data are lost: its vote must not stand for what it once held.

use protocol::{
    Election, Note, Notification, Quorum, ServerState, Timer, Vote,
    election::{Effects, Input},
    recovery::{Config, Found, Refusal, recover},
};
use spec::{Epoch, ServerId, Zxid};

/// Who was elected.
#[derive(Default)]
struct Elected(Option<ServerId>);

impl Effects for Elected {
    fn notify(&mut self, _: ServerId, _: &Notification) {}
    fn elected(&mut self, leader: ServerId) {
        self.0 = Some(leader);
    }
    fn set_timer(&mut self, _: Timer) {}
    fn cancel_timer(&mut self, _: Timer) {}
    fn note(&mut self, _: Note) {}
}

/// It held what 1 and 2 had committed, of which 3 has nothing. With its epochs and an empty log it would make 3 a
/// quorum, and win over it (rule D-5).
#[test]
fn who_has_joined_an_epoch_and_has_nothing_does_not_start() {
    let found = |epoch: Option<u32>| Found::<u8> {
        accepted: epoch.map(Epoch),
        current: epoch.map(Epoch),
        snapshots: Vec::new(),
        segments: Vec::new(),
        synced: None,
    };
    let refusal = recover(Config::default(), &found(Some(1))).map(|plan| plan.last);
    assert_eq!(refusal, Err(Refusal::DataMissing { current: Some(Epoch(1)) }));
    let new = recover(Config::default(), &found(None)).map(|plan| plan.last);
    assert_eq!(new, Ok(Zxid::ZERO));
}

/// A server without data makes no quorum: it neither adopts a vote nor counts one (rule E-5).
#[test]
fn who_has_no_data_elects_nobody() {
    let vote = |leader, zxid| Vote { epoch: Epoch(1), zxid, leader: ServerId(leader) };
    let (data, none) = (Some(Zxid::ZERO), None);
    for (mine, theirs, elects) in [(data, data, true), (none, data, false), (none, none, false)] {
        let mut election = Election::new(ServerId(2), Quorum::majority((1..=3).map(ServerId)));
        let mut out = Elected::default();
        election.step(Input::Look(vote(2, mine)), &mut out);
        let notification = Notification { state: ServerState::Looking, vote: vote(3, theirs), round: 1 };
        election.step(Input::Notification { from: ServerId(3), notification }, &mut out);
        election.step(Input::Timer(Timer::Finalize), &mut out);
        assert_eq!(out.0.is_some(), elects, "{mine:?} beside {theirs:?}");
    }
}
