//! What happens among the servers: frames, and elections with discovery and synchronisation as one transition.
//!
//! A transition decides nothing by itself: it breaks links, lets votes and dials through, and delivers frames until
//! all whom it is about serve, all of it by the real peers. What election, discovery and synchronisation do in other
//! orders is the matter of the `election` and `zab` models.

use std::collections::VecDeque;

use protocol::{
    Message, Note, Notification, Timer,
    peer::{ClientRequest, Input, Op, Packet, Request},
};
use spec::{Machine as _, ServerId, SessionId, Zxid, session::Forwarded};
use tree::Tree;
use world::{End, Happened, Host, HostEvent, Keep, Link, LinkChange, NetChange, Places, Side, Wire};

use super::{
    Change, Dialect, SERVERS, Session, Yield,
    client::ClientChange,
    parts::{client, host, link, record},
    record::RecordChange,
    rules::Judged,
};
use crate::engine::{Board, Broken};

/// A transition among servers ends after so many events, or something is wrong.
const EVENTS_MAX: usize = 2000;

/// The slot of the follower that answers its leader at once.
pub(super) const PROMPT: usize = 0;

/// An election message under way.
type Vote = (ServerId, ServerId, Notification);

impl Session {
    pub(super) fn places(&self) -> Places {
        Places::of(self.servers.len())
    }

    fn slots(&self) -> impl Iterator<Item = usize> + use<> {
        0..self.servers.len()
    }

    /// Something happens to a server, and whatever it asks for is carried out; votes are handed back.
    pub(super) fn event<B: Board<Self>>(
        &self,
        board: &mut B,
        slot: usize,
        event: HostEvent<Tree>,
    ) -> Result<Vec<Vote>, Broken> {
        let me = self.servers[slot];
        if asks_for_a_write(&event) && has_open_close(host(board.part(slot))) {
            let mut judged = Judged::default();
            judged.met("write-behind-an-open-close");
            board.witness(judged.bits());
        }
        let yields = board.change(slot, Change::Host(event))?;
        let Yield::Host(happened) = &*yields else { unreachable!("a server's change yields what happened") };
        let Happened { net, votes, told, expired, committed, notes, .. } = &**happened;
        if notes.iter().any(|note| matches!(note, Note::OfAnotherConnection { .. })) {
            let mut judged = Judged::default();
            judged.met("answer-of-another-connection");
            board.witness(judged.bits());
        }
        if let Some(held) = committed {
            self.note(board, RecordChange::Commit(held.clone()))?;
        }
        if !expired.is_empty() {
            self.note(board, RecordChange::Expire(me, expired.clone()))?;
        }
        for wish in net {
            let wish = self.as_sent(board, me, wish)?;
            let routed = self.places().route(slot, &wish, |place| link(board.part(place)));
            if let Some((place, change)) = routed.map_err(|why| Broken::new("world", why))? {
                board.change(place, Change::Link(change))?;
            }
        }
        for (client, said) in told {
            self.tell(board, *client, said)?;
        }
        Ok(votes.iter().map(|(to, vote)| (me, *to, *vote)).collect())
    }

    /// What a server puts on a link. If it is the one without extensions, it says nothing of them, and the record keeps
    /// in which order it forwards.
    fn as_sent<B: Board<Self>>(
        &self,
        board: &mut B,
        me: ServerId,
        wish: &NetChange<Wire<Tree>>,
    ) -> Result<NetChange<Wire<Tree>>, Broken> {
        let mut sent = wish.clone();
        let NetChange::Send(_, Wire::Packet(packet)) = &mut sent else { return Ok(sent) };
        if !self.is_plain(me) {
            return Ok(sent);
        }
        match packet {
            Packet::Zab(Message::FollowerInfo { extended, .. } | Message::ObserverInfo { extended, .. }) => {
                *extended = false;
                self.note(board, RecordChange::Introduce)?;
            }
            Packet::Zab(Message::AckEpoch { floor, .. }) => *floor = Zxid::ZERO,
            Packet::Request(Request { op: Op::Sync, .. }) => {
                self.note(board, RecordChange::Forward(Forwarded::Sync))?;
            }
            Packet::Request(Request { session, xid, .. }) => {
                let forwarded = Forwarded::Request { session: *session, xid: *xid };
                self.note(board, RecordChange::Forward(forwarded))?;
            }
            Packet::Zab(_)
            | Packet::Ping { .. }
            | Packet::Sync
            | Packet::Revalidate { .. }
            | Packet::Revalidated { .. } => {}
        }
        Ok(sent)
    }

