//! All recordings of a run as one: which server takes its next step, and what comes of it for the others.
//!
//! Steps are merged by time, and what is received waits for what was sent; so any moment of the merged run is one that
//! the servers could have been in together, whatever their clocks say.

mod merge;
mod received;

use std::collections::{BTreeMap, BTreeSet};

use protocol::{
    Note, Role, Vote,
    peer::{ClientRequest, Input, Packet},
};
use recording::{Boot, Checkpoint, Record, TreeMark};
use spec::{Machine, ServerId, Zxid};
use storage::{RealDisk, Store};
use tree::{Text, Tree, Txn, TxnBody, Write};

use crate::{
    clients::Clients,
    expiry::Expiry,
    hollow::{Places, has_long_data, is_hollow},
    load::{self, Front, Source},
    network::{Got, Network, Sent, tell},
    ordered::Ordered,
    replica::{Disk, Replica, through},
    report::Report,
    rules::{Moment, Order, elected, judge_breach},
    server::{Server, may_have_led_unseen},
    sink::Effect,
    trace::Trace,
};

/// So many transactions are committed between two states of which a copy is kept.
const ANCHOR_EVERY: usize = 20_000;
/// So many copies are kept beside the empty state.
const ANCHORS_MAX: usize = 3;

/// The merged run.
pub(crate) struct Run {
    pub(crate) servers: Vec<Server>,
    network: Network,
    /// In which life of a server it joined a link.
    lives: BTreeMap<(usize, ServerId), u32>,
    pool: BTreeMap<Zxid, Txn>,
    places: Places,
    /// Transactions of which some data is in no log and no recording.
    hollow: BTreeSet<Zxid>,
    /// Transactions whose digest was computed from a state of which something is guessed.
    blurred: BTreeSet<Zxid>,
    anchors: Vec<(Zxid, Tree)>,
    anchored: usize,
    stores: Vec<Store<RealDisk>>,
    pub(crate) order: Order,
    ordered: Ordered,
    expiry: Expiry,
    pub(crate) clients: Clients,
    pub(crate) report: Report,
    trace: Option<Trace>,
}

impl Run {
    /// Of these recordings.
    pub(crate) fn new(mut sources: Vec<Source>, trace: Option<Trace>) -> Self {
        sources.sort_by_key(|source| source.id);
        let mut report = Report::default();
        if sources.iter().any(Source::starts_with_checkpoint) {
            let common = sources.iter().map(|source| source.at_us).max().unwrap_or(0);
            for source in &mut sources {
                source.skip_to(common);
            }
            report.not_judged("what came before the newest common point: a ring has turned over".to_owned());
        }
        let mut pool = BTreeMap::new();
        let stores: Vec<_> = sources.iter().flat_map(Source::stores).collect();
        for store in &stores {
            let txns = store.transactions(Zxid::ZERO, Zxid(u64::MAX)).unwrap_or_default();
            pool_log(&mut pool, txns, &mut report);
        }
        for source in &sources {
            source.pool(&mut pool);
            report.bytes += source.bytes;
        }
        let servers = sources.into_iter().map(Server::new);
        Self {
            servers: servers.collect(),
            network: Network::default(),
            lives: BTreeMap::new(),
            places: Places::of(&pool),
            hollow: BTreeSet::new(),
            blurred: BTreeSet::new(),
            pool,
            anchors: vec![(Zxid::ZERO, Tree::new())],
            anchored: 0,
            stores,
            order: Order::default(),
            ordered: Ordered::default(),
            expiry: Expiry::default(),
            clients: Clients::default(),
            report,
            trace,
        }
    }

    /// Runs to the end.
    pub(crate) fn judge(mut self) -> Report {
        while let Some(at) = self.next() {
            self.advance(at);
        }
        self.judge_moment();
        let whole = self.is_whole();
        self.clients.conclude(&self.order, &self.pool, whole, &mut self.report);
        self.order.conclude(&mut self.report);
        if let Some(trace) = self.trace.take()
            && let Err(error) = trace.finish()
        {
            self.report.not_judged(format!("the trace could not be written: {error:#}"));
        }
        self.report
    }

