//! How transitions are carried out: what happens to one part, and what that asks of others.

use protocol::{Note, Timer, Vote, peer::Input};
use spec::{ServerId, Zxid, recovery::joined, rule::Verdict, session::shown_is_logged};
use world::{Happened, Host, HostEvent, Link, LinkChange, Side, Step};

use super::{
    Action, Board, Broken, Budget, Change, Client, ClientChange, Heard, MeshChange, Part, Peer, Record,
    RecordChange, Spend, Subject, Yield, client, host, link, mesh,
};
use crate::engine::plain::Plain;

impl Peer {
    /// Servers that have started on empty disks. With disks that take their time, none has a vote yet.
    pub(super) fn cold(&self) -> Vec<Part> {
        let mut all = Vec::new();
        let mut parts: Vec<_> = self
            .servers
            .iter()
            .map(|id| {
                let start = Host::new(self.bounds.config(*id), self.bounds.pace(), Subject::default());
                let (mut host, happened) = start.expect("an empty disk is a good start");
                if !self.bounds.local_rules {
                    host.without_local_rules();
                }
                all.push(happened);
                Part::Host(Box::new(host))
            })
            .collect();
        parts.extend((parts.len()..self.places().end()).map(|_| Part::Link(Link::default())));
        parts.extend((parts.len()..self.client_slot()).map(|_| Part::Mesh(super::Mesh::default())));
        parts.push(Part::Client(Client::default()));
        parts.push(Part::Record(Box::<Record>::default()));
        parts.push(Part::Budget(Budget::default()));
        let mut state = Plain::of(parts);
        state
            .with_board(self, |board| {
                all.iter().enumerate().try_for_each(|(slot, happened)| self.follow(board, slot, happened))
            })
            .expect("a start breaks no rule");
        state.parts
    }

    pub(super) fn carry_out<B: Board<Self>>(&self, board: &mut B, action: &Action) -> Result<(), Broken> {
        match action {
            Action::World(step) => self.step(board, step),
            Action::Deliver { from, to } => {
                let slot = self.mesh_slot(*from, *to);
                let notification = mesh(board.part(slot)).message.expect("something is under way");
                board.change(slot, Change::Mesh(MeshChange::Clear))?;
                self.input(board, *to, Input::Notification { from: *from, notification })
            }
            Action::Hear { at, of } => {
                board.change(self.mesh_slot(*of, *at), Change::Mesh(MeshChange::Heard))?;
                self.input(board, *at, Input::ElectionLinkDown(*of))
            }
            Action::Reset { at, of } => {
                self.spend(board, Spend::Break)?;
                board.change(self.mesh_slot(*of, *at), Change::Mesh(MeshChange::Reset)).map(drop)
            }
            Action::Join { server } => self.send(board, ClientChange::Join(*server, false)),
            Action::Visit { server } => self.send(board, ClientChange::Join(*server, true)),
            Action::Ask => self.send(board, ClientChange::Ask),
            Action::Look => self.send(board, ClientChange::Look),
            Action::Leave => {
                let home = client(board.part(self.client_slot())).home.expect("it has a connection");
                self.to_client(board, ClientChange::Lose)?;
                self.input(board, home.server, Input::ClientClosed(home.id))
            }
        }
    }