    /// Whether this server is the one that does not say that it knows our extensions.
    pub(super) fn is_plain(&self, server: ServerId) -> bool {
        self.bounds.dialect == Dialect::Apache && server == ServerId(SERVERS - 1)
    }

    /// One end of a connection reads a frame.
    fn read_one<B: Board<Self>>(&self, board: &mut B, place: usize, at: Side) -> Result<Vec<Vote>, Broken> {
        let (learner, leader) = self.places().ends(place);
        let (reader, sender) = match at {
            Side::Learner => (learner, leader),
            Side::Leader => (leader, learner),
        };
        let yields = board.change(place, Change::Link(LinkChange::Read(at)))?;
        let Yield::Frame(Some(frame)) = &*yields else { unreachable!("there is something to read") };
        let sessions = heard_of(frame);
        if at == Side::Leader && !sessions.is_empty() {
            self.note(board, RecordChange::Hear(self.servers[reader], sessions))?;
        }
        if at == Side::Learner && self.is_plain(self.servers[reader]) {
            match frame {
                Wire::Packet(Packet::Sync) => self.note(board, RecordChange::Synced)?,
                Wire::Packet(Packet::Zab(Message::Commit { zxid } | Message::Inform { zxid, .. })) => {
                    self.note(board, RecordChange::Committed(*zxid))?;
                }
                Wire::Packet(_) | Wire::Snapshot { .. } => {}
            }
        }
        self.event(board, reader, HostEvent::Read(self.servers[sender], frame.clone()))
    }

    /// One end reads the next frame. A follower reads the proposals before it as well, unless its leader needs its word
    /// for a commit: nobody sees what a follower has logged and not applied.
    pub(super) fn read<B: Board<Self>>(&self, board: &mut B, place: usize, at: Side) -> Result<(), Broken> {
        let leader = self.places().ends(place).1;
        if !self.bounds.merged {
            return self.read_one(board, place, at).map(drop);
        }
        while at == Side::Learner && leader != PROMPT && is_proposal(link(board.part(place)).next(at)) {
            self.read_one(board, place, at)?;
        }
        self.read_one(board, place, at)?;
        self.absorb(board, place)
    }

    /// Whether a follower has something to read that is worth a transition.
    pub(super) fn is_worth_reading(&self, place: usize, link: &Link<Wire<Tree>>) -> bool {
        let (learner, leader) = self.places().ends(place);
        if !self.bounds.merged {
            return link.next(Side::Learner).is_some();
        }
        if learner == PROMPT {
            return false;
        }
        match link.end(Side::Learner) {
            End::Open(inbox) if leader == PROMPT => !inbox.is_empty(),
            End::Open(inbox) => inbox.iter().any(|frame| !is_proposal(Some(frame))),
            End::Closed | End::Dialling => false,
        }
    }

    /// The leader reads acknowledgements of what is committed: they change nothing.
    fn absorb<B: Board<Self>>(&self, board: &mut B, place: usize) -> Result<(), Broken> {
        let leader = self.places().ends(place).1;
        loop {
            let Some(Wire::Packet(Packet::Zab(Message::Ack { zxid }))) =
                link(board.part(place)).next(Side::Leader)
            else {
                return Ok(());
            };
            let zab = host(board.part(leader)).peer().zab();
            if *zxid > zab.committed() || !zab.is_serving() {
                return Ok(());
            }
            self.read_one(board, place, Side::Leader)?;
        }
    }

    /// The prompt follower and its leader read all that they have for each other.
    pub(super) fn agree<B: Board<Self>>(&self, board: &mut B, leader: usize) -> Result<(), Broken> {
        let place = self.places().link(PROMPT, leader);
        self.read_all(board, place, Side::Learner)?;
        self.read_all(board, place, Side::Leader)?;
        for other in self.slots().filter(|other| *other != PROMPT && *other != leader) {
            self.absorb(board, self.places().link(other, leader))?;
        }
        Ok(())
    }

    fn read_all<B: Board<Self>>(&self, board: &mut B, place: usize, at: Side) -> Result<(), Broken> {
        while link(board.part(place)).next(at).is_some() {
            self.read_one(board, place, at)?;
        }
        Ok(())
    }