    /// Whether nothing of any server is missing.
    fn is_whole(&self) -> bool {
        let untorn = self.servers.iter().all(|server| server.torn.is_empty());
        untorn && self.report.not_judged.is_empty() && self.order.knows_every_voter(&self.servers)
    }

    fn advance(&mut self, at: usize) {
        match self.servers[at].source.front() {
            Front::End => return,
            Front::Gap => {
                self.servers[at].source.pass_gap();
                return self.lose(at, "a gap in its recording".to_owned());
            }
            Front::Record(_) => {}
        }
        let Some(record) = self.servers[at].source.take() else { return };
        match record {
            Record::Boot(boot) => self.boot(at, *boot),
            Record::Checkpoint(checkpoint) => self.checkpoint(at, *checkpoint),
            Record::Turn(_) => {}
            Record::Link(mark) => self.servers[at].mark = Some(mark),
            Record::Replaced(mark) => self.servers[at].replaced = Some(mark),
            Record::Adorn { replaced: true, text, time } => self.servers[at].adorn = Some((text, time)),
            Record::Adorn { replaced: false, text, time } => {
                if let Some(replica) = &mut self.servers[at].replica {
                    replica.tree.set_config(&text, Zxid::ZERO, time);
                }
            }
            Record::Told(short) => self.compare_told(at, short),
            Record::State { last, digest } => self.compare_state(at, last, digest),
            Record::End => self.servers[at].ended = true,
            Record::Brief(from, brief) => self.received(at, from, Got::Brief(brief), 0),
            Record::Write { client, xid } => {
                let nothing = Write::Delete { path: Text::from_static("/"), version: -1 };
                let request = ClientRequest::Write(nothing);
                self.step(at, Input::ClientRequest { client, xid, request, time: 0 });
            }
            Record::Input(input) => match *input {
                Input::Packet { from, packet, time } => self.received(at, from, Got::Packet(packet), time),
                Input::Snapshot { from, zxid } => self.received(at, from, Got::Snapshot(zxid), 0),
                other => self.input(at, other),
            },
        }
    }

    /// Nothing of this life of a server can be judged any more.
    fn lose(&mut self, at: usize, why: String) {
        self.expiry.forget(self.servers[at].id);
        let server = &mut self.servers[at];
        if let Some(replica) = server.replica.take() {
            self.report.not_judged(format!(
                "server {} from {} on: {why}",
                server.id,
                replica.tree.last_processed()
            ));
            server.disk = replica.disk;
        }
        server.disk.guessed = true;
        server.lost = true;
        self.order.lose_sight();
        server.open_end = true;
        server.end_life();
    }

    fn breach(&mut self, at: usize, rule: &'static str, why: String) {
        let (id, at_us) = (self.servers[at].id, self.servers[at].source.at_us);
        self.report.breach(rule, id, at_us, why);
    }

    fn boot(&mut self, at: usize, boot: Boot) {
        self.servers[at].replica = None;
        self.expiry.forget(self.servers[at].id);
        let server = &mut self.servers[at];
        let mut before = std::mem::take(&mut server.disk);
        server.found(boot.recovered.current);
        self.order.bridge(&mut before, boot.recovered.base, &self.pool);
        let open_end = server.open_end;
        (server.begun, server.lost, server.mark, server.replaced, server.adorn) =
            (true, false, None, None, None);
        self.report.starts += 1;
        let mut after = before.clone();
        after.recovered(&boot.recovered);
        let Some((tree, as_known)) = self.load(at, &after, boot.tree) else {
            self.servers[at].unseen.push((after.current, None));
            self.servers[at].disk = after;
            return self.report.not_judged(format!(
                "a life of server {}: the state at {} that it starts from is not to be had",
                self.servers[at].id, boot.tree.last
            ));
        };
        before.guessed &= !as_known;
        let booted = Replica::boot(&boot, before.clone(), tree, open_end);
        let (replica, effects) = match booted {
            Ok(booted) => booted,
            Err(panic) => return self.breach(at, "J-4", format!("the start: {panic}")),
        };
        if !before.durable.is_empty() {
            let id = self.servers[at].id;
            let mut kept = replica.disk.clone();
            kept.durable.clone_from(&kept.logged);
            let view = kept.view(id, boot.config.zab.quorum.is_voter(id), crate::window::Cut(Zxid::ZERO));
            let at_us = self.servers[at].source.at_us;
            self.order.judge_change(&before, &view, &kept, &mut self.report, at_us);
        }
        self.servers[at].replica = Some(replica);
        self.servers[at].open_end = false;
        self.follow(at, "starts".to_owned(), effects);
        self.judge_moment();
    }

