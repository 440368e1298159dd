//! A run: what is due is carried out, one thing after the other, and judged.

use std::{
    collections::{BTreeMap, btree_map},
    hash::BuildHasher,
    mem::take,
};

use protocol::{
    Message, Note, Quorum, Timer, Vote,
    peer::{Input, Packet},
};
use rustc_hash::FxBuildHasher;
use spec::{
    Machine, ServerId, SessionId,
    history::{Entry, Record},
    machine::SessionChange,
};
use tree::{Event, Tree, Txn};
use world::{
    Fault, GhostChange, Happened, Host, HostDisk, HostEvent, LinkChange, Moment, NetChange, Occasion, Said,
    Side, Storage, TimerChange, Turn, Wire,
};

use crate::{
    client::Client,
    connections::Connection,
    coverage::Coverage,
    elections::Elections,
    form::Form,
    judge,
    network::Network,
    node::{Node, Stop, Subject, server_id},
    plan::Plan,
    reading,
    record::Order,
    time::{Agenda, Due, ms},
};

/// How long a server tries to reach a leader that does not let it in.
const IN_VAIN_MS: u64 = 1_000;
/// More than this many events, and a run does not come to rest.
const STEPS_MAX: u64 = 400_000;

/// Takes down what happens, for those who want to read it.
pub trait Tracer<D = HostDisk<Subject>> {
    /// Something was carried out, at this time in microseconds; these servers have changed.
    fn step(
        &mut self,
        at_us: u64,
        due: &Due,
        effects: Vec<String>,
        servers: &[(ServerId, &Host<Subject, D>)],
    );
}

/// A run under way.
pub(crate) struct Run<'a, F: Form> {
    pub(crate) plan: &'a Plan,
    pub(crate) form: F,
    pub(crate) agenda: Agenda,
    pub(crate) nodes: Vec<Node<F>>,
    pub(crate) network: Network<F>,
    pub(crate) clients: Vec<Client>,
    pub(crate) chances: Vec<crate::chance::Chance>,
    pub(crate) connections: BTreeMap<u64, Connection<F>>,
    pub(crate) connected: u64,
    pub(crate) order: Order,
    record: Record,
    /// All transactions that were ever sent to a learner.
    proposed: BTreeMap<Entry, Txn>,
    elections: Elections,
    quorum: Quorum,
    pub(crate) coverage: Coverage,
    /// Since when everything is repaired.
    pub(crate) healed: Option<u64>,
    pub(crate) is_well: bool,
    /// Writes whose answer their client did not wait for.
    pub(crate) unanswered: Vec<(SessionId, i32)>,
    /// The last server that came to lead.
    leader: Option<usize>,
    tracing: bool,
    effects: Vec<String>,
    touched: Vec<usize>,
}

/// Plays a plan to its end, in this form. What was met is added to `coverage`, also if a rule is broken.
///
/// # Errors
/// The first rule that is broken.
pub fn play<F: Form>(
    plan: &Plan,
    coverage: &mut Coverage,
    mut tracer: Option<&mut dyn Tracer<F::Disk>>,
) -> Result<(), Fault> {
    let mut run = Run::<F>::new(plan, tracer.is_some());
    let outcome = run.start().and_then(|()| run.go(&mut tracer));
    if outcome.is_err() {
        run.trace(&mut tracer, None);
    }
    run.coverage.simulated_ms = run.agenda.now / 1_000;
    run.coverage.txns = u64::try_from(run.order.len()).unwrap_or(u64::MAX);
    run.coverage.writes = u64::try_from(run.order.acknowledged()).unwrap_or(u64::MAX);
    run.coverage.close();
    coverage.add(&run.coverage);
    outcome
}

impl<'a, F: Form> Run<'a, F> {
    fn new(plan: &'a Plan, tracing: bool) -> Self {
        let servers = usize::from(plan.size.servers());
        let quorum = Quorum::majority((0..usize::from(plan.size.voters)).map(server_id));
        let stream = |client| crate::chance::Chance::new(plan.seed, crate::chance::Stream::Client(client));
        Self {
            plan,
            form: F::new(plan),
            agenda: Agenda::default(),
            nodes: Vec::new(),
            network: Network::new(plan),
            clients: (0..plan.clients).map(|client| Client::new(client < plan.readers)).collect(),
            chances: (0..plan.clients.into()).map(stream).collect(),
            connections: BTreeMap::new(),
            connected: 0,
            order: Order::new(Subject::default().machine),
            record: Record::default(),
            proposed: BTreeMap::new(),
            elections: Elections::new(servers, quorum.clone()),
            quorum,
            coverage: Coverage::default(),
            healed: None,
            is_well: false,
            unanswered: Vec::new(),
            leader: None,
            tracing,
            effects: Vec::new(),
            touched: Vec::new(),
        }
    }

