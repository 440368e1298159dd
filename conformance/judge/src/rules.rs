//! The rules of `spec`, put to the merged run.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use protocol::{Notification, Quorum, Role, ServerState, Violation, Vote, election::outranks};
use spec::{
    Check, Claim, Entry, Epoch, History, Machine, Record, ServerId, ServerView, SessionId, Verdict, Zxid,
    election::{is_strict_total_order, leader_votes, vote_was_offered},
    rule,
    session::{closed_own_nothing, owners_are_open, tables_agree},
};
use tree::Txn;

use crate::{
    replica::{Disk, Replica, closes, entry, through},
    report::Report,
    server::Server,
    window::Cut,
};

/// So many committed transactions stand in front of the last one in the stretch that rules are put to.
const STRETCH: usize = 48;
/// So many are committed between two moments that are judged, if nothing else changes.
const EVERY: usize = 16;
/// So many sessions that are closed are kept in mind.
const CLOSED_MAX: usize = 64;
/// So many votes are compared with each other.
const VOTES_MAX: usize = 24;

/// Stands for a leader of which nobody has told.
const UNKNOWN: ServerId = ServerId(0);

/// What a server is at: a change of it is a moment worth judging.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Moment {
    role: Option<(Role, Epoch)>,
    serving: bool,
    past_discovery: bool,
    joined: Option<Epoch>,
    epochs: (Epoch, Epoch),
    stale: bool,
}

impl Moment {
    pub(crate) fn of(replica: &Replica) -> Self {
        let zab = replica.peer.zab();
        Self {
            role: zab.role(),
            serving: zab.is_serving(),
            past_discovery: zab.is_past_discovery(),
            joined: zab.joined(),
            epochs: (zab.accepted(), zab.current()),
            stale: replica.stale,
        }
    }
}

/// The digest of the state behind a place.
#[derive(Clone, Copy, Debug)]
struct Known {
    digest: i64,
    /// The server that alone has told of it; none if the judge or two servers have come to it.
    by: Option<ServerId>,
}

/// A reign, by places in the committed order.
#[derive(Clone, Copy, Debug)]
struct Reign {
    epoch: Epoch,
    leader: ServerId,
    /// The last transaction of its initial history.
    initial: Zxid,
    /// The last transaction that was committed before.
    before: Zxid,
}

/// What outlives the servers.
#[derive(Debug, Default)]
pub(crate) struct Order {
    /// What leaders have decided.
    pub(crate) committed: Vec<Entry>,
    reigns: Vec<Reign>,
    judged: usize,
    moments: usize,
    digests: BTreeMap<Zxid, Known>,
    /// The place at which the state of each server was compared last.
    compared: BTreeMap<ServerId, Zxid>,
    offered: BTreeMap<ServerId, BTreeSet<Vote>>,
    /// Everything at or before this is taken for common.
    base: Zxid,
    /// How much was committed when a server was lost sight of: what leaders have decided since may not be known.
    seen: Option<usize>,
    /// The sessions that were closed last.
    closed: Vec<(SessionId, Zxid)>,
    /// How many of the committed were looked at for that.
    closes_known: usize,
    quorum: Option<Quorum>,
}

/// The run at one moment, behind a cut.
struct Stretch<'a> {
    servers: Vec<ServerView>,
    record: Record,
    quorum: &'a Quorum,
}

impl History for Stretch<'_> {
    fn servers(&self) -> Vec<ServerView> {
        self.servers.clone()
    }

    fn record(&self) -> &Record {
        &self.record
    }

    fn decides(&self, servers: &BTreeSet<ServerId>) -> bool {
        self.quorum.decides(servers)
    }
}

/// The transaction before this one, by number.
fn just_before(zxid: Zxid) -> Zxid {
    Zxid(zxid.0.saturating_sub(1))
}

impl Order {
    /// The last transaction that is committed.
    pub(crate) fn last(&self) -> Zxid {
        self.committed.last().map_or(Zxid::ZERO, |entry| entry.zxid)
    }

    /// What stands before everything that is known.
    pub(crate) fn base(&self) -> Zxid {
        self.base
    }

