//! Which server takes its next step.

use protocol::peer::Input;
use recording::Record;
use spec::ServerId;

use super::Run;
use crate::{load::Front, server::Server};

/// How a server's next step stands to what others have done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stance {
    /// It can be taken.
    Free,
    /// It is about something that another one has still to do.
    Waits,
    /// It is about something of which the recording is lost: only the time tells what came before.
    Believes,
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
            let stance = self.stance(at);
            let source = &mut self.servers[at].source;
            let time = match (source.front(), stance) {
                (Front::End, _) => continue,
                (Front::Record(_) | Front::Gap, Stance::Free | Stance::Waits) => source.at_us,
                // What led to it may have happened as late as that.
                (Front::Record(_) | Front::Gap, Stance::Believes) => source.turn_ends_us(),
            };
            let key = (stance == Stance::Waits, time, at);
            earliest = Some(earliest.map_or(key, |earliest| key.min(earliest)));
        }
        earliest.map(|(.., at)| at)
    }

    /// How a server's next step stands to what others have done.
    fn stance(&mut self, at: usize) -> Stance {
        let (me, mark) = (self.servers[at].id, self.servers[at].mark);
        let Front::Record(record) = self.servers[at].source.front() else { return Stance::Free };
        let from = match record {
            Record::Brief(from, _) => *from,
            Record::Input(input) => match &**input {
                Input::Packet { from, .. } | Input::Snapshot { from, .. } => *from,
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
            (_, false) => Stance::Believes,
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
