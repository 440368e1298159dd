//! How the state moves that a server shows to its clients: what one step delivers, and where service begins and ends.
//!
//! What a server does to its state while it does not serve is nobody's business but its own; at which place it begins
//! to serve is a matter of [`Shown`](super::Shown).

use std::{collections::BTreeSet, fmt};

use spec::{Machine as _, Zxid, history::Part as Doing};
use tree::Tree;
use world::{Host, Server};

use crate::{
    engine::search::Search,
    session::{self, Session},
    zab::{self, Zab},
};

/// Who serves.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Who {
    Leader,
    Follower,
}

/// How far a state moves in one step.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Way {
    /// To the next transaction.
    On,
    /// Over more than one, of one epoch.
    OnAndOn,
    /// Into another epoch.
    Across,
    /// To an earlier place.
    Back,
}

/// A step of a server of which clients can tell.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Delivery(Told);

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Told {
    /// It begins to serve.
    Begins(Who),
    /// It ends.
    Ends(Who),
    /// What it shows moves.
    Moves(Who, Way),
    /// It serves in another role, without an end in between.
    Turns(Who, Who),
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Told::Begins(who) => write!(f, "a {who:?} begins to serve"),
            Told::Ends(who) => write!(f, "a {who:?} ends to serve"),
            Told::Moves(who, way) => write!(f, "the state of a {who:?} that serves moves {way:?}"),
            Told::Turns(from, to) => write!(f, "a {from:?} that serves becomes a {to:?} that serves"),
        }
    }
}

/// A server at one moment: who it is to clients, if it serves, and the last transaction in its state.
#[derive(Clone, Copy, Debug)]
struct Moment {
    serves: Option<Who>,
    processed: Zxid,
}

impl Moment {
    fn of_server(server: &Server) -> Self {
        let view = server.view();
        let who = if matches!(view.part, Doing::Leading(_)) { Who::Leader } else { Who::Follower };
        Self { serves: view.serving.then_some(who), processed: view.processed }
    }

    fn of_host(host: &Host<Tree>) -> Self {
        let who = if host.leads() { Who::Leader } else { Who::Follower };
        Self { serves: host.peer().is_serving().then_some(who), processed: host.state().last_processed() }
    }

    /// What clients can tell of the step to the next moment.
    fn until(self, next: Self) -> Option<Delivery> {
        let told = match (self.serves, next.serves) {
            (None, None) => return None,
            (None, Some(who)) => Told::Begins(who),
            (Some(who), None) => Told::Ends(who),
            (Some(from), Some(to)) if from != to => Told::Turns(from, to),
            (Some(who), Some(_)) => Told::Moves(who, way(self.processed, next.processed)?),
        };
        Some(Delivery(told))
    }
}

/// None if the state stays where it is.
fn way(from: Zxid, to: Zxid) -> Option<Way> {
    if to == from {
        return None;
    }
    Some(if to < from {
        Way::Back
    } else if to.epoch() != from.epoch() {
        Way::Across
    } else if to.counter() == from.counter() + 1 {
        Way::On
    } else {
        Way::OnAndOn
    })
}

pub(super) fn of_zab(search: &Search<'_, Zab>, out: &mut BTreeSet<Delivery>) {
    for (before, after) in search.changes() {
        if let (zab::Part::Server(before), zab::Part::Server(after)) = (before, after) {
            out.extend(Moment::of_server(before).until(Moment::of_server(after)));
        }
    }
}

pub(super) fn of_session(search: &Search<'_, Session>, out: &mut BTreeSet<Delivery>) {
    for (before, after) in search.changes() {
        if let (session::Part::Host(before), session::Part::Host(after)) = (before, after) {
            out.extend(Moment::of_host(before).until(Moment::of_host(after)));
        }
    }
}