    /// The last transaction that the first leader of the run began with.
    pub(crate) fn begins(&self) -> Zxid {
        self.reigns.first().map_or(Zxid::ZERO, |reign| reign.initial)
    }

    /// A server is lost sight of.
    pub(crate) fn lose_sight(&mut self) {
        self.seen.get_or_insert(self.committed.len());
    }

    /// Whether what leaders have decided may not be known.
    pub(crate) fn is_blind(&self) -> bool {
        self.seen.is_some()
    }

    /// Whether these are a quorum, or nobody knows what one is.
    pub(crate) fn decides(&self, servers: &BTreeSet<ServerId>) -> bool {
        self.quorum.as_ref().is_none_or(|quorum| quorum.decides(servers))
    }

    /// Whether every voter is among these.
    pub(crate) fn knows_every_voter(&self, servers: &[Server]) -> bool {
        let known = |voter: ServerId| servers.iter().any(|server| server.id == voter);
        self.quorum.as_ref().is_some_and(|quorum| quorum.voters().all(known))
    }

    /// Takes down which sessions are closed by what has come to be committed.
    pub(crate) fn note_closes(&mut self, pool: &BTreeMap<Zxid, Txn>) {
        let known = self.closes_known.min(self.committed.len());
        for entry in &self.committed[known..] {
            if let Some(txn) = pool.get(&entry.zxid).filter(|txn| closes(txn)) {
                self.closed.push((txn.session, entry.zxid));
            }
        }
        self.closes_known = self.committed.len();
        let many = self.closed.len().saturating_sub(CLOSED_MAX);
        self.closed.drain(..many);
    }

    /// Whether enough was committed since a moment was judged.
    pub(crate) fn is_due(&self) -> bool {
        self.committed.len() >= self.judged + EVERY
    }

    /// Whether this place shows nothing that is not committed.
    pub(crate) fn is_committed(&self, zxid: Zxid) -> bool {
        let first = self.committed.first().map_or(Zxid::ZERO, |entry| entry.zxid);
        zxid < first || self.committed.binary_search_by_key(&zxid, |entry| entry.zxid).is_ok()
    }

    /// A server goes on from a checkpoint: what it holds for committed is.
    pub(crate) fn resume(&mut self, replica: &Replica) {
        self.base = self.base.max(replica.disk.base);
        let held = through(&replica.disk.logged, replica.delivered());
        if self.committed.is_empty() {
            self.committed = held.to_vec();
        }
        let Some((role, epoch)) = replica.peer.zab().role() else { return };
        let leader = role.leader().unwrap_or(replica.id);
        if replica.peer.is_serving() && !self.reigns.iter().any(|reign| reign.epoch == epoch) {
            let last = self.last();
            self.reigns.push(Reign { epoch, leader, initial: last, before: last });
        }
    }

    /// A leader holds all of this for committed.
    pub(crate) fn commit(&mut self, leader: ServerId, held: &[Entry], report: &mut Report) {
        let start = held.partition_point(|entry| entry.zxid <= self.last());
        let more = &held[start..];
        // What is old was compared when it was committed, but for its end.
        let before = start.checked_sub(1).map(|at| held[at]).filter(|before| before.zxid > self.base);
        if let Some(before) = before
            && !self.is_blind()
            && self.committed.binary_search(&before).is_err()
        {
            report.breach(
                "CommittedLogMonotonicity",
                leader,
                0,
                format!("{} is held for committed, and something else was committed there", before.zxid),
            );
        }
        if !self.is_blind() && !more.is_empty() && before.is_some_and(|before| before.zxid < self.last()) {
            report.breach(
                "CommittedLogMonotonicity",
                leader,
                0,
                format!("{} is committed, which its leader has not", self.last()),
            );
        }
        self.committed.extend_from_slice(more);
    }