    /// Whether followers have something to log before their leader is lost.
    pub(super) fn may_log<B: Board<Self>>(
        &self,
        board: &B,
        leader: ServerId,
        [prompt, other]: [bool; 2],
    ) -> bool {
        let leader = self.places().server(leader);
        let next = |learner: usize| {
            (learner != leader)
                .then(|| link(board.part(self.places().link(learner, leader))).next(Side::Learner))?
        };
        let others = self.slots().filter(|slot| *slot != PROMPT);
        (!prompt || next(PROMPT).is_some()) && (!other || others.map(next).any(is_proposal))
    }

    /// A server loses its connection with another one, which need not know.
    fn lose<B: Board<Self>>(&self, board: &mut B, slot: usize, other: usize) -> Result<Vec<Vote>, Broken> {
        match self.places().open_end(slot, other, |place| link(board.part(place))) {
            Some((place, side)) => {
                board.change(place, Change::Link(LinkChange::Close(side)))?;
                self.event(board, slot, HostEvent::Input(Input::Disconnected(self.servers[other])))
            }
            None => Ok(Vec::new()),
        }
    }

    /// The slots of all servers but this one.
    pub(super) fn others(&self, server: ServerId) -> Vec<usize> {
        let slot = self.places().server(server);
        self.slots().filter(|other| *other != slot).collect()
    }

    /// The leader is deposed by those who leave it; it knows if its process has ended.
    pub(super) fn depose<B: Board<Self>>(
        &self,
        board: &mut B,
        leader: ServerId,
        leavers: &[usize],
        crash: bool,
        [prompt_logs, other_logs]: [bool; 2],
    ) -> Result<(), Broken> {
        let slot = self.places().server(leader);
        for other in leavers {
            let place = self.places().link(*other, slot);
            if *other == PROMPT && prompt_logs {
                self.read_all(board, place, Side::Learner)?;
            }
            while *other != PROMPT && other_logs && is_proposal(link(board.part(place)).next(Side::Learner)) {
                self.read_one(board, place, Side::Learner)?;
            }
        }
        let before = record(board.part(self.record_slot())).committed().len();
        if crash {
            self.crash(board, slot)?;
        }
        let mut votes = VecDeque::new();
        for other in leavers {
            votes.extend(self.lose(board, *other, slot)?);
        }
        self.bring_up(board, leavers, leavers, votes)?;
        if crash {
            self.rejoin(board, slot)?;
        }
        let mut judged = Judged::default();
        judged.met("leader-changed");
        if record(board.part(self.record_slot())).committed().len() > before {
            judged.met("open-write-survives");
        }
        board.witness(judged.bits());
        Ok(())
    }

    fn crash<B: Board<Self>>(&self, board: &mut B, slot: usize) -> Result<(), Broken> {
        for other in self.slots().filter(|other| *other != slot) {
            while let Some((place, side)) =
                self.places().open_end(slot, other, |place| link(board.part(place)))
            {
                board.change(place, Change::Link(LinkChange::Close(side)))?;
            }
        }
        for place in self.client_slots() {
            let gone: Vec<_> = client(board.part(place)).connections_to(self.servers[slot]).collect();
            for which in gone {
                board.change(place, Change::Client(ClientChange::Lose(which)))?;
            }
        }
        self.note(board, RecordChange::Reign(self.servers[slot]))?;
        // Its votes are lost with the election that it takes no part in.
        self.event(board, slot, HostEvent::Crash(Keep::default())).map(drop)
    }

    /// A leader notices that it is cut off from every other voter, and joins them again, and so does an observer that
    /// has stayed with it. That they do so at once hides nothing: one that is away for a while is, to clients, as one
    /// that nobody connects to, and that lags.
    pub(super) fn notice<B: Board<Self>>(&self, board: &mut B, slot: usize) -> Result<(), Broken> {
        let others = self.others(self.servers[slot]);
        let stays = |other: &usize| link(board.part(self.places().link(*other, slot))).is_joined();
        let stayed: Vec<_> = others.iter().copied().filter(stays).collect();
        for other in others {
            self.lose(board, slot, other)?;
        }
        self.note(board, RecordChange::Reign(self.servers[slot]))?;
        self.rejoin(board, slot)?;
        for other in stayed {
            self.lose(board, other, slot)?;
            self.rejoin(board, other)?;
        }
        Ok(())
    }

    /// A server that looks for a leader finds the one that there is.
    fn rejoin<B: Board<Self>>(&self, board: &mut B, slot: usize) -> Result<(), Broken> {
        let known = record(board.part(self.record_slot()));
        let vanishes = !known.holds(&self.start, host(board.part(slot)).state().last_processed());
        let votes = self.event(board, slot, HostEvent::Timer(Timer::Resend))?;
        let all: Vec<_> = self.slots().collect();
        self.bring_up(board, &[slot], &all, votes.into())?;
        if vanishes {
            let mut judged = Judged::default();
            judged.met("open-write-vanishes");
            board.witness(judged.bits());
        }
        Ok(())
    }