    fn start(&mut self) -> Result<(), Fault> {
        let servers = 0..usize::from(self.plan.size.servers());
        let started: Vec<_> = servers.map(|slot| Node::new(&mut self.form, self.plan, slot)).collect();
        let (nodes, happened): (Vec<_>, Vec<_>) = started.into_iter().unzip();
        self.nodes = nodes;
        for (slot, happened) in happened.into_iter().enumerate() {
            self.carry_out(slot, happened)?;
        }
        for (place, fault) in self.plan.faults.iter().enumerate() {
            self.agenda.at(ms(fault.at_ms), Due::Fault { place });
        }
        for (place, deed) in self.plan.deeds.iter().enumerate() {
            self.agenda.at(ms(deed.at_ms), Due::Deed { place });
        }
        for client in 0..self.clients.len() {
            self.agenda.at(0, Due::Wake { client });
        }
        self.agenda.at(ms(self.plan.heal_ms), Due::Heal);
        Ok(())
    }

    fn go(&mut self, tracer: &mut Option<&mut dyn Tracer<F::Disk>>) -> Result<(), Fault> {
        while let Some(due) = self.agenda.next() {
            self.coverage.steps += 1;
            if self.coverage.steps > STEPS_MAX {
                let why = format!("after {STEPS_MAX} events the run is not over");
                return Err(Fault { rule: "heals".to_owned(), why });
            }
            self.handle(&due)?;
            self.trace(tracer, Some(&due));
            if self.is_well {
                break;
            }
        }
        self.order.meet_unanswered(&self.unanswered, &mut self.coverage);
        self.elections.judge_order(&mut self.coverage)?;
        self.order.judge_end(&mut self.coverage)
    }

    /// Hands over what the last event came to; without one, what a broken rule left behind.
    fn trace(&mut self, tracer: &mut Option<&mut dyn Tracer<F::Disk>>, due: Option<&Due>) {
        let touched = take(&mut self.touched);
        if let Some(tracer) = tracer {
            let servers: Vec<_> =
                touched.iter().map(|slot| (server_id(*slot), &*self.nodes[*slot].host)).collect();
            let effects = take(&mut self.effects);
            let due = due.unwrap_or(&Due::Look);
            // What is postponed is no step.
            if !effects.is_empty() || !servers.is_empty() {
                tracer.step(self.agenda.now, due, effects, &servers);
            }
        }
    }

    pub(crate) fn tell(&mut self, line: impl FnOnce() -> String) {
        if self.tracing {
            self.effects.push(line());
        }
    }

    fn handle(&mut self, due: &Due) -> Result<(), Fault> {
        match *due {
            Due::Timer { server, timer, number } => self.on_timer(server, timer, number, due),
            Due::Disk { server, ticket, process } => {
                if self.waits(server, due) || !self.nodes[server].ends(ticket, process) {
                    return Ok(());
                }
                self.step(server, HostEvent::Disk(ticket))
            }
            Due::Vote { from, to } => self.on_vote(from, to, due),
            Due::MeshLost { server, peer } => {
                if self.waits(server, due) || self.is_down(server) {
                    return Ok(());
                }
                self.tell(|| format!("server {} loses its election link with {}", server + 1, peer + 1));
                self.step(server, HostEvent::Input(Input::ElectionLinkDown(server_id(peer))))
            }
            Due::Dial { place, number } => self.on_dial(place, number, due),
            Due::Frame { place, at, number } => self.on_frame(place, at, number, due),
            Due::Notice { place, at, number } => self.on_notice(place, at, number, due),
            Due::Letter { connection } => self.on_letter(connection, due),
            Due::Hear { connection } => self.on_hear(connection),
            Due::Left { connection } => self.on_left(connection, due),
            Due::Lost { connection } => {
                self.lose_connection(connection);
                Ok(())
            }
            Due::Wake { client } => {
                self.wake(client);
                Ok(())
            }
            Due::Fault { place } => self.on_fault(place),
            Due::FaultEnds { place } => {
                self.end_fault(place);
                Ok(())
            }
            Due::Resume { server, number } => {
                self.resume(server, number);
                Ok(())
            }
            Due::Deed { place } => {
                self.on_deed(place);
                Ok(())
            }
            Due::Heal => {
                self.heal();
                Ok(())
            }
            Due::Look => self.look(),
        }
    }

