//! Which server takes its next step.

use protocol::{
    Message,
    peer::{Input, Packet},
};
use recording::{Brief, Record};
use spec::{ServerId, Zxid};
use tree::Tree;

use super::Run;
use crate::{load::Front, server::Server};

/// How a server's next step stands to what others have done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stance {
    /// It can be taken.
    Free,
    /// It is about something that another one has still to do.
    Waits,
    /// It is about a decision of which the recording is lost: those that led to it come before, as far as their times allow.
    Believes(Zxid),
}

impl Run {
    /// The server whose step is next: the earliest that waits for nobody, or the earliest of all.
    pub(super) fn next(&mut self) -> Option<usize> {
        for server in &mut self.servers {
            server.begun |= matches!(server.source.front(), Front::End);
            server.retire();
        }
        let mut earliest = None;
        for at in 0..self.servers.len() {
            let waits = match self.stance(at) {
                Stance::Free => false,
                Stance::Waits => true,
                Stance::Believes(zxid) => self.may_be_decided_later(at, zxid),
            };
            let source = &mut self.servers[at].source;
            if matches!(source.front(), Front::End) {
                continue;
            }
            let key = (waits, source.at_us, at);
            earliest = Some(earliest.map_or(key, |earliest| key.min(earliest)));
        }
        earliest.map(|(.., at)| at)
    }

    /// Whether no quorum is known to have this transaction yet, and somebody else has a step that may lead to it: one that
    /// began before the turn was over in which this server heard of it.
    fn may_be_decided_later(&mut self, at: usize, zxid: Zxid) -> bool {
        let has = |server: &Server| match &server.replica {
            Some(replica) => replica.disk.durable.last().is_some_and(|last| last.zxid >= zxid),
            None => server.open_end,
        };
        let holders = self.servers.iter().filter(|server| has(server)).map(|server| server.id).collect();
        if self.order.decides(&holders) {
            return false;
        }
        let until = self.servers[at].source.turn_ends_us();
        let others = self.servers.iter().filter(|other| other.id != self.servers[at].id);
        let others: Vec<_> =
            others.filter(|other| other.source.at_us <= until).map(|other| other.id).collect();
        others.into_iter().any(|other| self.goes_on(other))
    }

    /// How a server's next step stands to what others have done.
    fn stance(&mut self, at: usize) -> Stance {
        let (me, mark) = (self.servers[at].id, self.servers[at].mark);
        let Front::Record(record) = self.servers[at].source.front() else { return Stance::Free };
        let (from, decision) = match record {
            Record::Brief(from, Brief::Commit(zxid) | Brief::Inform(zxid)) => (*from, Some(*zxid)),
            Record::Brief(from, Brief::Proposal(_) | Brief::Ack(_)) => (*from, None),
            Record::Input(input) => match &**input {
                Input::Packet { from, packet, .. } => (*from, decided(packet)),
                Input::Snapshot { from, .. } => (*from, None),
                Input::Accepted(from) => {
                    let known = mark.is_some_and(|mark| self.network.knows(me, mark));
                    let from = *from;
                    return if !known && self.goes_on(from) { Stance::Waits } else { Stance::Free };
                }
                _ => return Stance::Free,
            },
            _ => return Stance::Free,
        };
        let link = self.servers[at].links.get(&from).copied();
        if link.is_some_and(|link| self.network.has(link, me)) {
            return Stance::Free;
        }
        let may_send = |link: usize| {
            let attached = self.server(from).is_some_and(|sender| sender.links.get(&me) == Some(&link));
            attached || !self.network.link(link).whole
        };
        match (link.is_some_and(may_send), self.goes_on(from)) {
            (true, true) => Stance::Waits,
            (false, true) => Stance::Free,
            (_, false) => decision.map_or(Stance::Free, Stance::Believes),
        }
    }

    pub(super) fn server(&self, id: ServerId) -> Option<&Server> {
        self.servers.iter().find(|server| server.id == id)
    }

    /// Whether more of this life of a server is recorded.
    pub(super) fn goes_on(&mut self, id: ServerId) -> bool {
        let Some(server) = self.servers.iter_mut().find(|server| server.id == id) else { return false };
        server.replica.is_some()
            && match server.source.front() {
                Front::Record(record) => !matches!(record, Record::Boot(_)),
                Front::Gap | Front::End => false,
            }
    }
}

/// The transaction that a leader says is decided.
fn decided(packet: &Packet<Tree>) -> Option<Zxid> {
    match packet {
        Packet::Zab(Message::Commit { zxid } | Message::Inform { zxid, .. }) => Some(*zxid),
        _ => None,
    }
}