    /// A leader has its NEWLEADER quorum.
    pub(crate) fn establish(
        &mut self,
        epoch: Epoch,
        leader: ServerId,
        initial: &[Entry],
        report: &mut Report,
    ) {
        if self.reigns.is_empty() && self.committed.is_empty() {
            // What a run starts with.
            self.committed = initial.to_vec();
        }
        let last = initial.last().map_or(Zxid::ZERO, |entry| entry.zxid);
        // Of an epoch of which nobody has told that it is established, something may be known to be committed already.
        let earlier = through(&self.committed, Zxid::new(epoch, 0));
        let before = earlier.last().map_or(Zxid::ZERO, |entry| entry.zxid);
        let committed = &earlier[earlier.partition_point(|entry| entry.zxid <= self.base)..];
        let own = &initial[initial.partition_point(|entry| entry.zxid <= self.base)..];
        let superseded = self.reigns.iter().any(|reign| reign.epoch > epoch);
        if !self.is_blind() && !own.starts_with(committed) && !superseded {
            let same = own.iter().zip(committed).take_while(|(one, other)| one == other).count();
            let lacks = committed.get(same).map_or(Zxid::ZERO, |entry| entry.zxid);
            report.breach(
                "I-8",
                leader,
                0,
                format!("epoch {epoch} is established without {lacks}, which is committed"),
            );
        }
        if self.is_blind() || superseded {
            report.untested("I-8");
        } else {
            report.tested("I-8");
        }
        self.reigns.push(Reign { epoch, leader, initial: last, before });
        self.commit(leader, initial, report);
        report.reigns += 1;
    }

    /// Whether this leader has this reign.
    pub(crate) fn reigns(&self, leader: ServerId, epoch: Epoch) -> bool {
        self.reigns.iter().any(|reign| reign.epoch == epoch && reign.leader == leader)
    }

    /// A transaction is committed, of which alone something is known: whether it is the next one.
    pub(crate) fn commit_next(&mut self, next: Entry) -> bool {
        let last = self.last();
        let begins = |reign: &Reign| reign.epoch == next.zxid.epoch() && reign.initial == last;
        let follows =
            next.zxid.follows(last) && (next.zxid.epoch() == last.epoch() || self.reigns.iter().any(begins));
        if follows {
            self.committed.push(next);
        }
        follows
    }

    /// A leader whose recording has lost its end says that its epoch is established.
    pub(crate) fn establish_unseen(
        &mut self,
        epoch: Epoch,
        leader: ServerId,
        initial: &[Entry],
        report: &mut Report,
    ) {
        let believed = |reign: &&mut Reign| reign.epoch == epoch && reign.leader == UNKNOWN;
        if let Some(reign) = self.reigns.iter_mut().find(believed) {
            reign.leader = leader;
        } else if !self.reigns(leader, epoch) {
            self.establish(epoch, leader, initial, report);
        }
    }

    /// A server has lost the end of its recording, and recovers more than is known of it: what stands between is what
    /// was committed there, or, as far as nobody knows of that, what logs hold. The digest of its state shows whether
    /// that is so.
    pub(crate) fn bridge(&self, disk: &mut Disk, base: Zxid, pool: &BTreeMap<Zxid, Txn>) {
        let last = disk.logged.last().map_or(disk.base, |last| last.zxid);
        if base <= last {
            return;
        }
        disk.guessed = true;
        if self.committed.binary_search_by_key(&base, |entry| entry.zxid).is_ok() {
            // A state that it received may have taken the place of what it had logged and nobody committed.
            let before = through(&self.committed, base);
            disk.logged = before[before.partition_point(|entry| entry.zxid <= disk.base)..].to_vec();
        } else if pool.contains_key(&base) && (last == disk.base || pool.contains_key(&last)) {
            let between = pool.range((Bound::Excluded(last), Bound::Included(base)));
            let between: Vec<Entry> = between.map(|(zxid, txn)| entry(*zxid, txn)).collect();
            let places = std::iter::once(last).chain(between.iter().map(|entry| entry.zxid));
            if places.zip(&between).all(|(before, entry)| entry.zxid.follows(before)) {
                disk.logged.extend(between);
            }
        }
    }