    fn checkpoint(&mut self, at: usize, checkpoint: Checkpoint) {
        if self.servers[at].replica.is_some() {
            // It is told again from further back, and goes on; what was recorded must be what that came to.
            let same = self.servers[at]
                .replica
                .as_ref()
                .is_some_and(|replica| replica.peer == checkpoint.peer || replica.guessed);
            if !same {
                self.breach(
                    at,
                    "J-1",
                    "the checkpoint's actor is another than the one told again".to_owned(),
                );
            }
            return;
        }
        let id = checkpoint.config.zab.me;
        let mark = checkpoint.tree;
        let links = checkpoint.links.clone();
        let sketch = Disk { base: checkpoint.peer.zab().history().base(), ..Disk::default() };
        let loaded = self.load_exactly(&sketch, mark);
        let Some(tree) = loaded else {
            return self.report.not_judged(format!(
                "server {id} from a checkpoint on: its state at {} is not to be had",
                mark.last
            ));
        };
        self.anchors.push((mark.last, tree.clone()));
        let replica = Replica::resume(checkpoint, tree);
        self.order.resume(&replica);
        self.expiry.note_leader(&replica, false);
        let server = &mut self.servers[at];
        server.begun = true;
        server.replica = Some(replica);
        for link in links {
            let place = self.network.join(id, link, true);
            self.lives.insert((place, id), self.servers[at].life);
            self.servers[at].links.insert(link.peer, place);
        }
        self.judge_moment();
    }

    /// The state that a server has loaded: made anew from what is known of its history, or read from a data folder; and
    /// whether it was the first.
    fn load(&mut self, at: usize, disk: &Disk, mark: TreeMark) -> Option<(Tree, bool)> {
        if let Some(tree) = self.made(disk, mark.last) {
            let made = TreeMark::of(&tree);
            if made == mark {
                return Some((tree, true));
            }
            if !self.placeholders(disk) && !disk.guessed {
                self.breach(
                    at,
                    "J-2",
                    format!("the state that is loaded is {mark:?}, and what is logged makes {made:?}"),
                );
                return None;
            }
        }
        self.report.untested("J-2");
        if disk.guessed {
            // What was inferred of its history is wrong, or not enough.
            self.order.lose_sight();
            let id = self.servers[at].id;
            self.report
                .not_judged(format!("what is committed, behind the state at {} of server {id}", mark.last));
        }
        self.load_exactly(disk, mark).map(|tree| (tree, false))
    }

    fn load_exactly(&self, disk: &Disk, mark: TreeMark) -> Option<Tree> {
        let fits = |tree: &Tree| TreeMark::of(tree) == mark;
        let made = self.made(disk, mark.last).filter(fits);
        made.or_else(|| load::state_at(&self.stores, mark.last).filter(fits))
    }

    /// Whether nothing but the name of some transaction of this history is known.
    fn placeholders(&self, disk: &Disk) -> bool {
        disk.logged.iter().any(|entry| !self.pool.contains_key(&entry.zxid))
    }

