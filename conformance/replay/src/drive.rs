//! Runs walks: each step is brought about at the server's connections, timers and disk, and what the server does is
//! compared with what the model's actor asks for.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, anyhow, bail, ensure};
use protocol::{
    Message, Notification, Role, Timer,
    peer::{Input, Packet},
};
use server::{
    Config,
    stand::{self, Report, Stand},
};
use spec::{Epoch, ServerId};
use storage::{RealDisk, Store};
use tree::Tree;
use wire::client::ConnectRequest;
use world::{Fault, Host, HostEvent, Keep, Pace, Wire};

use crate::{
    ends::Ends,
    expected::{Covers, Frame, Recorder, Segment},
    graph::{Graph, Root, print},
    place::Place,
    walks::Walk,
    watched::Watched,
};

/// How long something that is to happen may take, on a machine with other things to do.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of a step.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The server did what the model says.
    Same,
    /// The shell never tells its peer of such a thing, and to the model it changes nothing.
    Untold(&'static str),
}

/// What the server on the stand is compared with, and compared by.
#[derive(Debug)]
pub struct Drive<'a> {
    place: &'a Place,
    config: Config,
    servers: Vec<ServerId>,
    host: Host<Tree>,
    disk: Watched<RealDisk>,
    stand: Option<Stand>,
    ends: Ends,
    /// What the peer is to have been told.
    inputs: u64,
    timers: BTreeSet<Timer>,
    part: (Option<Role>, Epoch, bool),
    /// What was asked of the disk and not reported.
    asked: BTreeMap<Report, Covers>,
    /// A learner's link that is up and has said nothing.
    silent: Option<(ServerId, Vec<Segment>)>,
    /// The newest election message to each server: a new connection begins with it.
    posted: BTreeMap<ServerId, Notification>,
}

/// Runs one walk and tells what came of each step; what is different, and at which step, if something is.
///
/// # Errors
/// If the server does something else than the model, or what the model says cannot be brought about.
pub fn run(graph: &Graph, walk: &Walk, place: &Place) -> Result<Vec<Outcome>, (usize, anyhow::Error)> {
    let (_, root) = &graph.roots[walk.root];
    let mut drive = Drive::start(place, root).map_err(|why| (0, why))?;
    let mut outcomes = Vec::new();
    for (at, edge) in walk.steps.iter().enumerate() {
        let edge = &graph.edges[*edge as usize];
        let event = graph.event(edge);
        let outcome = drive.step(event, edge.silent).and_then(|outcome| {
            ensure!(
                print(&drive.host) == graph.print(edge.to),
                "the model does not take this step twice alike"
            );
            Ok(outcome)
        });
        outcomes.push(outcome.with_context(|| brief(event)).map_err(|why| (at + 1, why))?);
    }
    drive.end().map_err(|why| (walk.steps.len(), why))?;
    Ok(outcomes)
}

/// A line about what happens to a server.
pub fn brief(event: &HostEvent<Tree>) -> String {
    match event {
        HostEvent::Input(input) => format!("{input:?}"),
        HostEvent::Read(from, wire) => format!("reads {wire} from {from}"),
        HostEvent::Timer(timer) => format!("timer {timer:?} fires"),
        HostEvent::Crash(_) => "crashes and starts again".to_owned(),
        HostEvent::Disk(ticket) => format!("the disk ends {ticket:?}"),
    }
}

impl<'a> Drive<'a> {
    fn start(place: &'a Place, root: &Root) -> anyhow::Result<Self> {
        let zab = &root.config.zab;
        let me = zab.me;
        let servers: Vec<_> = (1..).map(ServerId).take(root.servers).collect();
        let config = place.config(me, &servers, &zab.quorum, zab.window)?;
        place.restore(&root.left)?;
        let mut recorder = Recorder::of_a_start();
        let host =
            Host::over(root.config.clone(), root.pace, &root.left, Some(&mut recorder)).map_err(broken)?;
        let mut drive = Self {
            place,
            config,
            servers,
            ends: Ends::new(me, [])?,
            host,
            disk: Watched::new(RealDisk::default()),
            stand: None,
            inputs: 0,
            timers: BTreeSet::new(),
            part: (None, Epoch(0), false),
            asked: BTreeMap::new(),
            silent: None,
            posted: BTreeMap::new(),
        };
        drive.boot(&recorder.segments)?;
        Ok(drive)
    }

    fn me(&self) -> ServerId {
        self.host.id()
    }