    /// Transactions of epochs that nobody is known to have established, of those whose leader may have lost that end of
    /// its recording: they were, for their leaders have broadcast. Nothing else is left of them when all who heard of it
    /// have lost the ends of theirs.
    pub(crate) fn believe_reigns(
        &mut self,
        history: &[Entry],
        may_be_lost: impl Fn(Epoch) -> bool,
        report: &mut Report,
    ) {
        let Some(mut last) = self.reigns.first().map(|reign| reign.epoch) else { return };
        loop {
            let start = history.partition_point(|entry| entry.zxid.epoch() <= last);
            let Some(first) = history.get(start) else { return };
            last = first.zxid.epoch();
            if self.reigns.iter().any(|reign| reign.epoch == last) || !may_be_lost(last) {
                continue;
            }
            let initial = &history[..start];
            let held = initial.last().map_or(Zxid::ZERO, |entry| entry.zxid);
            let before = self.last().min(held);
            self.reigns.push(Reign { epoch: last, leader: UNKNOWN, initial: held, before });
            self.commit(UNKNOWN, initial, report);
        }
    }

    fn record(&self, cut: Cut) -> Record {
        let part = |last| cut.entries(through(&self.committed, last));
        let start = self.reigns.first().map_or(self.last(), |reign| reign.before);
        let mut record = Record::starting_with(part(start));
        for reign in &self.reigns {
            record.commit(reign.leader, &part(reign.before));
            record.establish(reign.epoch, reign.leader, &part(reign.initial));
        }
        if let Some(reign) = self.reigns.last() {
            record.commit(reign.leader, &part(self.last()));
        }
        record
    }

    fn cut(&self) -> Cut {
        let place = self.committed.len().checked_sub(STRETCH + 1);
        Cut(place.map_or(Zxid::ZERO, |place| self.committed[place].zxid).max(self.base))
    }

    /// Puts every rule about a moment to the servers.
    pub(crate) fn judge_moment(&mut self, servers: &[Server], report: &mut Report, at_us: u64) {
        self.judged = self.committed.len();
        self.moments += 1;
        report.moments += 1;
        for server in servers {
            if let Some(replica) = &server.replica {
                self.base = self.base.max(replica.disk.base);
                self.quorum.get_or_insert_with(|| replica.config.zab.quorum.clone());
            }
        }
        let Some(quorum) = self.quorum.clone() else { return };
        let cut = self.cut();
        let known = |voter| servers.iter().any(|server| server.id == voter);
        let all_known = servers.iter().all(|server| !server.lost) && quorum.voters().all(known);
        let views = servers.iter().filter(|server| !server.lost).map(|server| {
            if let Some(replica) = &server.replica {
                return replica.view(cut, self.expected(replica));
            }
            let mut view = server.disk.view(server.id, quorum.is_voter(server.id), cut);
            if server.open_end {
                // What it had said before is taken for true: no rule is broken for what is not known.
                view.durable = cut.entries(&self.committed);
                view.logged.clone_from(&view.durable);
            }
            view
        });
        let stretch = Stretch { servers: views.collect(), record: self.record(cut), quorum: &quorum };
        let all_compared = servers
            .iter()
            .filter_map(|server| server.replica.as_ref().filter(|_| !server.lost))
            .all(|replica| self.expected(replica).is_some());
        for rule in rule::all() {
            let of_record =
                matches!(rule.check, Check::Quorum(_) | Check::ServerAndRecord(_) | Check::Record(_));
            // Before the first reign that is known, nothing says what of an observer's log is committed.
            let of_past = rule.id == "ObserverLogsCommitted" && self.reigns.is_empty();
            // That a disk recovers is taken for granted where it is described: a start that is refused is not recorded.
            let of_start = rule.id == "R-5";
            if (of_record && (self.is_blind() || !all_known)) || of_past || of_start {
                report.untested(rule.id);
                continue;
            }
            match rule.judge(&stretch) {
                Verdict::Silent => {}
                // A state of which nothing is known is shown as what it should be, and agrees with itself.
                Verdict::Holds if rule.id == "R-7" && !all_compared => report.untested(rule.id),
                Verdict::Holds => report.tested(rule.id),
                Verdict::Broken => {
                    let who = servers.first().map_or(ServerId(0), |server| server.id);
                    let why = format!("{}; behind {}: {}", rule.statement, cut.0, tell(&stretch));
                    report.breach(rule.id, who, at_us, why);
                }
            }
        }
        self.judge_sessions(servers, report, at_us);
    }