    /// The state behind `last` of this history, from the latest copy that belongs to it.
    fn made(&self, disk: &Disk, last: Zxid) -> Option<Tree> {
        let belongs = |zxid: Zxid| {
            zxid == disk.base || disk.logged.binary_search_by_key(&zxid, |entry| entry.zxid).is_ok()
        };
        let anchors = self.anchors.iter().filter(|(zxid, _)| *zxid <= last && belongs(*zxid));
        let (from, tree) = anchors.max_by_key(|(zxid, _)| *zxid)?;
        let mut tree = tree.clone();
        let mut watches = <Tree as Machine>::Watches::default();
        for entry in through(&disk.logged, last).iter().filter(|entry| entry.zxid > *from) {
            tree.apply(entry.zxid, self.pool.get(&entry.zxid)?, &mut watches, &mut |_, _| {});
        }
        (tree.last_processed() == last).then_some(tree)
    }

    fn compare_told(&mut self, at: usize, short: u32) {
        let Some(replica) = &self.servers[at].replica else { return };
        let differs = replica.told.short() != short;
        if differs && replica.guessed {
            self.lose(at, "it was told of a transaction that nobody has recorded whole".to_owned());
        } else if differs {
            let last = self.report.last_input(self.servers[at].id);
            self.breach(at, "J-1", format!("the server asked for something else than its actor does when told the same; last it was told: {last}"));
            self.lose(at, "it differs from its actor".to_owned());
        } else {
            self.report.tested("J-1");
        }
    }

    fn compare_state(&mut self, at: usize, last: Zxid, digest: i64) {
        let Some(replica) = &self.servers[at].replica else { return };
        let (there, made) = (replica.tree.last_processed(), replica.tree.digest());
        if replica.tainted {
            return;
        }
        if (there, made) == (last, digest) {
            self.report.tested("J-2");
        } else {
            self.breach(at, "J-2", format!("the server's state is {last} with digest {digest:x}, told again it is {there} with {made:x}"));
            self.lose(at, "its state differs".to_owned());
        }
    }

    fn input(&mut self, at: usize, mut input: Input<Tree>) {
        let me = self.servers[at].id;
        let Some(replica) = &self.servers[at].replica else { return };
        self.places.fill(&self.pool, replica, &mut input);
        match &input {
            Input::Connected(peer) | Input::Accepted(peer) => {
                if let Some(mark) = self.servers[at].mark.take() {
                    let place = self.network.join(me, mark, false);
                    self.lives.insert((place, me), self.servers[at].life);
                    self.servers[at].links.insert(*peer, place);
                }
            }
            Input::Disconnected(peer) => self.servers[at].unlink(*peer),
            Input::Snapshot { zxid, .. } => {
                let disk = self.servers[at].replica.as_ref().map(|replica| Disk {
                    logged: replica.received.0.clone(),
                    guessed: replica.received.1,
                    base: self.order.base(),
                    ..Disk::default()
                });
                if !disk.is_some_and(|disk| self.replace(at, &disk, *zxid)) {
                    return;
                }
            }
            Input::Reloaded(recovered) => {
                let disk = self.servers[at].replica.as_ref().map(|replica| {
                    let mut disk = replica.disk.clone();
                    disk.recovered(recovered);
                    disk
                });
                if !disk.is_some_and(|disk| self.replace(at, &disk, recovered.last)) {
                    return;
                }
            }
            _ => {}
        }
        self.step(at, input);
    }

    /// Puts the state of this history in the place of the one there is.
    fn replace(&mut self, at: usize, disk: &Disk, last: Zxid) -> bool {
        let Some(mark) = self.servers[at].replaced.take() else {
            self.lose(at, "a state took the place of another, and is not recorded".to_owned());
            return false;
        };
        if mark.last != last {
            self.breach(
                at,
                "J-2",
                format!("the state at {} takes the place of another, and {last} is told", mark.last),
            );
        }
        let Some((mut tree, as_known)) = self.load(at, disk, mark) else {
            self.lose(at, format!("the state at {last} that it has loaded is not to be had"));
            return false;
        };
        let adorn = self.servers[at].adorn.take();
        if let Some((text, time)) = adorn {
            tree.set_config(&text, Zxid::ZERO, time);
        }
        if let Some(replica) = &mut self.servers[at].replica {
            replica.tree = tree;
            replica.disk.guessed = disk.guessed && !as_known;
        }
        true
    }