    pub(crate) fn is_down(&self, server: usize) -> bool {
        self.nodes[server].stop == Some(Stop::Down)
    }

    /// Whether the server stands still, so that this waits. What is of its own process waits for one that is down, too.
    pub(crate) fn waits(&mut self, server: usize, due: &Due) -> bool {
        let own = matches!(due, Due::Timer { .. } | Due::Disk { .. });
        let node = &mut self.nodes[server];
        let waits = match node.stop {
            Some(Stop::Still) => true,
            Some(Stop::Down) => own,
            None => false,
        };
        if waits {
            node.waiting.push(due.clone());
        }
        waits
    }

    fn on_timer(&mut self, server: usize, timer: Timer, number: u64, due: &Due) -> Result<(), Fault> {
        if self.waits(server, due) || !self.nodes[server].take(timer, number) {
            return Ok(());
        }
        let me = server_id(server);
        if timer == Timer::Expiry && self.nodes[server].host.leads() {
            self.order.tick(me);
        }
        self.tell(|| format!("server {me}: {timer:?}"));
        let outcome = self.step(server, HostEvent::Timer(timer));
        self.nodes[server].fired();
        outcome
    }

    fn on_vote(&mut self, from: usize, to: usize, due: &Due) -> Result<(), Fault> {
        if self.network.is_blocked(from, to) {
            self.network.hold(from, to, due.clone());
            return Ok(());
        }
        if self.is_down(to) {
            // Refused; it is sent again when the other one is back.
            self.network.voice(from, to).under_way = false;
            let wait = self.network.latency(to, from);
            self.agenda.after(wait, Due::MeshLost { server: from, peer: to });
            return Ok(());
        }
        if self.waits(to, due) {
            return Ok(());
        }
        let voice = self.network.voice(from, to);
        voice.under_way = false;
        let Some(notification) = voice.newest.filter(|_| voice.unsent) else { return Ok(()) };
        voice.unsent = false;
        let notification = self.form.carry(notification)?;
        let from = server_id(from);
        self.tell(|| format!("server {} reads {notification:?} from {from}", to + 1));
        self.step(to, HostEvent::Input(Input::Notification { from, notification }))
    }

    /// What a server has to say is on its way.
    pub(crate) fn speak(&mut self, from: usize, to: usize) {
        let voice = self.network.voice(from, to);
        if voice.newest.is_some() && voice.unsent && !voice.under_way {
            voice.under_way = true;
            let wait = self.network.latency(from, to);
            self.agenda.after(wait, Due::Vote { from, to });
        }
    }

    fn on_dial(&mut self, place: usize, number: u64, due: &Due) -> Result<(), Fault> {
        let (learner, leader) = self.network.places.ends(place);
        if self.network.line(place).number != number || !self.network.link(place).is_dialling() {
            return Ok(());
        }
        if self.waits(learner, due) || self.waits(leader, due) {
            return Ok(());
        }
        let cut = self.network.is_blocked(learner, leader) || self.network.is_blocked(leader, learner);
        if cut || self.is_down(leader) {
            return self.dial_again(place, number);
        }
        self.tell(|| format!("server {} is through to {}", learner + 1, leader + 1));
        self.network.line_mut(place).link.change(&LinkChange::Open);
        self.network.renumber(place);
        self.step(leader, HostEvent::Input(Input::Accepted(server_id(learner))))?;
        if self.network.link(place).is_open(Side::Learner) {
            self.step(learner, HostEvent::Input(Input::Connected(server_id(leader))))?;
        }
        Ok(())
    }

    /// A dial that did not get through. One that has gone on for long ends the wait for this leader.
    fn dial_again(&mut self, place: usize, number: u64) -> Result<(), Fault> {
        let learner = self.network.places.ends(place).0;
        let in_vain = self.agenda.now.saturating_sub(self.network.line(place).dialled) > ms(IN_VAIN_MS);
        let wait = ms(20 + self.nodes[learner].chance.below(100));
        self.agenda.after(wait, Due::Dial { place, number });
        if let Some(setting) = self.nodes[learner].setting(Timer::Establish).filter(|_| in_vain) {
            self.coverage.met("dial-in-vain");
            let due = Due::Timer { server: learner, timer: Timer::Establish, number: setting };
            return self.on_timer(learner, Timer::Establish, setting, &due);
        }
        Ok(())
    }