    /// S-1, S-2 and S-4, of the states of servers that are up.
    fn judge_sessions(&self, servers: &[Server], report: &mut Report, at_us: u64) {
        let up: Vec<&Replica> = servers
            .iter()
            .filter_map(|server| server.replica.as_ref())
            .filter(|replica| !replica.tainted && !replica.stale)
            .collect();
        for (number, one) in up.iter().enumerate() {
            for other in &up[..number] {
                if one.tree.last_processed() == other.tree.last_processed() {
                    let verdict = tables_agree(&one.tree.sessions(), &other.tree.sessions());
                    report.verdict("S-4", verdict, one.id, at_us, || {
                        format!(
                            "at {}, its session table is another than server {}'s",
                            one.tree.last_processed(),
                            other.id
                        )
                    });
                }
            }
            let table: BTreeSet<SessionId> =
                one.tree.sessions().into_iter().map(|(session, _)| session).collect();
            let mut owners: BTreeSet<SessionId> = one.tree.ownerless().into_iter().collect();
            owners.extend(table.iter().filter(|session| !one.tree.ephemerals(**session).is_empty()));
            report.verdict("S-1", owners_are_open(&owners, &table), one.id, at_us, || {
                format!("{owners:?} own ephemerals, and {table:?} are open")
            });
            let last = one.tree.last_processed();
            let closed =
                self.closed.iter().filter(|(_, zxid)| *zxid <= last).map(|(session, _)| *session).collect();
            report.verdict("S-2", closed_own_nothing(&owners, &closed), one.id, at_us, || {
                format!("{owners:?} own ephemerals, and {closed:?} are closed")
            });
        }
    }

    /// The digest that the state of a server should have, by another's account or the judge's.
    fn expected(&self, replica: &Replica) -> Option<i64> {
        let known = self.digests.get(&replica.tree.last_processed())?;
        let compares = !replica.tainted && !replica.stale && known.by != Some(replica.id);
        compares.then_some(known.digest)
    }

    /// The state behind a committed transaction is the same on every server (rule R-7).
    pub(crate) fn note_state(&mut self, replica: &Replica, report: &mut Report, at_us: u64) {
        let last = replica.tree.last_processed();
        if !replica.tainted && !replica.stale && last <= self.last() {
            self.compare(replica.id, last, replica.tree.digest(), report, at_us);
        }
    }

    /// A server's state behind this committed transaction has this digest.
    fn compare(&mut self, me: ServerId, last: Zxid, digest: i64, report: &mut Report, at_us: u64) {
        let known = self.digests.entry(last).or_insert(Known { digest, by: Some(me) });
        if known.digest != digest {
            let why = format!("the state at {last} has digest {digest:x}, and is to have {:x}", known.digest);
            report.breach("R-7", me, at_us, why);
        } else if known.by != Some(me) {
            known.by = None;
            // A server stays at a place for many steps.
            if self.compared.insert(me, last) != Some(last) {
                report.tested("R-7");
            }
        }
    }

    /// What is committed makes these states, by the judge's own account.
    pub(crate) fn expect_states(&mut self, digests: Vec<(Zxid, i64)>) {
        let known = |(zxid, digest)| (zxid, Known { digest, by: None });
        self.digests.extend(digests.into_iter().map(known));
    }