    fn step(&mut self, at: usize, input: Input<Tree>) {
        let (id, at_us) = (self.servers[at].id, self.servers[at].source.at_us);
        let Some(replica) = &mut self.servers[at].replica else { return };
        let text = tell_input(&input);
        self.clients.told(id, &input);
        self.expiry.told(replica, &input);
        let before = Moment::of(replica);
        let processed = replica.tree.last_processed();
        let disk = replica.may_shrink(&input).then(|| replica.disk.clone());
        match replica.step(input) {
            Ok(effects) => {
                if let Some(disk) = disk {
                    let view = replica.light_view(crate::window::Cut(Zxid::ZERO));
                    self.order.judge_change(&disk, &view, &replica.disk, &mut self.report, at_us);
                }
                self.report.inputs += 1;
                self.report.was_told(id, &text);
                let changed = Moment::of(replica) != before;
                self.expiry.note_leader(replica, true);
                self.taint(at, processed);
                self.follow(at, text, effects);
                if changed || self.order.is_due() {
                    self.judge_moment();
                }
            }
            Err(panic) => {
                self.breach(at, "J-4", format!("told {text}, the actor fails: {panic}"));
                self.lose(at, "its actor fails".to_owned());
            }
        }
    }

    /// A server whose state holds a transaction of which some data is nowhere to be had has, told again, another state.
    fn taint(&mut self, at: usize, before: Zxid) {
        let Some(replica) = &mut self.servers[at].replica else { return };
        let last = replica.tree.last_processed();
        if last <= before {
            return;
        }
        let hollow = self.hollow.range(before..=last).find(|zxid| **zxid > before);
        if let Some(zxid) = hollow.filter(|_| !replica.tainted) {
            replica.tainted = true;
            self.report.not_judged(format!(
                "the state of server {} from {zxid} on: what is written there is in no log",
                replica.id
            ));
        }
    }

    /// What a step means for links, the record of the run and clients.
    fn follow(&mut self, at: usize, text: String, effects: Vec<Effect>) {
        let (me, at_us) = (self.servers[at].id, self.servers[at].source.at_us);
        if let (Some(trace), Some(replica)) = (&mut self.trace, &self.servers[at].replica) {
            trace.step(me, at_us, &text, &effects, replica);
        }
        for effect in &effects {
            if let (Effect::Note(Note::Established { epoch }), Some(replica)) =
                (effect, &self.servers[at].replica)
            {
                let may_be_lost = |epoch| may_have_led_unseen(&self.servers, epoch);
                self.order.believe_reigns(&replica.disk.logged, may_be_lost, &mut self.report);
                self.order.establish(*epoch, me, &replica.disk.logged, &mut self.report);
            }
        }
        let Some(replica) = &self.servers[at].replica else { return };
        let leads = matches!(replica.peer.zab().role(), Some((Role::Leading, _)));
        if leads && replica.peer.is_serving() {
            let held = replica.delivered();
            if held > self.order.last() {
                let history = through(&replica.disk.logged, held);
                self.order.commit(me, history, &mut self.report);
            }
        }
        for effect in effects {
            self.effect(at, me, effect, at_us);
        }
        self.keep_promise(at);
        self.follow_order();
        let Some(replica) = &self.servers[at].replica else { return };
        if !self.order.is_blind() {
            self.ordered.begin(replica, self.order.last());
        }
        self.order.note_state(replica, &mut self.report, at_us);
        self.keep_anchor(at);
    }

    /// Makes the state behind what is committed.
    fn follow_order(&mut self) {
        self.order.note_closes(&self.pool);
        if self.order.is_blind() {
            return self.ordered.forget();
        }
        let made = self.ordered.follow(&self.order.committed, &self.pool, &self.hollow, &mut self.report);
        self.order.expect_states(made);
    }