    /// A start from what is on disk, compared with the model's.
    fn boot(&mut self, segments: &[Segment]) -> anyhow::Result<()> {
        let me = self.me();
        let others = self.servers.iter().filter(|id| **id != me);
        // The last server's doors are closed first.
        self.ends = Ends::new(me, [])?;
        self.ends = Ends::new(me, others.map(|id| (*id, self.place.for_voters(*id))))?;
        let stand = Stand::start(self.config.clone(), self.host.config().clone(), self.disk.clone())?;
        self.stand = Some(stand);
        self.inputs = 0;
        (self.timers, self.part) = (BTreeSet::new(), (None, Epoch(0), false));
        self.asked.clear();
        self.posted.clear();
        self.meet_voters()?;
        self.segments(segments)?;
        self.compare_states()
    }

    /// Every voter that has no election connection gets one.
    fn meet_voters(&mut self) -> anyhow::Result<()> {
        let stand = self.stand.as_mut().context("a server is up")?;
        self.ends.introduce_voters(self.place.for_voters(self.host.id()))?;
        let mut fault = None;
        let ends = &mut self.ends;
        let up = stand.run_until(PATIENCE, |_| {
            fault = ends.take().err();
            fault.is_some() || ends.are_voters_up()
        });
        if let Some(fault) = fault {
            return Err(fault);
        }
        ensure!(up, "the election connections do not come up");
        Ok(())
    }

    /// The server's process ends, and another one starts with what a crash has left.
    fn crash(&mut self, event: &HostEvent<Tree>, keep: Keep) -> anyhow::Result<()> {
        ensure!(self.silent.is_none(), "a crash comes at a link that has said nothing");
        self.compare_files()?;
        if self.is_slow() {
            self.place.restore(&self.host.disk().left(keep))?;
            self.disk = Watched::new(RealDisk::default());
            self.disk.doubt(&self.place.data().join("version-2"))?;
        }
        let mut recorder = Recorder::of_a_start();
        self.host.step_before(event, &mut recorder).map_err(broken)?;
        self.boot(&recorder.segments)
    }

    /// Whether disk operations take until the model says that they end.
    fn is_slow(&self) -> bool {
        self.host.pace() == Pace::Async
    }

    fn step(&mut self, event: &HostEvent<Tree>, silent: Option<ServerId>) -> anyhow::Result<Outcome> {
        let before = print(&self.host);
        if let HostEvent::Crash(keep) = event {
            self.crash(event, *keep)?;
            return Ok(Outcome::Same);
        }
        let mut recorder = Recorder::of_a_step(self.host.peer().is_read_only());
        self.host.step_before(event, &mut recorder).map_err(broken)?;
        let mut segments = recorder.segments;
        if silent.is_some() {
            let HostEvent::Input(Input::Accepted(learner)) = event else { bail!("only links are silent") };
            self.ends.dial_link(*learner, self.place.for_learners(self.me()))?;
            self.silent = Some((*learner, segments));
            return Ok(Outcome::Same);
        }
        // What the disk reports is counted when it does.
        let mut inputs = u64::from(!matches!(event, HostEvent::Disk(_)));
        if let Some((learner, first)) = self.silent.take() {
            ensure!(first.len() == 1, "a disk is asked for something by a link that has said nothing");
            ensure!(matches!(event, HostEvent::Read(from, _) if *from == learner), "a link is told of late");
            segments[0] = joined(first.into_iter().next().unwrap_or_default(), segments[0].clone());
            inputs = 2;
        }
        self.disk.hold(true);
        let untold = self.bring_about(event);
        if !matches!(untold, Ok(None)) {
            self.disk.hold(false);
        }
        if let Some(why) = untold? {
            ensure!(
                print(&self.host) == before,
                "it changes the model's server, and the shell does not tell"
            );
            return Ok(Outcome::Untold(why));
        }
        self.inputs += inputs;
        if let HostEvent::Input(Input::ElectionLinkDown(voter)) = event {
            self.meet_again(*voter, &mut segments[0])?;
        }
        self.segments(&segments)?;
        self.compare_states()?;
        Ok(Outcome::Same)
    }

    /// An election connection that broke comes up again, and begins with the newest message.
    fn meet_again(&mut self, voter: ServerId, segment: &mut Segment) -> anyhow::Result<()> {
        let (inputs, ends) = (self.inputs, &mut self.ends);
        let stand = self.stand.as_mut().context("a server is up")?;
        let told = stand.run_until(PATIENCE, |stand| ends.take().is_err() || stand.inputs() >= inputs);
        ensure!(told, "the peer is not told that an election connection is gone");
        self.meet_voters()?;
        if let Some(newest) = self.posted.get(&voter) {
            segment.votes.entry(voter).or_insert_with(|| vec![*newest]);
        }
        Ok(())
    }

