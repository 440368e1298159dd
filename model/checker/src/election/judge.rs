//! The rules over servers of the election model, and how its steps read.

use std::collections::BTreeSet;

use protocol::{Notification, Quorum, ServerState, Vote, election::outranks};
use spec::{
    ServerId,
    election::{is_strict_total_order, vote_was_offered},
};
use world::text;

use super::server::{Server, Told};
use crate::engine::{Broken, Verdict};

/// What the rules see of a server.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct View {
    id: ServerId,
    offered: BTreeSet<Vote>,
    word: Option<Notification>,
    unanimous: bool,
}

impl View {
    pub(super) fn of(server: &Server) -> Self {
        Self {
            id: server.id,
            offered: server.offered.clone(),
            word: server.word(),
            unanimous: server.unanimous,
        }
    }

    fn decided(&self) -> Option<Notification> {
        self.word.filter(|word| word.state != ServerState::Looking)
    }
}

/// F-4, and E-8 in runs without crashes.
pub(super) fn pair(one: &View, other: &View, crash_free: bool) -> Verdict {
    let broken = [(one, other), (other, one)].into_iter().find_map(|(one, other)| {
        reported_is_durable(one, other).or_else(|| unanimous_round(one, other).filter(|_| crash_free))
    });
    Verdict { broken, witnesses: 0 }
}

/// F-4, of the server that is named.
fn reported_is_durable(voter: &View, named: &View) -> Option<Broken> {
    let word = voter.word.filter(|word| word.state == ServerState::Looking)?;
    let fits = word.vote.leader != named.id
        || word.vote.zxid.is_none()
        || vote_was_offered(&word.vote, &named.offered);
    (!fits).then(|| {
        Broken::new("F-4", format!("server {} votes for what server {} never had", voter.id, named.id))
    })
}

/// E-8: once every voter has voted the same in a round, and nobody forgets, nobody else is elected in it.
fn unanimous_round(one: &View, other: &View) -> Option<Broken> {
    let (one_word, other_word) = (one.decided()?, other.decided()?);
    let same_round = one_word.round == other_word.round;
    let differ = one.unanimous && same_round && one_word.vote.leader != other_word.vote.leader;
    differ.then(|| {
        Broken::new("E-8", format!("servers {} and {} disagree on a unanimous round", one.id, other.id))
    })
}

/// F-1, of every vote that a server ever began an election with; and the witnesses of the whole.
pub(super) fn whole(views: &[(usize, &View)], quorum: &Quorum) -> Verdict {
    let votes: BTreeSet<Vote> = views.iter().flat_map(|(_, view)| view.offered.iter().copied()).collect();
    let votes: Vec<Vote> = votes.into_iter().collect();
    let ordered = is_strict_total_order(&votes, |one, other| outranks(quorum, one, other));
    let broken = (!ordered).then(|| Broken::new("F-1", format!("the votes {votes:?} have no best")));
    let leads = |id: ServerId| {
        let word = views.iter().find(|(_, view)| view.id == id).and_then(|(_, view)| view.word);
        word.is_some_and(|word| word.state == ServerState::Leading)
    };
    let decided: Vec<_> = views.iter().filter_map(|(_, view)| view.decided()).collect();
    let leaders = decided.iter().filter(|word| word.state == ServerState::Leading).count();
    let stray = decided.iter().any(|word| word.state == ServerState::Following && !leads(word.vote.leader));
    let settled = decided.len() == views.len()
        && leaders == 1
        && decided.iter().all(|word| word.vote.leader == decided[0].vote.leader);
    let witnesses = u64::from(leaders > 1) << 8 | u64::from(stray) << 9 | u64::from(settled) << 10;
    Verdict { broken, witnesses }
}

/// What a step did to a server.
pub(super) fn story(before: &Server, after: &Server, told: &Told) -> Vec<String> {
    let mut lines = Vec::new();
    if before.word() != after.word() {
        let word = after.word().map_or_else(|| "says nothing".to_owned(), |word| text::notification(&word));
        lines.push(format!("server {}: {word}", after.id));
    }
    lines.extend(told.elected.map(|leader| format!("server {}: elects {leader}", after.id)));
    lines.extend(told.notes.iter().map(|note| format!("server {}: {note:?}", after.id)));
    lines
}
