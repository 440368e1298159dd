//! The links between servers: what was sent and is not received yet.

use std::collections::{BTreeMap, VecDeque};

use protocol::{Message, peer::Packet};
use recording::{Brief, LinkMark};
use spec::{Entry, ServerId, Zxid};
use tree::Tree;

/// Something on its way.
#[derive(Clone, Debug)]
pub(crate) enum Sent {
    Packet(Packet<Tree>),
    /// The state, with the history that it is of, and whether that is known by inference alone.
    Snapshot {
        last: Zxid,
        history: Vec<Entry>,
        guessed: bool,
    },
    /// A part of the log, each transaction as PROPOSAL and COMMIT.
    Log {
        after: Zxid,
        through: Zxid,
    },
}

/// What a server was told of a link.
#[derive(Clone, Debug)]
pub(crate) enum Got {
    Packet(Packet<Tree>),
    Brief(Brief),
    Snapshot(Zxid),
}

/// One incarnation of a link.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) dialler: ServerId,
    /// Both ends are known: what one receives the other has sent.
    pub(crate) whole: bool,
    /// It was up at a checkpoint, so that something may be on its way to the acceptor, or to the dialler, of which
    /// nothing is known.
    early: [bool; 2],
    to_dialler: VecDeque<Sent>,
    to_acceptor: VecDeque<Sent>,
}

/// Every link that there was.
#[derive(Debug, Default)]
pub(crate) struct Network {
    links: Vec<Link>,
    /// The last link by the server that dialled, the port that it dialled from, and the other server.
    names: BTreeMap<(ServerId, u16, ServerId), usize>,
}

/// What became of something received.
#[derive(Debug)]
pub(crate) enum Match {
    /// It was next, and this is what was sent.
    Fits(Sent),
    /// Something else was next.
    Differs(Sent),
    /// Nothing is on its way.
    Nothing,
}

impl Network {
    /// The name of a link as server `me` sees it.
    fn name(me: ServerId, mark: LinkMark) -> (ServerId, u16, ServerId) {
        if mark.accepted { (mark.peer, mark.remote, me) } else { (me, mark.local, mark.peer) }
    }

    /// Whether the other end of this link is known.
    pub(crate) fn knows(&self, me: ServerId, mark: LinkMark) -> bool {
        let link = self.names.get(&Self::name(me, mark)).and_then(|place| self.links.get(*place));
        link.is_some_and(|link| !link.whole)
    }

    /// A server tells of its end of a link: the first of two ends makes it, the second makes it whole.
    pub(crate) fn join(&mut self, me: ServerId, mark: LinkMark, early: bool) -> usize {
        let name = Self::name(me, mark);
        if let Some(place) = self.names.get(&name).copied()
            && let Some(link) = self.links.get_mut(place).filter(|link| !link.whole)
            && (early || mark.accepted)
        {
            link.whole = true;
            link.early = [link.early[0] || early, link.early[1] || early];
            return place;
        }
        self.links.push(Link {
            dialler: name.0,
            whole: false,
            early: [early; 2],
            to_dialler: VecDeque::new(),
            to_acceptor: VecDeque::new(),
        });
        self.names.insert(name, self.links.len() - 1);
        self.links.len() - 1
    }

    pub(crate) fn link(&self, place: usize) -> &Link {
        &self.links[place]
    }

    pub(crate) fn send(&mut self, place: usize, from: ServerId, sent: Sent) {
        let link = &mut self.links[place];
        if link.dialler == from { &mut link.to_acceptor } else { &mut link.to_dialler }.push_back(sent);
    }

    fn queue(&mut self, place: usize, to: ServerId) -> &mut VecDeque<Sent> {
        let link = &mut self.links[place];
        if link.dialler == to { &mut link.to_dialler } else { &mut link.to_acceptor }
    }

    /// Whether something is on its way to this server.
    pub(crate) fn has(&mut self, place: usize, to: ServerId) -> bool {
        !self.queue(place, to).is_empty()
    }

    /// A server has received something: takes what was next, and on a difference all that stands before the first that
    /// fits, if any does.
    pub(crate) fn receive(&mut self, place: usize, to: ServerId, got: &Got) -> Match {
        if self.is_early(place, to) {
            let queue = self.queue(place, to);
            let Some(at) = queue.iter_mut().position(|sent| fits(sent, got) == Fit::Whole) else {
                return Match::Nothing;
            };
            // What stands before it was received before the checkpoint.
            let sent = queue.drain(..=at).next_back();
            let link = &mut self.links[place];
            link.early[usize::from(link.dialler == to)] = false;
            return sent.map_or(Match::Nothing, Match::Fits);
        }
        let queue = self.queue(place, to);
        let Some(next) = queue.front_mut() else { return Match::Nothing };
        match fits(next, got) {
            Fit::Whole => queue.pop_front().map_or(Match::Nothing, Match::Fits),
            Fit::Part => Match::Fits(next.clone()),
            Fit::No => {
                let differs = Match::Differs(next.clone());
                if let Some(place) = queue.iter_mut().position(|sent| fits(sent, got) == Fit::Whole) {
                    queue.drain(..=place);
                }
                differs
            }
        }
    }