    /// Puts the rules about what is said to a server that has just said it.
    pub(crate) fn judge_claim(&self, replica: &Replica, claim: Claim, report: &mut Report, at_us: u64) {
        let said = match claim {
            Claim::AckEpoch { last, .. } | Claim::Vote { last, .. } => last,
            Claim::Ack(zxid) if zxid.counter() != 0 => zxid,
            Claim::Ack(_) | Claim::LeaderInfo(_) | Claim::NewLeader(_) => replica.tree.last_processed(),
        };
        let durable = replica.disk.durable.last().map_or(Zxid::ZERO, |entry| entry.zxid);
        let cut = Cut(self.cut().0.min(just_before(said)).min(just_before(durable)).max(replica.disk.base));
        let mut view = replica.light_view(cut);
        if view.durable.is_empty() && matches!(claim, Claim::AckEpoch { .. } | Claim::Vote { .. }) {
            // What is left of the history does not tell of the epoch it belongs to (D-7).
            view.current.durable = view.current.durable.max(replica.disk.base.epoch());
        }
        let claim = match claim {
            Claim::AckEpoch { current, last } => Claim::AckEpoch { current, last: cut.place(last) },
            Claim::Vote { current, last } => Claim::Vote { current, last: cut.place(last) },
            Claim::Ack(zxid) if zxid.counter() != 0 && cut.is_behind(zxid) => Claim::Ack(cut.place(zxid)),
            Claim::Ack(_) | Claim::LeaderInfo(_) | Claim::NewLeader(_) => claim,
        };
        for rule in rule::all() {
            if let Check::Claim(check) = rule.check {
                report.verdict(rule.id, check(&view, claim), replica.id, at_us, || {
                    format!(
                        "it says {claim:?}, and durable is {durable}, epochs {:?} and {:?}; behind {}",
                        view.accepted, view.current, cut.0
                    )
                });
            }
        }
    }

    /// Puts the rules about steps (R-1, `CommittedLogDurability`) to what a step, or a restart, has left of a disk.
    pub(crate) fn judge_change(
        &self,
        before: &Disk,
        after: &ServerView,
        disk: &Disk,
        report: &mut Report,
        at_us: u64,
    ) {
        let steps = rule::all().filter(|rule| matches!(rule.check, Check::Step(_)));
        if disk.base != before.base || self.is_blind() {
            return steps.for_each(|rule| report.untested(rule.id));
        }
        let same = before.durable.iter().zip(&disk.durable).take_while(|(one, other)| one == other).count();
        let cut = Cut(same.checked_sub(1).map_or(disk.base, |at| before.durable[at].zxid).max(self.base));
        let mut after = after.clone();
        after.durable = cut.entries(&disk.durable);
        let before = before.view(after.id, after.votes, cut);
        let record = self.record(cut);
        for rule in rule::all() {
            if let Check::Step(check) = rule.check {
                report.verdict(rule.id, check(&before, &after, &record), after.id, at_us, || {
                    format!(
                        "behind {}, durable {} became {}, epochs {:?} {:?} became {:?} {:?}",
                        cut.0,
                        tell_entries(&before.durable),
                        tell_entries(&after.durable),
                        before.accepted,
                        before.current,
                        after.accepted,
                        after.current
                    )
                });
            }
        }
    }

    /// What a server has to offer an election that it comes to, or is found in.
    pub(crate) fn offers(&mut self, offer: Vote) {
        self.offered.entry(offer.leader).or_default().insert(offer);
    }

    /// A server votes: F-4, what a vote says of another server is what that server has offered; `known` if all that it
    /// has offered is recorded.
    pub(crate) fn vote(
        &mut self,
        me: ServerId,
        word: Notification,
        known: bool,
        report: &mut Report,
        at_us: u64,
    ) {
        // Who has nothing to offer only asks.
        if word.state != ServerState::Looking || word.vote.zxid.is_none() {
            return;
        }
        if known && let Some(offered) = self.offered.get(&word.vote.leader) {
            let verdict = Verdict::of(true, || vote_was_offered(&word.vote, offered));
            report.verdict("F-4", verdict, me, at_us, || {
                format!("it votes for {:?}, and server {} has never had that", word.vote, word.vote.leader)
            });
        }
    }

    /// At the end: F-1 over the last votes, and what the run came to.
    pub(crate) fn conclude(&self, report: &mut Report) {
        report.committed = self.committed.len();
        report.committed_unseen = self.seen.map_or(0, |seen| self.committed.len().saturating_sub(seen));
        let votes: Vec<Vote> =
            self.offered.values().flat_map(|votes| votes.iter().rev().take(VOTES_MAX / 3)).copied().collect();
        if let Some(quorum) = &self.quorum {
            let verdict = Verdict::of(votes.len() > 1, || {
                is_strict_total_order(&votes, |one, other| outranks(quorum, one, other))
            });
            report.verdict("F-1", verdict, ServerId(0), 0, || format!("the votes {votes:?} have no best"));
        }
    }
}