    fn on_frame(&mut self, place: usize, at: Side, number: u64, due: &Due) -> Result<(), Fault> {
        let (reader, sender) = self.network.ends(place, at);
        let line = self.network.line(place);
        if line.number != number || line.link.next(at).is_none() {
            return Ok(());
        }
        if self.network.is_blocked(sender, reader) {
            self.network.hold(sender, reader, due.clone());
            return Ok(());
        }
        if self.waits(reader, due) {
            return Ok(());
        }
        let line = self.network.line_mut(place);
        let ear = &mut line.ears[usize::from(at == Side::Leader)];
        let mut loads = Vec::new();
        while let Some(load) = line.link.change(&LinkChange::Read(at)) {
            loads.push(load);
            if !self.form.reads_on(ear) {
                break;
            }
        }
        for frame in self.form.take(ear, loads)? {
            let line = self.network.line(place);
            if line.number != number || !line.link.is_open(at) {
                break;
            }
            self.read_frame(reader, sender, at, frame)?;
        }
        Ok(())
    }

    fn read_frame(
        &mut self,
        reader: usize,
        sender: usize,
        at: Side,
        frame: Wire<Subject>,
    ) -> Result<(), Fault> {
        let (me, from) = (server_id(reader), server_id(sender));
        self.tell(|| format!("server {me} reads {frame} from {from}"));
        if !self.quorum.is_voter(me) {
            self.meet_observer(reader, &frame);
        }
        if at == Side::Leader {
            for session in heard_of(&frame) {
                self.order.heard_of(me, session);
            }
        }
        self.step(reader, HostEvent::Read(from, frame))
    }

    /// An observer reads this.
    fn meet_observer(&mut self, server: usize, frame: &Wire<Subject>) {
        let joined = self.nodes[server].host.peer().is_serving();
        match frame {
            Wire::Packet(Packet::Zab(Message::Inform { .. })) if joined => self.coverage.met("informed"),
            Wire::Packet(Packet::Zab(Message::Inform { .. })) => self.coverage.met("inform-while-joining"),
            Wire::Snapshot { .. } => self.coverage.met("snap-to-observer"),
            Wire::Packet(_) => {}
        }
    }

    fn on_notice(&mut self, place: usize, at: Side, number: u64, due: &Due) -> Result<(), Fault> {
        let (server, peer) = self.network.ends(place, at);
        let line = self.network.line(place);
        if line.number != number || !line.link.is_cut(at) {
            return Ok(());
        }
        if self.network.is_blocked(peer, server) {
            self.network.hold(peer, server, due.clone());
            return Ok(());
        }
        if self.waits(server, due) {
            return Ok(());
        }
        self.network.line_mut(place).link.change(&LinkChange::Close(at));
        self.tell(|| format!("server {} loses its link with {}", server + 1, peer + 1));
        self.step(server, HostEvent::Input(Input::Disconnected(server_id(peer))))
    }

    /// An end of a link that is cut will notice.
    pub(crate) fn will_notice(&mut self, place: usize, at: Side) {
        if self.network.link(place).is_cut(at) {
            let (server, peer) = self.network.ends(place, at);
            let wait = self.network.latency(peer, server);
            let number = self.network.line(place).number;
            self.agenda.after(wait, Due::Notice { place, at, number });
        }
    }

    /// Something happens to a server: it is carried out and judged.
    pub(crate) fn step(&mut self, server: usize, event: HostEvent<Subject>) -> Result<(), Fault> {
        self.coverage.server_steps += 1;
        let occasion = match &event {
            HostEvent::Input(Input::Notification { from, notification }) => {
                Occasion::Heard(*from, *notification)
            }
            HostEvent::Input(Input::ElectionLinkDown(peer)) => Occasion::Lost(*peer),
            HostEvent::Input(_)
            | HostEvent::Read(..)
            | HostEvent::Timer(_)
            | HostEvent::Disk(_)
            | HostEvent::Crash(_) => Occasion::Other,
        };
        let is_crash = matches!(event, HostEvent::Crash(_));
        let now = self.agenda.now;
        let node = &mut self.nodes[server];
        let (before, led) = (Moment::of(node.host.peer().election()), node.host.leads());
        let clock = node.wall_clock(now);
        node.host.set_clock(clock);
        let happened = self.form.step(&mut node.host, &event)?;
        if is_crash {
            self.elections.forget(server);
        } else {
            let host = &self.nodes[server].host;
            let turn = Turn { occasion, before, after: Moment::of(host.peer().election()) };
            self.elections.stepped(server, offer(host), &turn, &mut self.coverage)?;
        }
        self.carry_out(server, happened)?;
        // Not before: a leader that expires sessions may give up in the same step.
        if self.nodes[server].host.leads() != led {
            self.order.reign(server_id(server));
            self.note_leader(server);
        }
        Ok(())
    }

