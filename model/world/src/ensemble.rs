//! Whole servers with the connections between them and the record of their run: what a script plays on.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
};

use protocol::{Message, Role, zab::Input};
use spec::{
    ServerId,
    history::{History, Record, ServerView},
    rule::{self, Check, Verdict},
};

use crate::{
    Event, Fault, Frame, GhostChange, Link, LinkChange, NetChange, Server, Settings, Side, Step, Txn, text,
};

/// The servers of a run, as they stand.
#[derive(Clone, Debug)]
pub struct Ensemble {
    settings: Settings,
    servers: Vec<Server>,
    /// By learner and leader.
    links: BTreeMap<(ServerId, ServerId), Link>,
    record: Record,
    /// The last transaction that was proposed.
    txn: Txn,
    /// What has happened in the step under way, for a reader.
    story: Vec<String>,
}

/// Why a step was not taken; what it was about to change is as it was.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Halt {
    /// It cannot happen here.
    Impossible(String),
    /// It breaks a rule by itself, whatever the others hold.
    Failed(Fault),
    /// It leads to a run that breaks a rule about histories.
    Broken(Fault),
}

impl Ensemble {
    /// Servers that have started for the first time.
    ///
    /// # Errors
    /// The rule that a start breaks.
    pub fn new(settings: Settings) -> Result<Self, Fault> {
        let ids: Vec<_> = settings.servers().collect();
        let servers: Vec<_> = ids.iter().map(|id| Server::new(*id, &settings)).collect::<Result<_, _>>()?;
        let pairs = ids.iter().flat_map(|learner| ids.iter().map(move |leader| (*learner, *leader)));
        let links =
            pairs.filter(|(learner, leader)| learner != leader).map(|pair| (pair, Link::default())).collect();
        Ok(Self { settings, servers, links, record: Record::default(), txn: 0, story: Vec::new() })
    }

    /// The servers, in the order of ids.
    pub fn all(&self) -> &[Server] {
        &self.servers
    }

    /// This server, if there is one of that name.
    pub fn server(&self, id: ServerId) -> Option<&Server> {
        self.servers.iter().find(|server| server.id == id)
    }

    /// The connection of a learner to a leader, if there are servers of these names.
    pub fn link(&self, learner: ServerId, leader: ServerId) -> Option<&Link> {
        self.links.get(&(learner, leader))
    }

