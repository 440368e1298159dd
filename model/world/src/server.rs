//! One server: its process, which a crash ends and a new one follows, and its disk, which outlives them.
//!
//! A crash and the restart behind it are one event: a server that has restarted and waits is, to all others, as quiet
//! as one that is down. A failed sync ends the process and is the same event.

use std::collections::BTreeSet;

use protocol::{
    Message, Quorum, Role, Ticket, Timer,
    zab::{self, Input, Zab},
};
use serde::{Deserialize, Serialize};
use spec::{
    Epoch, ServerId, Zxid,
    history::{Entry, ServerView},
};

use crate::{Disk, Finished, Frame, Keep, Start, State, Txn, entries, judge, sink::Sink, watch::Watcher};

/// When disk operations end.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum DiskPace {
    /// At once, in the same event.
    Eager,
    /// At once, but for searches of the log.
    Searching,
    /// Each by a step of its own.
    Lagging,
}

/// What is the same for every server of a run.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Who votes.
    pub quorum: Quorum,
    /// The servers without a vote, whose names are above those of the voters.
    pub observers: Vec<ServerId>,
    /// As in [`zab::Config`].
    pub window: usize,
    /// As in [`zab::Config`].
    pub log_sync: bool,
    /// As in [`zab::Config`].
    pub counter_max: u32,
    /// When disk operations end.
    pub disk: DiskPace,
    /// Whether to judge what servers say and find wrong, step by step; without, only whole histories are judged.
    pub local_rules: bool,
}

/// A server, up or about to be.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Server {
    /// Which.
    pub id: ServerId,
    pub(crate) process: Process,
    pub(crate) disk: Disk,
}

/// What a crash ends.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) zab: Zab<Txn>,
    pub(crate) state: State,
    pub(crate) timers: BTreeSet<Timer>,
    /// The start is not over: no vote was given yet.
    pub(crate) booting: bool,
    /// The follower read NEWLEADER with open proposals before it, and no COMMIT since.
    outstanding: bool,
    /// The follower has logged transactions of its synchronisation, and does not serve yet.
    behind: bool,
}

/// What happens to a server.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Event {
    /// An input that is not a frame, a timer or a finished disk operation.
    Input(Input<Txn>),
    /// A frame is read.
    Frame(ServerId, Frame),
    /// A timer fires.
    Timer(Timer),
    /// A disk operation ends.
    Disk(Ticket),
    /// The process ends, this is left of what it had not synced, and a new one starts.
    Crash(Keep),
}

/// What a server asks of the network.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum NetChange<F = Frame> {
    /// To put a frame on the link with this server.
    Send(ServerId, F),
    /// To dial.
    Dial(ServerId),
    /// To close the link, or give up dialling.
    Close(ServerId),
    /// To turn away a link that was just accepted.
    Refuse(ServerId),
}

/// What a step adds to the record of the run.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum GhostChange {
    /// A leader establishes an epoch with this history.
    Establish(Epoch, ServerId, Vec<Entry>),
    /// A leader holds this for committed.
    Commit(ServerId, Vec<Entry>),
}

/// A situation worth having met.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Sight {
    /// A DIFF that brings something.
    DiffWithContent,
    /// A TRUNC.
    Trunc,
    /// A SNAP.
    Snap,
    /// A DIFF whose older part is read from the log.
    DiffFromLog,
    /// An ACKEPOCH that does not count, for an epoch promised before.
    AckEpochAgain,
    /// A learner joins a leader that has open proposals.
    JoinerWithOutstanding,
    /// A follower takes the COMMIT of a proposal that was open when it joined, between NEWLEADER and UPTODATE.
    CommitWhileJoining,
    /// An observer serves, and is told what is decided.
    Informed,
    /// An observer is told what is decided between NEWLEADER and UPTODATE.
    InformWhileJoining,
    /// A follower serves that was brought up to date by transactions of the synchronisation.
    JoinedBehind,
    /// A truncation removes something.
    ForeignSuffixRemoved,
    /// A leader steps down, its counter used up.
    OverflowStepDown,
    /// A leader steps down, since a learner has dialled anew before the break of its link was noticed.
    StepDownForNewLink,
    /// A crash kept part of a torn batch: a record is kept behind which another one is lost.
    TornTailKept,
    /// A start recovered from what a crash had left unsynced.
    CrashImageRecovered,
    /// A search of the log ends whose answer is for nobody, while another one is under way.
    SearchOvertaken,
}