    fn note_leader(&mut self, server: usize) {
        if self.nodes[server].host.leads() {
            if self.leader.is_some_and(|leader| leader != server) {
                self.coverage.met("leader-changed");
            }
            self.leader = Some(server);
        }
    }

    /// Carries out what a server asks for, and judges the rest.
    fn carry_out(&mut self, server: usize, happened: Happened<Subject>) -> Result<(), Fault> {
        let me = server_id(server);
        self.touched.push(server);
        let Happened { net, votes, told, expired, committed, timers, notes, sights, ghost, tested, forgets } =
            happened;
        for note in notes {
            self.tell(|| format!("server {me} notes {note:?}"));
            if matches!(note, Note::Looking { .. }) {
                let own = offer(&self.nodes[server].host);
                self.elections.looks(server, own);
            }
        }
        for sight in sights {
            self.coverage.sight(sight);
        }
        for rule in tested {
            self.coverage.tested(rule);
        }
        let record_is_new = !ghost.is_empty();
        self.take_down(server, &net);
        for change in ghost {
            match change {
                GhostChange::Establish(epoch, leader, initial) => {
                    self.record.establish(epoch, leader, &initial);
                }
                GhostChange::Commit(leader, held) => self.record.commit(leader, &held),
            }
        }
        if record_is_new {
            self.order.follow(self.record.committed(), &self.proposed, &mut self.coverage)?;
        }
        if let Some(held) = committed {
            self.order.commit(&held, &mut self.coverage)?;
        }
        for session in expired {
            // One whose opening is not applied yet is nobody's loss.
            if let Some(timeout_ms) = self.nodes[server].host.state().session_timeout(session) {
                self.order.expired(me, session, timeout_ms, &mut self.coverage)?;
            }
        }
        if let Some(pair) = forgets {
            judge::forgetting(&pair.0, &pair.1, &self.record, &mut self.coverage)?;
        }
        self.judge(server, record_is_new)?;
        for change in timers {
            match change {
                TimerChange::Set(timer) => {
                    let (wait, number) = self.nodes[server].set(timer);
                    self.agenda.after(wait, Due::Timer { server, timer, number });
                }
                TimerChange::Cancel(timer) => self.nodes[server].cancel(timer),
            }
        }
        for (to, said) in votes {
            self.elections.voted(me, &said, &mut self.coverage)?;
            let to = self.network.places.server(to);
            if to == server {
                continue;
            }
            let voice = self.network.voice(server, to);
            (voice.newest, voice.unsent) = (Some(said), true);
            self.speak(server, to);
        }
        for change in net {
            self.route(server, &change)?;
        }
        for (client, said) in told {
            self.post(server, client.0, said)?;
        }
        let process = self.nodes[server].process;
        for (ticket, wait) in self.nodes[server].disk_work() {
            self.agenda.after(wait, Due::Disk { server, ticket, process });
        }
        Ok(())
    }

    /// Keeps what a server proposes, by place and digest: the record of a run has no more of a transaction than those.
    fn take_down(&mut self, server: usize, net: &[NetChange<Wire<Subject>>]) {
        for change in net {
            if let NetChange::Send(_, Wire::Packet(Packet::Zab(Message::Proposal { zxid, txn }))) = change {
                let entry = Entry { zxid: *zxid, digest: FxBuildHasher.hash_one(txn) };
                if let btree_map::Entry::Vacant(place) = self.proposed.entry(entry) {
                    if matches!(Tree::origin(txn).change, SessionChange::Open(_)) {
                        // A leader proposes it when it is asked.
                        self.order.heard_of(server_id(server), txn.session);
                    }
                    place.insert(txn.clone());
                }
            }
        }
    }