    /// Whether something may be on its way to this server, of before a checkpoint, of which nothing is known.
    pub(crate) fn is_early(&self, place: usize, to: ServerId) -> bool {
        let link = &self.links[place];
        link.early[usize::from(link.dialler == to)]
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fit {
    Whole,
    /// Something of it is still to come.
    Part,
    No,
}

fn fits(sent: &mut Sent, got: &Got) -> Fit {
    let whole = |fits: bool| if fits { Fit::Whole } else { Fit::No };
    match (sent, got) {
        (Sent::Log { after, through }, Got::Brief(_) | Got::Packet(Packet::Zab(_))) => {
            let (zxid, commit) = match got {
                Got::Brief(Brief::Proposal(zxid))
                | Got::Packet(Packet::Zab(Message::Proposal { zxid, .. })) => (*zxid, false),
                Got::Brief(Brief::Commit(zxid)) | Got::Packet(Packet::Zab(Message::Commit { zxid })) => {
                    (*zxid, true)
                }
                _ => return Fit::No,
            };
            if zxid <= *after || zxid > *through {
                return Fit::No;
            }
            if !commit {
                return Fit::Part;
            }
            *after = zxid;
            if zxid == *through { Fit::Whole } else { Fit::Part }
        }
        (Sent::Snapshot { last, .. }, Got::Snapshot(zxid)) => whole(last == zxid),
        (Sent::Packet(Packet::Zab(message)), Got::Brief(brief)) => whole(match (message, brief) {
            (Message::Proposal { zxid: sent, .. }, Brief::Proposal(got))
            | (Message::Commit { zxid: sent }, Brief::Commit(got))
            | (Message::Inform { zxid: sent, .. }, Brief::Inform(got))
            | (Message::Ack { zxid: sent }, Brief::Ack(got)) => sent == got,
            _ => false,
        }),
        // What a learner forwards is recorded by its leader only.
        (Sent::Packet(Packet::Request(sent)), Got::Packet(Packet::Request(got))) => {
            whole(sent.session == got.session && sent.xid == got.xid && sent.identities == got.identities)
        }
        (Sent::Packet(sent), Got::Packet(got)) => whole(sent == got),
        _ => Fit::No,
    }
}

/// For a reader, without content.
pub(crate) fn tell_sent(sent: &Sent) -> String {
    match sent {
        Sent::Packet(packet) => tell(packet),
        Sent::Snapshot { last, .. } => format!("SNAP {last}"),
        Sent::Log { after, through } => format!("PROPOSAL or COMMIT behind {after} through {through}"),
    }
}

/// For a reader, without content.
pub(crate) fn tell_got(got: &Got) -> String {
    match got {
        Got::Packet(packet) => tell(packet),
        Got::Brief(Brief::Proposal(zxid)) => format!("PROPOSAL {zxid}"),
        Got::Brief(Brief::Commit(zxid)) => format!("COMMIT {zxid}"),
        Got::Brief(Brief::Ack(zxid)) => format!("ACK {zxid}"),
        Got::Brief(Brief::Inform(zxid)) => format!("INFORM {zxid}"),
        Got::Snapshot(zxid) => format!("SNAP {zxid}"),
    }
}

/// A packet for a reader, without content.
pub(crate) fn tell(packet: &Packet<Tree>) -> String {
    match packet {
        Packet::Zab(Message::Proposal { zxid, .. }) => format!("PROPOSAL {zxid}"),
        Packet::Zab(Message::Commit { zxid }) => format!("COMMIT {zxid}"),
        Packet::Zab(Message::Inform { zxid, .. }) => format!("INFORM {zxid}"),
        Packet::Zab(Message::Ack { zxid }) => format!("ACK {zxid}"),
        Packet::Zab(message) => format!("{message:?}"),
        Packet::Request(request) => format!("REQUEST {} of session {}", request.xid, request.session),
        Packet::Ping { .. } | Packet::Sync | Packet::Revalidate { .. } | Packet::Revalidated { .. } => {
            format!("{packet:?}")
        }
    }
}