    fn step<B: Board<Self>>(&self, board: &mut B, step: &Step) -> Result<(), Broken> {
        match step {
            Step::Connect { learner, leader } => {
                board.change(self.link_slot(*learner, *leader), Change::Link(LinkChange::Open))?;
                self.input(board, *leader, Input::Accepted(*learner))?;
                self.input(board, *learner, Input::Connected(*leader))
            }
            Step::Read { learner, leader, at } => self.read(board, *learner, *leader, *at),
            Step::Notice { learner, leader, at } => {
                let (who, other) = ends(*learner, *leader, *at);
                let place = self.link_slot(*learner, *leader);
                board.change(place, Change::Link(LinkChange::Close(*at)))?;
                self.input(board, who, Input::Disconnected(other))
            }
            Step::Break { learner, leader } => {
                self.spend(board, Spend::Break)?;
                let place = self.link_slot(*learner, *leader);
                board.change(place, Change::Link(LinkChange::Break)).map(drop)
            }
            Step::Timeout { server, timer } => {
                match timer {
                    Timer::Finalize => {}
                    Timer::Resend => self.spend(board, Spend::Resend)?,
                    Timer::Ping => self.spend(board, Spend::Ping)?,
                    Timer::Expiry => self.spend(board, Spend::Tick)?,
                    Timer::ReadOnly => self.spend(board, Spend::Retreat)?,
                    Timer::Sweep | Timer::SweepNext => unreachable!("leaders of this model sweep nothing"),
                    Timer::Establish | Timer::Handshake(_) | Timer::Silence(_) => {
                        self.spend(board, Spend::Timeout)?;
                    }
                }
                self.event(board, *server, HostEvent::Timer(*timer))
            }
            Step::Finish { server, ticket } => self.event(board, *server, HostEvent::Disk(*ticket)),
            Step::Crash { server, keep } => {
                self.spend(board, Spend::Crash)?;
                self.lose_all(board, *server)?;
                self.event(board, *server, HostEvent::Crash(*keep))
            }
            Step::Decide { .. }
            | Step::Elect { .. }
            | Step::Join { .. }
            | Step::Reach { .. }
            | Step::Propose { .. } => unreachable!("nothing is decided by an oracle"),
        }
    }

    fn read<B: Board<Self>>(
        &self,
        board: &mut B,
        learner: ServerId,
        leader: ServerId,
        at: Side,
    ) -> Result<(), Broken> {
        let (reader, sender) = ends(learner, leader, at);
        let yields = board.change(self.link_slot(learner, leader), Change::Link(LinkChange::Read(at)))?;
        let Yield::Frame(Some(frame)) = &*yields else { unreachable!("there is something to read") };
        self.event(board, reader, HostEvent::Read(sender, frame.clone()))
    }

    /// The links, election links and connections of a process end with it. What it has sent may still arrive.
    fn lose_all<B: Board<Self>>(&self, board: &mut B, server: ServerId) -> Result<(), Broken> {
        let slot = self.slot_of(server);
        for other in self.servers.iter().filter(|other| **other != server) {
            while let Some((place, side)) =
                self.places().open_end(slot, self.slot_of(*other), |place| link(board.part(place)))
            {
                board.change(place, Change::Link(LinkChange::Close(side)))?;
            }
            let (out, into) = (self.mesh_slot(server, *other), self.mesh_slot(*other, server));
            board.change(out, Change::Mesh(MeshChange::Reset))?;
            board.change(into, Change::Mesh(MeshChange::Clear))?;
            board.change(into, Change::Mesh(MeshChange::Heard))?;
        }
        if client(board.part(self.client_slot())).home.is_some_and(|home| home.server == server) {
            self.to_client(board, ClientChange::Lose)?;
        }
        Ok(())
    }

    fn input<B: Board<Self>>(
        &self,
        board: &mut B,
        server: ServerId,
        input: Input<Subject>,
    ) -> Result<(), Broken> {
        self.event(board, server, HostEvent::Input(input))
    }

    fn event<B: Board<Self>>(
        &self,
        board: &mut B,
        server: ServerId,
        event: HostEvent<Subject>,
    ) -> Result<(), Broken> {
        let slot = self.slot_of(server);
        let yields = board.change(slot, Change::Host(event))?;
        let Yield::Host(happened) = &*yields else { unreachable!("a server's change yields what happened") };
        self.follow(board, slot, happened)
    }