    fn effect(&mut self, at: usize, me: ServerId, effect: Effect, at_us: u64) {
        let Some(replica) = &self.servers[at].replica else { return };
        let link = |servers: &[Server], to: &ServerId| servers[at].links.get(to).copied();
        match effect {
            Effect::Send(to, packet) => {
                if let Packet::Zab(message) = &packet
                    && let Some(claim) = message.claim()
                {
                    self.order.judge_claim(replica, claim, &mut self.report, at_us);
                }
                if let Some(link) = link(&self.servers, &to) {
                    self.network.send(link, me, Sent::Packet(packet));
                }
            }
            Effect::Snapshot(to, last) => {
                let history = through(&replica.disk.logged, last).to_vec();
                if let Some(link) = link(&self.servers, &to) {
                    let guessed = replica.disk.guessed;
                    self.network.send(link, me, Sent::Snapshot { last, history, guessed });
                }
            }
            Effect::Log(to, after, through) => {
                if let Some(link) = link(&self.servers, &to) {
                    self.network.send(link, me, Sent::Log { after, through });
                }
            }
            Effect::Dial(peer) | Effect::Close(peer) => self.servers[at].unlink(peer),
            Effect::Append(_, zxid, txn) => {
                if matches!(txn.body, TxnBody::CreateSession { .. }) {
                    // A leader proposes it when it is asked.
                    self.expiry.granted(me, txn.session);
                }
                self.logs(at, zxid, &txn);
            }
            Effect::Note(note) => self.note(at, note, at_us),
            Effect::Vote(_, word) => {
                // One that was at it already when the recording begins.
                if let Some(offer) = replica.peer.election().offer() {
                    self.order.offers(offer);
                }
                let named = word.vote.leader;
                let known =
                    self.goes_on(named) && self.server(named).is_some_and(|server| server.torn.is_empty());
                self.order.vote(me, word, known, &mut self.report, at_us);
            }
            Effect::Role(Some(role), ..) => {
                elected(me, role, &replica.config.zab.quorum, &mut self.report, at_us);
            }
            Effect::Exit(why) => self.breach(at, "R-5", format!("the server gives up: {why:?}")),
            Effect::Session { session, .. } => {
                self.expiry.granted(me, session);
                self.clients.shown(me, &effect, &self.order, &mut self.report, at_us);
            }
            Effect::Reply { .. } | Effect::Event { .. } | Effect::Gone(_) => {
                self.clients.shown(me, &effect, &self.order, &mut self.report, at_us);
            }
            Effect::Truncate(..)
            | Effect::SyncLog(_)
            | Effect::Accepted(..)
            | Effect::Current(..)
            | Effect::Store(..)
            | Effect::Locate(_)
            | Effect::Reload
            | Effect::Role(None, ..)
            | Effect::Timer(..) => {}
        }
    }

    /// A server logs a transaction: I-4, everywhere the same one has its place.
    fn logs(&mut self, at: usize, zxid: Zxid, txn: &Txn) {
        let Some(replica) = &mut self.servers[at].replica else { return };
        let known = self.pool.get(&zxid);
        if known == Some(txn) {
            return;
        }
        if (replica.guessed || self.blurred.contains(&zxid))
            && known.is_some_and(|known| *known == Txn { digest: known.digest, ..txn.clone() })
        {
            // Whoever hears of it has it like that in its history.
            replica.guessed = true;
            self.blurred.insert(zxid);
            return;
        }
        // A leader whose state is not the real one proposes other contents than it did, and they are told so.
        if self.hollow.contains(&zxid)
            || (replica.tainted && known.is_some())
            || is_hollow(&txn.body)
            || (known.is_some() && has_long_data(&txn.body) && self.places.is_ambiguous(txn))
        {
            self.hollow.insert(zxid);
            replica.guessed = true;
        } else if known.is_none() {
            let digest = txn.digest.filter(|_| !replica.guessed);
            if digest != txn.digest {
                self.blurred.insert(zxid);
            }
            self.pool.insert(zxid, Txn { digest, ..txn.clone() });
        } else {
            self.breach(at, "I-4", format!("{zxid} is logged with another content than elsewhere"));
        }
    }