/// What a step does beside changing its server.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Outcome {
    /// For the network, in order.
    pub net: Vec<NetChange>,
    /// For the record, in order.
    pub ghost: Vec<GhostChange>,
    /// What was met.
    pub sights: BTreeSet<Sight>,
    /// Rules about steps and messages whose premise was given, by id.
    pub tested: BTreeSet<&'static str>,
    /// The server before and after, if something durable is gone: the rules about steps need to be asked with the
    /// record of the run.
    pub forgets: Option<Box<(ServerView, ServerView)>>,
    /// Whether a transaction was handed to the log.
    pub appended: bool,
}

/// A rule that a step breaks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// The rule's id.
    pub rule: String,
    /// What was found.
    pub why: String,
}

impl Settings {
    /// All servers, voters first.
    pub fn servers(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.quorum.voters().chain(self.observers.iter().copied())
    }
}

impl Server {
    /// A server that has started for the first time, and looks for a leader.
    ///
    /// # Errors
    /// The rule that its start breaks.
    pub fn new(id: ServerId, settings: &Settings) -> Result<Self, Fault> {
        let mut run = Run::new(settings, None);
        let mut disk = Disk::default();
        let process = run.start(id, &mut disk)?;
        let mut server = Self { id, process, disk };
        while let Some(ticket) = server.disk.may_finish().first().copied() {
            run.finish(&mut server, ticket)?;
        }
        Ok(server)
    }

    /// The same server under other names.
    #[must_use]
    pub fn renamed(&self, name: impl Fn(ServerId) -> ServerId) -> Self {
        let mut server = self.clone();
        server.id = name(server.id);
        server.process.timers = server.process.timers.iter().map(|t| renamed_timer(*t, &name)).collect();
        server.process.zab = server.process.zab.renamed(name);
        server
    }

    /// Whether it waits for an election to choose a leader.
    pub fn is_looking(&self) -> bool {
        self.process.zab.is_looking()
    }

    /// Its actor.
    pub fn zab(&self) -> &Zab<Txn> {
        &self.process.zab
    }

    /// The timers that run.
    pub fn timers(&self) -> impl Iterator<Item = Timer> + '_ {
        self.process.timers.iter().copied()
    }

    /// Its disk.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The state, in order.
    pub fn state(&self) -> &[(Zxid, Txn)] {
        &self.process.state
    }

    /// Whether it leads a quorum that has promised.
    pub fn leads(&self) -> bool {
        self.zab().is_past_discovery() && matches!(self.zab().role(), Some((Role::Leading, _)))
    }

    /// What happens to it.
    ///
    /// # Errors
    /// The rule that the step breaks.
    pub fn step(&mut self, settings: &Settings, event: &Event) -> Result<Outcome, Fault> {
        self.run(settings, event, None)
    }

    /// What an event does to it, for a reader.
    pub fn story(&self, settings: &Settings, event: &Event) -> Vec<String> {
        let mut story = Vec::new();
        // A step that breaks a rule is told up to there.
        let _ = self.clone().run(settings, event, Some(&mut story));
        story
    }

    fn run(
        &mut self,
        settings: &Settings,
        event: &Event,
        story: Option<&mut Vec<String>>,
    ) -> Result<Outcome, Fault> {
        let before = self.view();
        let mut run = Run::new(settings, story);
        match event {
            Event::Input(input) => run.input(self, input.clone())?,
            Event::Frame(from, frame) => run.frame(self, *from, frame)?,
            Event::Timer(timer) => {
                run.tell(|| format!("timer {timer:?} fires"));
                self.process.timers.remove(timer);
                run.input(self, Input::Timer(*timer))?;
            }
            Event::Disk(ticket) => run.finish(self, *ticket)?,
            Event::Crash(keep) => run.crash(self, *keep)?,
        }
        run.settle(self)?;
        run.judge_step(&before, &self.view())?;
        Ok(run.outcome)
    }
}