    /// Whether everything can go on without an election, a timer or a client: the next such step.
    pub fn next_calm(&self, among: &BTreeSet<ServerId>) -> impl Iterator<Item = Step> + '_ {
        let among = among.clone();
        let finishing = self.servers.iter().filter_map(|server| {
            let ticket = server.disk().may_finish().first().copied()?;
            Some(Step::Finish { server: server.id, ticket })
        });
        let moving = self.links.iter().flat_map(|((learner, leader), link)| {
            let (learner, leader) = (*learner, *leader);
            let mut steps = Vec::new();
            if link.is_dialling() && self.server(leader).is_some_and(is_leading) {
                steps.push(Step::Connect { learner, leader });
            }
            for at in [Side::Learner, Side::Leader] {
                if link.next(at).is_some() {
                    steps.push(Step::Read { learner, leader, at });
                } else if link.is_cut(at) {
                    steps.push(Step::Notice { learner, leader, at });
                }
            }
            steps
        });
        finishing.chain(moving).filter(move |step| step.servers().iter().all(|id| among.contains(id)))
    }

    /// Takes a step and judges the run as it stands then; tells what happened, a line each.
    ///
    /// # Errors
    /// The step is impossible, or breaks a rule; nothing has changed then.
    pub fn take(&mut self, step: &Step) -> Result<Vec<String>, Halt> {
        let mut after = self.clone();
        // A panic leaves the copy half changed, and it is thrown away.
        let taken = catch_unwind(AssertUnwindSafe(|| after.carry_out(step)));
        taken.unwrap_or_else(|panic| {
            let why = text::of_panic(panic.as_ref());
            Err(Halt::Failed(Fault { rule: "panic".to_owned(), why }))
        })?;
        let story = std::mem::take(&mut after.story);
        *self = after;
        Ok(story)
    }

    fn carry_out(&mut self, step: &Step) -> Result<(), Halt> {
        if let Some(stranger) = step.servers().into_iter().find(|id| self.server(*id).is_none()) {
            return Err(Halt::Impossible(format!("there is no server {stranger}")));
        }
        if !self.is_possible(step) {
            return Err(Halt::Impossible(format!("{step}: that cannot happen here")));
        }
        match step {
            Step::Decide { server, leader } => {
                self.event(*server, Event::Input(Input::Elected(*leader)))?;
            }
            Step::Elect { leader, followers } => self.elect(*leader, followers)?,
            Step::Join { learner, leader } => self.elect_among(&[*learner], *leader)?,
            Step::Connect { learner, leader } => self.connect(*learner, *leader)?,
            Step::Reach { learner, leader } => {
                self.event(*learner, Event::Input(Input::Elected(*leader)))?;
                self.connect(*learner, *leader)?;
            }
            Step::Read { learner, leader, at } => self.read(*learner, *leader, *at)?,
            Step::Notice { learner, leader, at } => {
                self.change_link(*learner, *leader, &LinkChange::Close(*at));
                let (who, other) = ends(*learner, *leader, *at);
                self.event(who, Event::Input(Input::Disconnected(other)))?;
            }
            Step::Break { learner, leader } => {
                self.change_link(*learner, *leader, &LinkChange::Break);
            }
            Step::Timeout { server, timer } => {
                self.event(*server, Event::Timer(*timer))?;
            }
            Step::Finish { server, ticket } => {
                self.event(*server, Event::Disk(*ticket))?;
            }
            Step::Propose { server } => {
                let txn = self.txn + 1;
                if self.event(*server, Event::Input(Input::Propose(txn)))? {
                    self.txn = txn;
                }
            }
            Step::Crash { server, keep } => {
                let others: Vec<_> = self.settings.servers().filter(|id| id != server).collect();
                for other in others {
                    while let Some((learner, leader, side)) = self.open_end(*server, other) {
                        self.change_link(learner, leader, &LinkChange::Close(side));
                    }
                }
                self.event(*server, Event::Crash(*keep))?;
            }
        }
        Ok(())
    }

    fn is_possible(&self, step: &Step) -> bool {
        let server = |id: &ServerId| self.server(*id);
        let link = |learner: &ServerId, leader: &ServerId| self.link(*learner, *leader);
        match step {
            Step::Decide { server: id, .. }
            | Step::Join { learner: id, .. }
            | Step::Reach { learner: id, .. } => server(id).is_some_and(Server::is_looking),
            Step::Elect { leader, followers } => {
                followers.iter().chain([leader]).all(|id| server(id).is_some_and(Server::is_looking))
            }
            Step::Connect { learner, leader } => link(learner, leader).is_some_and(Link::is_dialling),
            Step::Read { learner, leader, at } => {
                link(learner, leader).is_some_and(|link| link.next(*at).is_some())
            }
            Step::Notice { learner, leader, at } => {
                link(learner, leader).is_some_and(|link| link.is_cut(*at))
            }
            Step::Break { learner, leader } => link(learner, leader).is_some_and(Link::is_joined),
            Step::Timeout { server: id, timer } => {
                server(id).is_some_and(|server| server.timers().any(|set| set == *timer))
            }
            Step::Finish { server: id, ticket } => {
                server(id).is_some_and(|server| server.disk().may_finish().contains(ticket))
            }
            Step::Propose { server: id } => {
                server(id).is_some_and(|server| is_leading(server) && server.zab().is_serving())
            }
            Step::Crash { .. } => true,
        }
    }

    /// Something happens to a server, and what follows from it at once; returns whether a transaction was logged.
    fn event(&mut self, id: ServerId, event: Event) -> Result<bool, Halt> {
        let place = self.servers.iter().position(|server| server.id == id);
        let server = &mut self.servers[place.expect("a step names servers of the ensemble")];
        let told = server.story(&self.settings, &event);
        self.story.extend(told.into_iter().map(|line| format!("server {id} {line}")));
        let outcome = server.step(&self.settings, &event).map_err(Halt::Failed)?;
        for change in outcome.net {
            self.net(id, change)?;
        }
        for change in outcome.ghost {
            self.note(change);
        }
        if let Some(views) = &outcome.forgets {
            self.judge_forgetting(&views.0, &views.1)?;
        }
        self.judge()?;
        Ok(outcome.appended)
    }

    fn net(&mut self, from: ServerId, change: NetChange) -> Result<(), Halt> {
        match change {
            NetChange::Send(to, frame) => {
                let Some((learner, leader, side)) = self.open_end(from, to) else {
                    let why = format!("server {from} sends to {to} without a link");
                    return Err(Halt::Failed(Fault { rule: "world".to_owned(), why }));
                };
                self.change_link(learner, leader, &LinkChange::Send(side, frame));
            }
            NetChange::Dial(to) => {
                self.change_link(from, to, &LinkChange::Dial);
            }
            NetChange::Close(peer) => {
                if let Some((learner, leader, side)) = self.open_end(from, peer) {
                    self.change_link(learner, leader, &LinkChange::Close(side));
                }
            }
            NetChange::Refuse(learner) => {
                self.change_link(learner, from, &LinkChange::Close(Side::Leader));
            }
        }
        Ok(())
    }

    fn note(&mut self, change: GhostChange) {
        match change {
            GhostChange::Establish(epoch, leader, initial) => {
                let from = text::sequence(&initial);
                self.story.push(format!("epoch {epoch} is established under {leader} with {from}"));
                self.record.establish(epoch, leader, &initial);
            }
            GhostChange::Commit(leader, held) => {
                self.story.push(format!("committed, as leader {leader} holds: {}", text::sequence(&held)));
                self.record.commit(leader, &held);
            }
        }
    }

    /// The end that a server has of a connection with this peer. It is a learner of a peer, or its leader, not both.
    fn open_end(&self, of: ServerId, with: ServerId) -> Option<(ServerId, ServerId, Side)> {
        let dialled = &self.links[&(of, with)];
        if dialled.is_open(Side::Learner) || dialled.is_dialling() {
            return Some((of, with, Side::Learner));
        }
        self.links[&(with, of)].is_open(Side::Leader).then_some((with, of, Side::Leader))
    }

    fn change_link(&mut self, learner: ServerId, leader: ServerId, change: &LinkChange) -> Option<Frame> {
        let link = self.links.get_mut(&(learner, leader)).expect("a step names servers of the ensemble");
        link.change(change)
    }

    fn connect(&mut self, learner: ServerId, leader: ServerId) -> Result<(), Halt> {
        self.change_link(learner, leader, &LinkChange::Open);
        self.event(leader, Event::Input(Input::Accepted(learner)))?;
        self.event(learner, Event::Input(Input::Connected(leader))).map(drop)
    }

    fn read(&mut self, learner: ServerId, leader: ServerId, at: Side) -> Result<(), Halt> {
        let (reader, sender) = ends(learner, leader, at);
        if let Some(frame) = self.change_link(learner, leader, &LinkChange::Read(at)) {
            self.event(reader, Event::Frame(sender, frame))?;
        }
        Ok(())
    }

    fn elect(&mut self, leader: ServerId, followers: &[ServerId]) -> Result<(), Halt> {
        self.event(leader, Event::Input(Input::Elected(leader)))?;
        self.elect_among(followers, leader)
    }

    /// These follow that leader, and discovery runs to its end, in the order of the `zab` model's coarse tier.
    fn elect_among(&mut self, followers: &[ServerId], leader: ServerId) -> Result<(), Halt> {
        for follower in followers {
            self.event(*follower, Event::Input(Input::Elected(leader)))?;
        }
        for follower in followers {
            if self.links[&(*follower, leader)].is_dialling() {
                self.connect(*follower, leader)?;
            }
        }
        let leads = |run: &Self| run.server(leader).is_some_and(Server::leads);
        loop {
            let mut moved = !leads(self) && self.finish_one(leader)?;
            for follower in followers {
                moved |= self.finish_one(*follower)?;
                moved |= self.discover(*follower, leader)?;
            }
            if !moved {
                return Ok(());
            }
        }
    }

    fn finish_one(&mut self, id: ServerId) -> Result<bool, Halt> {
        let first = self.server(id).and_then(|server| server.disk().may_finish().first().copied());
        first.map_or(Ok(false), |ticket| self.event(id, Event::Disk(ticket)).map(|_| true))
    }

    /// Delivers a packet of discovery, if that is what is next.
    fn discover(&mut self, learner: ServerId, leader: ServerId) -> Result<bool, Halt> {
        let link = &self.links[&(learner, leader)];
        let at = if link.next(Side::Leader).is_some() {
            Side::Leader
        } else if let Some(Frame::Packet(Message::LeaderInfo { .. })) = link.next(Side::Learner) {
            Side::Learner
        } else {
            return Ok(false);
        };
        self.read(learner, leader, at).map(|()| true)
    }

    fn rules(&self) -> impl Iterator<Item = &'static rule::Rule> + use<> {
        let all = self.settings.local_rules;
        rule::all().filter(move |rule| all || rule.is_about_histories())
    }

    fn judge(&self) -> Result<(), Halt> {
        match self.rules().find(|rule| rule.judge(self) == Verdict::Broken) {
            None => Ok(()),
            Some(rule) => {
                let servers: Vec<_> = self.servers.iter().map(ToString::to_string).collect();
                let why = format!(
                    "{}; but committed is {}, and {}",
                    rule.statement,
                    text::sequence(self.record.committed()),
                    servers.join(" | ")
                );
                Err(Halt::Broken(Fault { rule: rule.id.to_owned(), why }))
            }
        }
    }

    /// The rules about steps that need the record, asked of a step that loses something durable.
    fn judge_forgetting(&self, before: &ServerView, after: &ServerView) -> Result<(), Halt> {
        let broken = |rule: &&rule::Rule| match rule.check {
            Check::Step(check) => check(before, after, &self.record) == Verdict::Broken,
            Check::Server(_)
            | Check::Pair(_)
            | Check::ServerAndRecord(_)
            | Check::Record(_)
            | Check::Quorum(_)
            | Check::Claim(_)
            | Check::Breach(_)
            | Check::Clients => false,
        };
        self.rules().find(broken).map_or(Ok(()), |rule| {
            let (had, has) = (text::sequence(&before.durable), text::sequence(&after.durable));
            let why = format!("{}; but server {} had {had} and has {has}", rule.statement, before.id);
            Err(Halt::Broken(Fault { rule: rule.id.to_owned(), why }))
        })
    }
}

impl History for Ensemble {
    fn servers(&self) -> Vec<ServerView> {
        self.servers.iter().map(Server::view).collect()
    }

    fn record(&self) -> &Record {
        &self.record
    }

    fn decides(&self, servers: &BTreeSet<ServerId>) -> bool {
        self.settings.quorum.decides(servers)
    }
}

fn is_leading(server: &Server) -> bool {
    matches!(server.zab().role(), Some((Role::Leading, _)))
}

/// Who is at this end, and who at the other.
fn ends(learner: ServerId, leader: ServerId, at: Side) -> (ServerId, ServerId) {
    match at {
        Side::Learner => (learner, leader),
        Side::Leader => (leader, learner),
    }
}