    fn note(&mut self, at: usize, note: Note, at_us: u64) {
        let Some(replica) = &self.servers[at].replica else { return };
        match note {
            Note::Dropped { violation, peer } => {
                judge_breach(replica, peer, violation, &mut self.report, at_us);
            }
            Note::SessionExpired { session } => {
                self.expiry.expired(replica, session, &mut self.report, at_us);
            }
            Note::Looking { last } => {
                let (epoch, _) = replica.peer.zab().rank();
                self.order.offers(Vote { epoch, zxid: Some(last), leader: replica.id });
                let claim = spec::Claim::Vote { current: epoch, last };
                self.order.judge_claim(replica, claim, &mut self.report, at_us);
            }
            _ => {}
        }
    }

    /// Keeps a copy of a committed state now and then, from which others are made.
    fn keep_anchor(&mut self, at: usize) {
        if self.order.committed.len() < self.anchored + ANCHOR_EVERY {
            return;
        }
        let Some(replica) = &self.servers[at].replica else { return };
        let last = replica.tree.last_processed();
        let committed = self.order.committed.binary_search_by_key(&last, |entry| entry.zxid).is_ok();
        if committed && !replica.tainted && !replica.stale {
            self.anchored = self.order.committed.len();
            self.anchors.push((last, replica.tree.clone()));
            if self.anchors.len() > ANCHORS_MAX + 1 {
                self.anchors.remove(1);
            }
        }
    }

    /// Puts every rule about a moment to the servers as they stand.
    fn judge_moment(&mut self) {
        let Self { servers, order, report, .. } = self;
        if servers.iter().all(|server| server.begun) {
            let at_us = servers.iter().map(|server| server.source.at_us).max().unwrap_or(0);
            order.judge_moment(servers, report, at_us);
        }
    }
}

/// Adds what a log holds to what is known: I-4, of what stands on disks.
fn pool_log(pool: &mut BTreeMap<Zxid, Txn>, txns: Vec<(Zxid, Txn)>, report: &mut Report) {
    for (zxid, txn) in txns {
        if let Some(known) = pool.get(&zxid)
            && *known != (Txn { digest: known.digest, ..txn.clone() })
        {
            report.breach("I-4", ServerId(0), 0, format!("two logs have another content each at {zxid}"));
        }
        pool.insert(zxid, txn);
    }
}

/// An input for a reader, without content.
pub(crate) fn tell_input(input: &Input<Tree>) -> String {
    match input {
        Input::Packet { from, packet, .. } => format!("{} from {from}", tell(packet)),
        Input::ClientRequest { client, xid, .. } => format!("request {xid} of client {}", client.0),
        Input::ClientConnect { client, session, .. } => {
            format!("client {} connects, session {session}", client.0)
        }
        Input::Reloaded(found) => format!("the state is reloaded through {}", found.last),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use spec::{Epoch, SessionId};
    use tree::TxnBody;

    use super::*;

    fn logs(codes: [i32; 2], digests: [Option<i64>; 2]) -> Report {
        let (mut pool, mut report) = (BTreeMap::new(), Report::default());
        for (code, digest) in codes.into_iter().zip(digests) {
            let digest = digest.map(|tree| tree::TxnDigest { version: 2, tree });
            let body = TxnBody::Error { code };
            let txn = Txn { session: SessionId(7), cxid: 1, time: 5, body, digest };
            pool_log(&mut pool, vec![(Zxid::new(Epoch(1), 1), txn)], &mut report);
        }
        report
    }

    #[test]
    fn two_logs_agree_on_what_stands_at_a_place() {
        assert!(logs([-101, -101], [None, None]).breaches.is_empty());
        assert!(logs([-101, -101], [Some(5), None]).breaches.is_empty(), "who tells no digest");
        let breaches = logs([-101, -110], [None, None]).breaches;
        assert_eq!(breaches.iter().map(|breach| breach.rule).collect::<Vec<_>>(), ["I-4"]);
    }
}