/// A timer under other names.
#[must_use]
pub fn renamed_timer(timer: Timer, name: &impl Fn(ServerId) -> ServerId) -> Timer {
    match timer {
        Timer::Handshake(peer) => Timer::Handshake(name(peer)),
        Timer::Silence(peer) => Timer::Silence(name(peer)),
        Timer::Establish
        | Timer::Ping
        | Timer::Expiry
        | Timer::Resend
        | Timer::Finalize
        | Timer::Sweep
        | Timer::SweepNext
        | Timer::ReadOnly => timer,
    }
}

/// One event being carried out.
struct Run<'a> {
    settings: &'a Settings,
    outcome: Outcome,
    story: Option<&'a mut Vec<String>>,
}

impl<'a> Run<'a> {
    fn new(settings: &'a Settings, story: Option<&'a mut Vec<String>>) -> Self {
        Self { settings, outcome: Outcome::default(), story }
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(line());
        }
    }

    /// Ends the operations that end at once, in the order of the calls.
    fn settle(&mut self, server: &mut Server) -> Result<(), Fault> {
        let ends = |disk: &Disk, ticket| match self.settings.disk {
            DiskPace::Eager => true,
            DiskPace::Searching => !disk.is_search(ticket),
            DiskPace::Lagging => false,
        };
        while let Some(ticket) = server.disk.may_finish().into_iter().find(|one| ends(&server.disk, *one)) {
            self.finish(server, ticket)?;
        }
        Ok(())
    }

    fn start(&mut self, id: ServerId, disk: &mut Disk) -> Result<Process, Fault> {
        let Start { recovered, state, cut } = disk.start(self.settings.window).map_err(refused)?;
        if cut {
            self.outcome.sights.insert(Sight::TornTailKept);
        }
        self.tell(|| {
            format!("starts, having read {state:?}, epochs {} and {}", recovered.accepted, recovered.current)
        });
        let config = self.config(id);
        let (mut state, mut timers) = (state, BTreeSet::new());
        let (net, sights) = (&mut self.outcome.net, &mut self.outcome.sights);
        let story = self.story.as_deref_mut();
        let mut sink = Sink::new(disk, &mut state, &mut timers, net, sights, story);
        let zab = Zab::boot(config, recovered, &mut sink);
        Ok(Process { zab, state, timers, booting: true, outstanding: false, behind: false })
    }

    fn config(&self, me: ServerId) -> zab::Config {
        zab::Config {
            me,
            quorum: self.settings.quorum.clone(),
            window: self.settings.window,
            log_sync: self.settings.log_sync,
            counter_max: self.settings.counter_max,
        }
    }

    fn frame(&mut self, server: &mut Server, from: ServerId, frame: &Frame) -> Result<(), Fault> {
        self.tell(|| format!("reads from {from}: {frame}"));
        match frame {
            Frame::Packet(message) => {
                if matches!(message, Message::NewLeader { .. }) {
                    server.process.outstanding = server.zab().queued() > 0;
                }
                self.input(server, Input::Message { from, message: message.clone() })?;
                if matches!(message, Message::Inform { .. }) {
                    self.sight_inform(server.zab());
                }
                let joining = server.zab().joined().is_some() && !server.zab().is_serving();
                if joining && server.process.outstanding && matches!(message, Message::Commit { .. }) {
                    self.outcome.sights.insert(Sight::CommitWhileJoining);
                    server.process.outstanding = false;
                }
                let (active, has_role) = (server.zab().is_serving(), server.zab().role().is_some());
                server.process.outstanding &= !active;
                if server.process.behind && active {
                    self.outcome.sights.insert(Sight::JoinedBehind);
                }
                // A follower that serves logs nothing of a synchronisation, and a leader was never behind.
                server.process.behind |= self.outcome.appended;
                server.process.behind &= has_role && !active;
                Ok(())
            }
            Frame::Snapshot { last, state } => {
                if server.zab().takes_snapshot(from, *last) {
                    server.process.state.clone_from(state);
                }
                self.input(server, Input::Snapshot { from, zxid: *last })
            }
        }
    }

    fn sight_inform(&mut self, zab: &Zab<Txn>) {
        let sight = match (zab.joined(), zab.is_serving()) {
            (Some(_), true) => Sight::Informed,
            (Some(_), false) => Sight::InformWhileJoining,
            (None, _) => return,
        };
        self.outcome.sights.insert(sight);
    }

    fn finish(&mut self, server: &mut Server, ticket: Ticket) -> Result<(), Fault> {
        let finished = server.disk.finish(ticket);
        self.tell(|| match finished {
            Finished::Durable => format!("ticket {} is durable", ticket.0),
            Finished::Located(at) => format!("search {} finds {at:?}", ticket.0),
        });
        let input = match finished {
            Finished::Durable => Input::Done(ticket),
            Finished::Located(at) => Input::Located { ticket, at },
        };
        self.input(server, input)
    }

    fn crash(&mut self, server: &mut Server, keep: Keep) -> Result<(), Fault> {
        let lost = server.disk.logged().len();
        server.disk.crash(keep);
        self.tell(|| format!("crashes, keeping {keep}"));
        server.process = self.start(server.id, &mut server.disk)?;
        if server.process.state.len() < lost || !server.disk.is_synced() {
            self.outcome.sights.insert(Sight::CrashImageRecovered);
        }
        Ok(())
    }

    /// One input of the actor, and what it asks for; judged by the rules about messages.
    fn input(&mut self, server: &mut Server, input: Input<Txn>) -> Result<(), Fault> {
        let led = matches!(server.process.zab.role(), Some((Role::Leading, _)));
        let overtaken = matches!(input, Input::Located { .. }) && server.disk.is_searching();
        let Process { zab, state, timers, booting, outstanding, behind } = &mut server.process;
        let (net, sights) = (&mut self.outcome.net, &mut self.outcome.sights);
        let story = self.story.as_deref_mut();
        let mut sink = Sink::new(&mut server.disk, state, timers, net, sights, story);
        zab.step(input, &mut sink);
        if sink.watch.looked {
            (*booting, *outstanding, *behind) = (false, false, false);
        }
        let Sink { watch, fault, delivered, appended, reload, .. } = sink;
        let Watcher { claims, breaches, established, looked, stray, .. } = watch;
        if overtaken && stray {
            self.outcome.sights.insert(Sight::SearchOvertaken);
        }
        if let Some((rule, why)) = fault
            && (self.settings.local_rules || rule == "R-5")
        {
            return Err(Fault { rule: rule.to_owned(), why });
        }
        self.outcome.appended |= appended;
        if let Some(epoch) = established {
            let initial = entries(&server.disk.logged());
            self.outcome.ghost.push(GhostChange::Establish(epoch, server.id, initial));
        }
        if led && delivered {
            let held = server.view().delivered;
            self.outcome.ghost.push(GhostChange::Commit(server.id, held));
        }
        if self.settings.local_rules {
            if !claims.is_empty() || !breaches.is_empty() {
                judge::words(&server.view(), &claims, &breaches, &mut self.outcome.tested)?;
            }
            if looked {
                same_as_boot(server, self.settings.window)?;
            }
        }
        if reload {
            let Start { recovered, state, .. } = server.disk.reload(self.settings.window).map_err(refused)?;
            server.process.state = state;
            self.input(server, Input::Reloaded(recovered))?;
        }
        Ok(())
    }

    /// The rules about steps, without the record; [`Outcome::forgets`] says whether they need to be asked with it.
    fn judge_step(&mut self, before: &ServerView, after: &ServerView) -> Result<(), Fault> {
        let forgets = !after.durable.starts_with(&before.durable);
        self.outcome.forgets = forgets.then(|| Box::new((before.clone(), after.clone())));
        if !self.settings.local_rules {
            return Ok(());
        }
        judge::step(before, after, &mut self.outcome.tested)
    }
}

/// A server that comes to rest holds what a start would load (design rule: a role change equals a restart).
fn same_as_boot(server: &Server, window: usize) -> Result<(), Fault> {
    let start = server.disk.reload(window).map_err(refused)?;
    if start.state == server.process.state {
        return Ok(());
    }
    let why = format!("at rest with {:?}, while a start would load {:?}", server.process.state, start.state);
    Err(Fault { rule: "R-7".to_owned(), why })
}

pub(crate) fn refused(refusal: protocol::recovery::Refusal) -> Fault {
    Fault { rule: "R-5".to_owned(), why: format!("the start is refused: {refusal}") }
}