    /// Lets votes, dials and frames through among `present` until those of them serve that are `joining`.
    pub(super) fn bring_up<B: Board<Self>>(
        &self,
        board: &mut B,
        joining: &[usize],
        present: &[usize],
        mut votes: VecDeque<Vote>,
    ) -> Result<(), Broken> {
        for _ in 0..EVENTS_MAX {
            if let Some((from, to, notification)) = votes.pop_front() {
                let slot = self.places().server(to);
                if present.contains(&slot) {
                    let input = Input::Notification { from, notification };
                    votes.extend(self.event(board, slot, HostEvent::Input(input))?);
                }
                continue;
            }
            match self.next_step(board, joining, present) {
                Some(Step::Open(place)) => {
                    let (learner, leader) = self.places().ends(place);
                    board.change(place, Change::Link(LinkChange::Open))?;
                    let accepted = Input::Accepted(self.servers[learner]);
                    votes.extend(self.event(board, leader, HostEvent::Input(accepted))?);
                    let connected = Input::Connected(self.servers[leader]);
                    votes.extend(self.event(board, learner, HostEvent::Input(connected))?);
                }
                Some(Step::Read(place, at)) => votes.extend(self.read_one(board, place, at)?),
                Some(Step::Finalize(slot)) => {
                    votes.extend(self.event(board, slot, HostEvent::Timer(Timer::Finalize))?);
                }
                None => {
                    let serves = |slot: &usize| host(board.part(*slot)).peer().is_serving();
                    if joining.iter().all(serves) {
                        return Ok(());
                    }
                    break;
                }
            }
        }
        let states: Vec<_> = self.slots().map(|slot| host(board.part(slot)).to_string()).collect();
        Err(Broken::new("world", format!("servers do not come up: {}", states.join(" | "))))
    }

    fn next_step<B: Board<Self>>(&self, board: &B, joining: &[usize], present: &[usize]) -> Option<Step> {
        for learner in joining {
            for leader in present.iter().filter(|leader| *leader != learner) {
                let place = self.places().link(*learner, *leader);
                let found = link(board.part(place));
                if found.is_dialling() && host(board.part(*leader)).leads() {
                    return Some(Step::Open(place));
                }
                let open = [Side::Leader, Side::Learner].into_iter().find(|at| found.next(*at).is_some());
                if let Some(at) = open.filter(|_| found.is_joined()) {
                    return Some(Step::Read(place, at));
                }
            }
        }
        let waits = |slot: &&usize| host(board.part(**slot)).has_timer(Timer::Finalize);
        present.iter().find(waits).map(|slot| Step::Finalize(*slot))
    }
}

/// What comes next in an election.
enum Step {
    Open(usize),
    Read(usize, Side),
    Finalize(usize),
}

/// Whether a client asks for a write with this, at its server or through a learner.
fn asks_for_a_write(event: &HostEvent<Tree>) -> bool {
    matches!(
        event,
        HostEvent::Input(Input::ClientRequest { request: ClientRequest::Write(_), .. })
            | HostEvent::Read(_, Wire::Packet(Packet::Request(Request { op: Op::Write(_), .. })))
    )
}

/// Whether a leader has proposed to close a session that is still in its state.
fn has_open_close(leader: &Host<Tree>) -> bool {
    let lives = |session: SessionId| leader.peer().expiries().any(|(living, _)| living == session);
    leader.leads()
        && leader.peer().is_serving()
        && leader.state().sessions().into_iter().any(|(session, _)| !lives(session))
}

fn is_proposal(frame: Option<&Wire<Tree>>) -> bool {
    matches!(frame, Some(Wire::Packet(Packet::Zab(Message::Proposal { .. }))))
}

/// The sessions that a leader has heard of with this.
fn heard_of(frame: &Wire<Tree>) -> Vec<SessionId> {
    match frame {
        Wire::Packet(Packet::Ping { touched, .. }) => touched.iter().map(|(session, _)| *session).collect(),
        Wire::Packet(Packet::Revalidate { session, .. }) => vec![*session],
        Wire::Packet(Packet::Zab(_) | Packet::Request(_) | Packet::Sync | Packet::Revalidated { .. })
        | Wire::Snapshot { .. } => Vec::new(),
    }
}