    fn stand(&mut self) -> &mut Stand {
        self.stand.as_mut().expect("a server is up")
    }

    /// Has something happen to the server. Why the shell does not tell of it, if it does not.
    fn bring_about(&mut self, event: &HostEvent<Tree>) -> anyhow::Result<Option<&'static str>> {
        let me = self.me();
        match event {
            HostEvent::Crash(_) => unreachable!("a crash is no word to a server"),
            HostEvent::Disk(_) => {}
            HostEvent::Timer(timer) => {
                if !self.stand().fire(*timer) {
                    return Ok(Some("a timer that does not run does not fire"));
                }
                self.timers.remove(timer);
            }
            HostEvent::Read(from, wire) => {
                if !self.ends.has_link(*from) {
                    return Ok(Some("nothing is read from a link that is closed"));
                }
                let frame = match wire {
                    Wire::Packet(packet) => Frame::Packet(packet.clone()),
                    Wire::Snapshot { last, state } => Frame::Snapshot { last: *last, state: state.clone() },
                };
                self.ends.say_on_link(*from, &frame)?;
            }
            HostEvent::Input(input) => return self.input(me, input),
        }
        Ok(None)
    }

    fn input(&mut self, me: ServerId, input: &Input<Tree>) -> anyhow::Result<Option<&'static str>> {
        match input {
            Input::Connected(to) => self.ends.open_door(*to, self.place.for_learners(*to))?,
            Input::Accepted(from) => {
                let role = self.host.peer().zab().role();
                if role.and_then(|(role, _)| role.leader()) == Some(*from) {
                    return Ok(Some("the shell turns away whom it follows, and does not tell"));
                }
                // It is turned away; before that, it has to say who it is.
                self.ends.dial_link(*from, self.place.for_learners(me))?;
                let info = Packet::Zab(Message::FollowerInfo { accepted: Epoch(0), extended: true });
                self.ends.say_on_link(*from, &Frame::Packet(info))?;
            }
            Input::Disconnected(peer) => {
                if !self.ends.break_link(*peer) {
                    return Ok(Some("a link that the server has closed does not break"));
                }
            }
            Input::Notification { from, notification } => self.ends.vote(*from, notification)?,
            Input::ClientConnect { client, session, password, timeout_ms, last_seen, read_only, .. } => {
                let request = ConnectRequest {
                    protocol_version: 0,
                    last_seen: *last_seen,
                    timeout_ms: *timeout_ms,
                    session: *session,
                    password: *password,
                    read_only: Some(*read_only),
                };
                self.stand().number_next_client(*client);
                self.ends.connect_client(*client, self.place.for_clients(me), &request)?;
            }
            Input::ClientRequest { client, xid, request, .. } => {
                if !self.ends.has_client(*client) {
                    return Ok(Some("nothing is read from a connection that is closed"));
                }
                self.ends.ask(*client, *xid, request)?;
            }
            Input::ClientClosed(client) => {
                if !self.ends.has_client(*client) {
                    return Ok(Some(
                        "a connection that has said nothing, or that the server closed, does not end",
                    ));
                }
                self.ends.hang_up(*client);
            }
            Input::ElectionLinkDown(of) => self.ends.break_voter(*of),
            Input::Packet { .. }
            | Input::Snapshot { .. }
            | Input::Timer { .. }
            | Input::Done(_)
            | Input::Located { .. }
            | Input::Reloaded(_) => bail!("{input:?} is not brought about this way"),
        }
        Ok(None)
    }

    /// Compares what the server does, from one report of its disk to the next.
    fn segments(&mut self, segments: &[Segment]) -> anyhow::Result<()> {
        for segment in segments {
            if let Some(report) = segment.report {
                self.report(report).with_context(|| format!("behind {report:?} of the disk"))?;
                self.segment(segment).with_context(|| format!("behind {report:?} of the disk"))?;
            } else {
                self.segment(segment)?;
            }
            self.nothing_yet(segment)?;
            self.disk.hold(false);
        }
        Ok(())
    }

    /// While the disk is held, nothing that it is asked for is reported.
    fn nothing_yet(&mut self, segment: &Segment) -> anyhow::Result<()> {
        let (stand, disk) = (self.stand.as_mut().context("a server is up")?, &self.disk);
        for (report, covers) in &segment.asked {
            if matches!(covers, Covers::Batch | Covers::Accepted | Covers::Current) {
                let is_reported = |stand: &Stand| stand.reports().any(|one| one == *report);
                let waits = stand.run_until(PATIENCE, |stand| disk.is_waiting(*covers) || is_reported(stand));
                ensure!(!is_reported(stand), "{report:?} is reported before anything is synced");
                ensure!(waits, "{report:?} is not on its way to the disk");
            }
        }
        Ok(())
    }

    /// The loop hears what its disk has done, which has to be true.
    fn report(&mut self, report: Report) -> anyhow::Result<()> {
        let covers = self.asked.remove(&report).context("the model's disk does what nobody asked for")?;
        let stand = self.stand.as_mut().context("a server is up")?;
        self.disk.hold(false);
        // What a slow disk has been asked for behind this is done as well, and not reported.
        let reported = |stand: &Stand, wanted: &Report| stand.reports().any(|one| one == *wanted);
        let others = &self.asked;
        let done = stand.run_until(PATIENCE, |stand| {
            reported(stand, &report) && others.keys().all(|other| reported(stand, other))
        });
        ensure!(done, "the disk does not report it; it reports {:?}", stand.reports().collect::<Vec<_>>());
        if let Some(why) = self.disk.unsynced(covers) {
            bail!("the disk reports it as durable, and {why}");
        }
        self.disk.hold(true);
        stand.deliver(report);
        self.inputs += 1;
        Ok(())
    }

    fn segment(&mut self, segment: &Segment) -> anyhow::Result<()> {
        self.asked.extend(segment.asked.iter().copied());
        for (timer, runs) in &segment.timers {
            if *runs {
                self.timers.insert(*timer)
            } else {
                self.timers.remove(timer)
            };
        }
        self.part = segment.part.unwrap_or(self.part);
        for (to, votes) in &segment.votes {
            self.posted.extend(votes.last().map(|newest| (*to, *newest)));
        }
        let (inputs, ends) = (self.inputs, &mut self.ends);
        let stand = self.stand.as_mut().context("a server is up")?;
        let mut fault = None;
        let done = stand.run_until(PATIENCE, |stand| {
            if stand.inputs() < inputs || !stand.is_at_rest() {
                return false;
            }
            match ends.take() {
                Ok(()) => has_come(ends, segment),
                Err(error) => {
                    fault = Some(error);
                    true
                }
            }
        });
        if let Some(fault) = fault {
            return Err(fault.context("what the server sends cannot be read"));
        }
        let told = stand.inputs();
        ensure!(told >= inputs, "the peer is not told of it: {told} inputs so far, not {inputs}");
        ensure!(told == inputs, "the peer is told something of which the model knows nothing");
        self.compare(segment).map_err(|why| if done { why } else { why.context("after some waiting") })?;
        ensure!(
            done,
            "something is still to come behind {PATIENCE:?}: a link or a connection that does not end?"
        );
        Ok(())
    }

    fn compare(&mut self, segment: &Segment) -> anyhow::Result<()> {
        let votes = self.ends.fetch_votes();
        for (to, said) in &votes {
            let posted = segment.votes.get(to).map_or(&[][..], Vec::as_slice);
            // The newest takes the place of one that has not left.
            ensure!(
                said.last() == posted.last() && said.iter().all(|one| posted.contains(one)),
                differs("election messages", &Some((to, posted)), &Some((to, said)))
            );
        }
        ensure!(votes.len() == segment.votes.len(), differs("election messages", &segment.votes, &votes));
        let frames = self.ends.fetch_frames();
        ensure!(frames == self.adorned(&segment.frames), differs("packets", &segment.frames, &frames));
        let told = self.ends.fetch_told(&segment.told)?;
        ensure!(told == segment.told, differs("words to clients", &segment.told, &told));
        let (links, clients) = self.ends.ended();
        let closes: Vec<_> = sorted(&segment.closes).filter(|id| links.contains(id)).collect();
        ensure!(links == closes, differs("closed links", &segment.closes, &links));
        let hung_up: Vec<_> = sorted(&segment.hung_up).collect();
        ensure!(clients == hung_up, differs("closed connections", &segment.hung_up, &clients));
        self.ends.forget(&links, &clients);
        let stand = self.stand.as_ref().context("a server is up")?;
        let timers: Vec<_> = self.timers.iter().copied().collect();
        ensure!(stand.timers() == timers, differs("timers", &timers, &stand.timers()));
        ensure!(stand.part() == self.part, differs("role, epoch, serving", &self.part, &stand.part()));
        for id in &segment.dials {
            ensure!(stand.links().get(id) == Some(&false), "{id} is not dialled: {:?}", stand.links());
        }
        for id in &segment.closes {
            ensure!(
                !stand.links().contains_key(id) || segment.dials.contains(id),
                "the link with {id} is not closed: {:?}",
                stand.links()
            );
        }
        ensure!(!stand.is_over(), "the server ends");
        Ok(())
    }

    /// The states that are sent hold the node of the configuration.
    fn adorned(&self, frames: &BTreeMap<ServerId, Vec<Frame>>) -> BTreeMap<ServerId, Vec<Frame>> {
        let mut frames = frames.clone();
        for frame in frames.values_mut().flatten() {
            if let Frame::Snapshot { state, .. } = frame {
                stand::adorn(&self.config, state);
            }
        }
        frames
    }

    fn compare_states(&mut self) -> anyhow::Result<()> {
        let mut strays: Vec<_> = self.stand().reports().collect();
        strays.retain(|report| !self.asked.contains_key(report));
        let done = self.is_slow() || self.asked.is_empty();
        ensure!(strays.is_empty() && done, differs("disk operations", &self.asked, &strays));
        let mut state = self.host.state().clone();
        stand::adorn(&self.config, &mut state);
        let stand = self.stand.as_ref().context("a server is up")?;
        stand.look(|peer, tree| {
            ensure!(peer == self.host.peer(), differs("actor", self.host.peer(), peer));
            ensure!(*tree == state, differs("state", &state, tree));
            Ok(())
        })
    }

    /// Ends the server, and compares what a start would read from its files.
    fn compare_files(&mut self) -> anyhow::Result<()> {
        self.disk.hold(false);
        if let Some(stand) = self.stand.take() {
            stand.kill();
        }
        let window = self.host.config().zab.window;
        let settings = storage::Config { window, ..storage::Config::new(self.place.data()) };
        let found = Store::open(RealDisk::default(), settings)?.recover()?;
        // All that was asked for is written by now, reported or not.
        let (recovered, mut state) = self.host.recovered_behind(Keep::ALL).map_err(broken)?;
        ensure!(found.recovered == recovered, differs("files", &recovered, &found.recovered));
        let mut read = found.tree;
        stand::adorn(&self.config, &mut state);
        stand::adorn(&self.config, &mut read);
        ensure!(read == state, differs("state on disk", &state, &read));
        Ok(())
    }

    fn end(mut self) -> anyhow::Result<()> {
        ensure!(self.silent.is_none(), "a walk ends at a link that has said nothing");
        self.compare_files().context("behind the end of the walk")
    }
}