    /// All rules over what a step has changed.
    fn judge(&mut self, server: usize, record_is_new: bool) -> Result<(), Fault> {
        let node = &mut self.nodes[server];
        let view = node.host.view_after(node.view.as_ref());
        if view == node.view && !record_is_new {
            return Ok(());
        }
        let serves_anew = match (&view, &node.view) {
            (Some(now), Some(before)) => {
                (now.serving, now.processed, now.state) != (before.serving, before.processed, before.state)
            }
            _ => true,
        };
        node.view = view;
        let Some(view) = &self.nodes[server].view else { return Ok(()) };
        let others: Vec<_> = self
            .nodes
            .iter()
            .filter_map(|node| node.view.as_ref())
            .filter(|other| other.id != view.id)
            .collect();
        judge::step(view, &others, &self.record, record_is_new, &self.quorum, &mut self.coverage)?;
        if serves_anew {
            self.order.judge_state(&self.nodes[server].host, &mut self.coverage)?;
        }
        Ok(())
    }

    fn route(&mut self, server: usize, wish: &NetChange<Wire<Subject>>) -> Result<(), Fault> {
        let wish = match wish {
            NetChange::Send(to, frame) => return self.send(server, *to, frame),
            NetChange::Dial(to) => NetChange::Dial(*to),
            NetChange::Close(peer) => NetChange::Close(*peer),
            NetChange::Refuse(from) => NetChange::Refuse(*from),
        };
        let routed = self.network.places.route(server, &wish, |place| self.network.link(place));
        let (place, change) = match routed {
            Ok(Some(routed)) => routed,
            Ok(None) => return Ok(()),
            Err(why) => return Err(Fault { rule: "world".to_owned(), why }),
        };
        match &change {
            LinkChange::Dial => {
                let (learner, leader) = self.network.places.ends(place);
                let line = self.network.line_mut(place);
                line.link.change(&change);
                line.dialled = self.agenda.now;
                let number = self.network.renumber(place);
                let wait = self.network.latency(learner, leader);
                self.agenda.after(wait, Due::Dial { place, number });
            }
            LinkChange::Close(side) => {
                let at = other_side(*side);
                self.network.line_mut(place).link.change(&change);
                self.will_notice(place, at);
            }
            LinkChange::Send(..) | LinkChange::Open | LinkChange::Read(_) | LinkChange::Break => {
                unreachable!("no server asks for that")
            }
        }
        Ok(())
    }

    /// A server sends on the link that it has with another one.
    fn send(&mut self, server: usize, to: ServerId, frame: &Wire<Subject>) -> Result<(), Fault> {
        let places = self.network.places;
        let end = places.open_end(server, places.server(to), |place| self.network.link(place));
        let Some((place, side)) = end else {
            let why = format!("server {} sends to {to} without a link", server + 1);
            return Err(Fault { rule: "world".to_owned(), why });
        };
        let at = other_side(side);
        for load in self.form.put(server_id(server), frame) {
            self.network.line_mut(place).link.change(&LinkChange::Send(side, load));
            if self.network.link(place).is_joined() {
                let due_at = self.network.arrival(place, at, self.agenda.now);
                let number = self.network.line(place).number;
                self.agenda.at(due_at, Due::Frame { place, at, number });
            }
        }
        Ok(())
    }

    /// Puts what a client is told on its connection.
    fn post(&mut self, server: usize, connection: u64, said: Said<Event>) -> Result<(), Fault> {
        self.tell(|| format!("server {} tells connection {connection}: {said:?}", server + 1));
        let node = &self.nodes[server];
        let host = &node.host;
        reading::told(&said, host.peer().is_read_only(), node.view.as_ref(), &mut self.coverage)?;
        self.coverage.met(if host.peer().is_read_only() {
            "answered-without-a-leader"
        } else if host.leads() {
            "answered-by-leader"
        } else if self.quorum.is_voter(host.id()) {
            "answered-by-follower"
        } else {
            "answered-by-observer"
        });
        self.send_down(connection, said);
        Ok(())
    }
}

pub(crate) fn other_side(side: Side) -> Side {
    match side {
        Side::Learner => Side::Leader,
        Side::Leader => Side::Learner,
    }
}

/// What a server would begin an election with.
fn offer<D: Storage<Subject>>(host: &Host<Subject, D>) -> Vote {
    let (epoch, last) = host.peer().zab().rank();
    Vote { epoch, zxid: Some(last), leader: host.id() }
}

/// The sessions that a leader has heard of with this.
fn heard_of(frame: &Wire<Subject>) -> Vec<SessionId> {
    match frame {
        Wire::Packet(Packet::Ping { touched, .. }) => touched.iter().map(|(session, _)| *session).collect(),
        Wire::Packet(Packet::Revalidate { session, .. }) => vec![*session],
        Wire::Packet(Packet::Zab(_) | Packet::Request(_) | Packet::Sync | Packet::Revalidated { .. })
        | Wire::Snapshot { .. } => Vec::new(),
    }
}