    /// Carries out what a server asks for, and takes down what happened. What is committed stands before what is
    /// told of it.
    fn follow<B: Board<Self>>(
        &self,
        board: &mut B,
        slot: usize,
        happened: &Happened<Subject>,
    ) -> Result<(), Broken> {
        let me = self.servers[slot];
        board.witness(self.rules.met(&happened.sights, &happened.tested) | self.noted(&happened.notes));
        for change in &happened.ghost {
            self.note(board, RecordChange::Ghost(change.clone()))?;
        }
        if let Some(held) = &happened.committed {
            self.note(board, RecordChange::Commit(held.clone()))?;
        }
        if let Some(views) = &happened.forgets {
            let record = super::record(board.part(self.record_slot()));
            let tested = self.rules.forgetting(&views.0, &views.1, &record.history)?;
            board.witness(tested);
        }
        self.count_looks(board, slot, &happened.notes)?;
        for (to, said) in &happened.votes {
            board.change(self.mesh_slot(me, *to), Change::Mesh(MeshChange::Send(*said)))?;
        }
        for wish in &happened.net {
            let routed = self.places().route(slot, wish, |place| link(board.part(place)));
            if let Some((place, change)) = routed.map_err(|why| Broken::new("world", why))? {
                board.change(place, Change::Link(change))?;
            }
        }
        for (id, said) in &happened.told {
            self.to_client(board, ClientChange::Hear(*id, said.clone()))?;
        }
        Ok(())
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a note that is no situation is only told")]
    fn noted(&self, notes: &[Note]) -> u64 {
        let named = |note: &Note| match note {
            Note::InVain { .. } => self.rules.bit("given-up-in-vain"),
            Note::SessionExpired { .. } => self.rules.bit("expired"),
            _ => 0,
        };
        notes.iter().map(named).fold(0, |bits, bit| bits | bit)
    }

    fn count_looks<B: Board<Self>>(&self, board: &mut B, slot: usize, notes: &[Note]) -> Result<(), Broken> {
        let looks = notes.iter().filter(|note| matches!(note, Note::Looking { .. })).count();
        if looks == 0 {
            return Ok(());
        }
        self.offer(board, slot)?;
        let looks = u8::try_from(looks).expect("a step is short");
        self.spend(board, Spend::Looks(looks))?;
        let used = super::budget(board.part(self.budget_slot())).looks;
        if usize::from(used) > self.servers.len() {
            board.witness(self.rules.bit("second-election"));
        }
        Ok(())
    }

    /// What a server that comes to look for a leader has to offer: what is on its disk.
    fn offer<B: Board<Self>>(&self, board: &mut B, slot: usize) -> Result<(), Broken> {
        let server = host(board.part(slot)).view_of_order().expect("its state remembers");
        let zxid = server.durable.last().map_or(Zxid::ZERO, |entry| entry.zxid);
        let vote = Vote { epoch: joined(&server), zxid: Some(zxid), leader: server.id };
        if super::record(board.part(self.record_slot())).offered.contains(&vote) {
            return Ok(());
        }
        self.note(board, RecordChange::Offer(vote))
    }

    fn note<B: Board<Self>>(&self, board: &mut B, change: RecordChange) -> Result<(), Broken> {
        let yields = board.change(self.record_slot(), Change::Record(change))?;
        if let Yield::Noted(noted) = &*yields {
            noted.tested.iter().for_each(|rule| board.witness(self.rules.bit(rule)));
        }
        Ok(())
    }

    fn spend<B: Board<Self>>(&self, board: &mut B, spend: Spend) -> Result<(), Broken> {
        board.change(self.budget_slot(), Change::Budget(spend)).map(drop)
    }

    /// The client sends something, and its server reads it.
    fn send<B: Board<Self>>(&self, board: &mut B, change: ClientChange) -> Result<(), Broken> {
        let yields = board.change(self.client_slot(), Change::Client(change))?;
        let Yield::Client(heard) = &*yields else { unreachable!("a client's change yields what it heard") };
        let home = client(board.part(self.client_slot())).home.expect("it has a connection");
        let letter = heard.letter.clone().expect("it has sent something");
        self.input(board, home.server, letter)
    }

    fn to_client<B: Board<Self>>(&self, board: &mut B, change: ClientChange) -> Result<(), Broken> {
        let home = client(board.part(self.client_slot())).home;
        let yields = board.change(self.client_slot(), Change::Client(change))?;
        let Yield::Client(heard) = &*yields else { unreachable!("a client's change yields what it heard") };
        let met = |met: bool, name: &str| if met { self.rules.bit(name) } else { 0 };
        board.witness(
            met(heard.opened.is_some(), "session-opened")
                | met(heard.moved, "session-moved")
                | met(heard.refused, "session-refused")
                | met(heard.shown.is_some(), "S-7"),
        );
        if let Some(home) = home
            && self.bounds.retreats > 0
        {
            self.judge_read_only(board, home.server, heard)?;
        }
        if let Some(zxid) = heard.shown {
            self.note(board, RecordChange::Show(zxid))?;
        }
        if let Some((session, xid, zxid)) = heard.done {
            self.note(board, RecordChange::Acknowledge(session, xid, zxid))?;
            let leads = home.is_some_and(|home| host(board.part(self.slot_of(home.server))).leads());
            board.witness(met(true, "acknowledged") | met(!leads, "acknowledged-at-a-follower"));
        }
        Ok(())
    }

    /// C-19 and S-17, of something that a client is told by a server: such sessions are opened, and answered, by servers
    /// without a leader alone; what these show is what they have logged; and they refuse nobody's session but theirs.
    fn judge_read_only<B: Board<Self>>(
        &self,
        board: &mut B,
        server: ServerId,
        heard: &Heard,
    ) -> Result<(), Broken> {
        let teller = host(board.part(self.slot_of(server)));
        let (retired, leads_on) = (teller.peer().is_read_only(), teller.peer().zab().role().is_some());
        let fits = match heard.opened {
            Some(read_only) => read_only == retired,
            None => heard.shown_logged.is_none() || retired,
        };
        if !fits || heard.refused_living && retired {
            return Err(Broken::new(
                "C-19",
                format!("server {server}, read-only: {retired}, says {heard:?}"),
            ));
        }
        let mut met =
            vec![("read-only-opened", heard.opened == Some(true)), ("C-19", heard.opened.is_some())];
        met.push(("write-declined", heard.declined));
        met.push(("read-only-ended", heard.ended && leads_on));
        met.push(("session-turned-away", heard.turned_away && retired));
        if let Some(shown) = heard.shown_logged {
            let view = teller.view_of_order().expect("its state remembers");
            let durable = view.durable.last().map_or(Zxid::ZERO, |entry| entry.zxid);
            if shown_is_logged(shown, durable) == Verdict::Broken {
                let why = format!("server {server} shows {shown}, and {durable} is durable there");
                return Err(Broken::new("S-17", why));
            }
            let record = super::record(board.part(self.record_slot()));
            let committed = record.history.committed().iter().any(|entry| entry.zxid == shown);
            met.push(("S-17", shown != Zxid::ZERO));
            met.push(("shown-uncommitted", shown != Zxid::ZERO && !committed));
        }
        if let Some(seen) = heard.let_in {
            let view = teller.view_of_order().expect("its state remembers");
            let has_it = view.durable.iter().any(|entry| entry.zxid == seen);
            met.push(("let-in-behind-a-cut", seen != Zxid::ZERO && !has_it && !retired));
        }
        let bits = met.iter().filter(|(_, met)| *met).fold(0, |bits, (name, _)| bits | self.rules.bit(name));
        board.witness(bits);
        Ok(())
    }
}

/// Who is at this end of a connection, and who at the other.
fn ends(learner: ServerId, leader: ServerId, at: Side) -> (ServerId, ServerId) {
    match at {
        Side::Learner => (learner, leader),
        Side::Leader => (leader, learner),
    }
}