/// Puts the rules about breaches (I-11 to I-14) to what a server has found wrong.
pub(crate) fn judge_breach(
    replica: &Replica,
    peer: ServerId,
    violation: Violation,
    report: &mut Report,
    at_us: u64,
) {
    for rule in rule::all() {
        if let Check::Breach(check) = rule.check {
            report.verdict(rule.id, check(violation.breach()), replica.id, at_us, || {
                format!("it finds {violation:?} in what server {peer} says")
            });
        }
    }
}

/// A server takes a role up: F-3.
pub(crate) fn elected(me: ServerId, role: Role, quorum: &Quorum, report: &mut Report, at_us: u64) {
    let leader = role.leader().unwrap_or(me);
    let may_lead = quorum.voters().filter(|voter| quorum.may_lead(*voter)).collect();
    let verdict = Verdict::of(true, || leader_votes(leader, &may_lead));
    report.verdict("F-3", verdict, me, at_us, || format!("{leader} is elected and may not lead"));
}

/// A history for a reader.
fn tell_entries(entries: &[Entry]) -> String {
    match (entries.first(), entries.last()) {
        (Some(first), Some(last)) => format!("{}..{} ({})", first.zxid, last.zxid, entries.len()),
        _ => "nothing".to_owned(),
    }
}

fn tell(stretch: &Stretch<'_>) -> String {
    let entries = tell_entries;
    let mut lines: Vec<String> = stretch
        .servers
        .iter()
        .map(|server| {
            format!(
                "server {} ({:?}{}) logged {}, durable {}, delivered {}, processed {}, epochs {:?} {:?}, state {:x}, replayed {:x}",
                server.id,
                server.part,
                if server.serving { ", serving" } else { "" },
                entries(&server.logged),
                entries(&server.durable),
                entries(&server.delivered),
                server.processed,
                server.accepted,
                server.current,
                server.state,
                server.replayed,
            )
        })
        .collect();
    lines.push(format!("committed {}", entries(stretch.record.committed())));
    lines.extend(stretch.record.reigns().iter().rev().take(3).map(|reign| {
        format!("epoch {} of server {} from {}", reign.epoch, reign.leader, entries(&reign.initial))
    }));
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(places: &[(u32, u32)]) -> Vec<Entry> {
        let entry = |(epoch, counter): &(u32, u32)| Entry {
            zxid: Zxid::new(Epoch(*epoch), *counter),
            digest: u64::from(*counter),
        };
        places.iter().map(entry).collect()
    }

    #[test]
    fn an_epoch_of_which_only_transactions_are_left_was_established() {
        let (mut order, mut report) = (Order::default(), Report::default());
        let all = history(&[(1, 1), (2, 1), (2, 2), (4, 1)]);
        order.establish(Epoch(1), ServerId(3), &[], &mut report);
        order.commit(ServerId(3), &all[..1], &mut report);
        order.believe_reigns(&all, |_| true, &mut report);
        order.establish(Epoch(5), ServerId(2), &all, &mut report);

        let reigns: Vec<_> = order.reigns.iter().map(|reign| (reign.epoch, reign.initial)).collect();
        let held = [Zxid::ZERO, all[0].zxid, all[2].zxid, all[3].zxid];
        assert_eq!(reigns, [1, 2, 4, 5].map(Epoch).into_iter().zip(held).collect::<Vec<_>>());
        assert_eq!(order.committed, all);
        let record = order.record(Cut(Zxid::ZERO));
        assert!(record.clash().is_none() && report.breaches.is_empty());
        assert_eq!(spec::zab::initial_history_integrity(&record), Verdict::Holds);
    }

    /// A leader that was held up learns of its quorum when the next one reigns already.
    #[test]
    fn reigns_come_in_any_order_and_are_believed_where_an_end_is_lost() {
        let (mut order, mut report) = (Order::default(), Report::default());
        let all = history(&[(1, 1), (3, 1), (4, 1), (5, 1)]);
        for (epoch, leader, held) in [(1, 3, 0), (3, 2, 1), (2, 1, 1)] {
            order.establish(Epoch(epoch), ServerId(leader), &all[..held], &mut report);
        }
        order.commit(ServerId(2), &all[..2], &mut report);
        order.believe_reigns(&all, |epoch| epoch != Epoch(5), &mut report);
        let reigns: Vec<_> = order.reigns.iter().map(|reign| (reign.epoch.0, reign.leader.0)).collect();
        assert_eq!(reigns, [(1, 3), (3, 2), (2, 1), (4, UNKNOWN.0)]);
        // Who led is learnt, and nobody else may have.
        order.establish_unseen(Epoch(4), ServerId(1), &all[..2], &mut report);
        assert!(order.reigns(ServerId(1), Epoch(4)) && order.record(Cut(Zxid::ZERO)).clash().is_none());
        assert!(report.breaches.is_empty(), "{report}");
        order.establish_unseen(Epoch(4), ServerId(3), &all[..2], &mut report);
        assert!(order.reigns(ServerId(3), Epoch(4)), "for the rules to find");
    }

    #[test]
    fn a_state_is_compared_with_what_another_has_told_or_the_judge() {
        let (mut order, mut report) = (Order::default(), Report::default());
        let [one, two] = [1, 2].map(|counter| Zxid::new(Epoch(1), counter));
        let tested = |report: &Report| report.tested.get("R-7").copied().unwrap_or_default();
        order.compare(ServerId(1), one, 7, &mut report, 0);
        order.compare(ServerId(1), one, 7, &mut report, 0);
        assert_eq!(tested(&report), 0, "it agrees with itself");
        order.compare(ServerId(2), one, 7, &mut report, 0);
        order.compare(ServerId(2), one, 7, &mut report, 0);
        assert_eq!(tested(&report), 1, "once at a place");
        order.compare(ServerId(1), one, 7, &mut report, 0);
        assert_eq!(tested(&report), 2, "the first, too, now");
        order.expect_states(vec![(two, 8)]);
        order.compare(ServerId(1), two, 8, &mut report, 0);
        assert_eq!((tested(&report), report.breaches_count), (3, 0));
        order.compare(ServerId(2), two, 9, &mut report, 0);
        assert_eq!((tested(&report), report.breaches[0].rule), (3, "R-7"));
    }

    #[test]
    fn where_sight_is_lost_no_rule_about_steps_counts_as_tested() {
        let (mut order, mut report) = (Order::default(), Report::default());
        order.committed = history(&[(1, 1), (1, 2)]);
        let (before, after) = (Disk::default(), Disk { accepted: Epoch(1), ..Disk::default() });
        let view = after.view(ServerId(1), true, Cut(Zxid::ZERO));
        order.judge_change(&before, &view, &after, &mut report, 0);
        assert!(report.tested.contains_key("R-1") && report.untested.is_empty(), "{report}");
        order.lose_sight();
        order.committed.extend(history(&[(1, 3)]));
        let mut report = Report::default();
        order.judge_change(&before, &view, &after, &mut report, 0);
        assert!(report.tested.is_empty(), "{report}");
        assert_eq!(report.untested.into_keys().collect::<Vec<_>>(), ["CommittedLogDurability", "R-1"]);
        let mut report = Report::default();
        order.conclude(&mut report);
        assert_eq!((report.committed, report.committed_unseen), (3, 1));
    }

    #[test]
    fn a_received_state_takes_the_place_of_what_nobody_committed() {
        let order = Order { committed: history(&[(1, 1), (2, 1), (2, 2)]), ..Order::default() };
        let logged = history(&[(1, 1), (1, 2)]);
        let mut disk = Disk { logged, ..Disk::default() };
        order.bridge(&mut disk, Zxid::new(Epoch(2), 1), &BTreeMap::new());
        assert_eq!(disk.logged, history(&[(1, 1), (2, 1)]));
    }
}