impl Drop for Drive<'_> {
    fn drop(&mut self) {
        self.disk.hold(false);
        if let Some(stand) = self.stand.take() {
            stand.kill();
        }
    }
}

fn broken(Fault { rule, why }: Fault) -> anyhow::Error {
    anyhow!("the model breaks {rule}: {why}")
}

fn sorted<T: Copy + Ord>(all: &[T]) -> impl Iterator<Item = T> + use<T> {
    all.iter().copied().collect::<BTreeSet<_>>().into_iter()
}

fn differs(what: &str, model: &impl std::fmt::Debug, server: &impl std::fmt::Debug) -> anyhow::Error {
    anyhow!("{what} differ\n  model:  {model:?}\n  server: {server:?}")
}

/// Two that the shell tells of at once.
fn joined(mut first: Segment, second: Segment) -> Segment {
    for (id, frames) in second.frames {
        first.frames.entry(id).or_default().extend(frames);
    }
    for (id, votes) in second.votes {
        first.votes.entry(id).or_default().extend(votes);
    }
    for (id, told) in second.told {
        first.told.entry(id).or_default().extend(told);
    }
    first.dials.extend(second.dials);
    first.closes.extend(second.closes);
    first.hung_up.extend(second.hung_up);
    first.timers.extend(second.timers);
    first.part = second.part.or(first.part);
    first.asked.extend(second.asked);
    first
}

/// Whether there is as much as is expected.
fn has_come(ends: &Ends, segment: &Segment) -> bool {
    let counts = ends.counts();
    let enough = |came: Option<&usize>, wanted: usize| came.is_some_and(|came| *came >= wanted);
    let frames = segment.frames.iter().all(|(id, frames)| enough(counts.frames.get(id), frames.len()));
    let told = segment.told.iter().all(|(id, told)| enough(counts.told.get(id), told.len()));
    let votes = segment.votes.iter().all(|(id, votes)| counts.votes.get(id) == votes.last());
    let closed = segment.closes.iter().all(|id| ends.is_link_over(*id))
        && segment.hung_up.iter().all(|id| !ends.has_client(*id));
    frames && told && votes && closed
}
