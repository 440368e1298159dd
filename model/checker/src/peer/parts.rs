//! The pieces of a state, and what happens to them.

use std::collections::BTreeSet;

use protocol::{Notification, Vote};
use serde::{Serialize, Serializer};
use spec::{
    Machine, SessionId, Zxid,
    history::{self, Entry, ServerView},
    rule::Verdict,
    session::{Answered, Attempt, sessions_write_in_order, shown_is_committed, writes_happen_once},
};
use tree::{Tree, Txn, TxnBody};
use world::{GhostChange, Happened, Host, HostEvent, Link, LinkChange, Stretch, Wire, text};

use super::client::{Client, ClientChange, Heard, Subject};
use crate::{engine::Broken, words};

/// One piece of the state.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
pub enum Part {
    /// A server.
    Host(Box<Host<Subject>>),
    /// A connection between servers.
    Link(Link<Wire<Subject>>),
    /// The election mesh from one server to another.
    Mesh(Mesh),
    /// The client.
    Client(Client),
    /// What no server and no client can tell alone.
    Record(Box<Record>),
    /// What has been used of the bounds.
    Budget(Budget),
}

/// What is under way from one server to another in the election mesh: the newest message, and the news of a reset,
/// which may overtake it or come behind it. A message is lost by staying until a newer one takes its place.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq, Serialize)]
pub struct Mesh {
    /// The message.
    pub message: Option<Notification>,
    /// Whether the receiver has yet to learn of a reset.
    pub reset: bool,
}

/// What happens to a direction of the mesh.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum MeshChange {
    /// A message is sent.
    Send(Notification),
    /// It arrives, or is lost with its receiver.
    Clear,
    /// The link is reset.
    Reset,
    /// The receiver learns of it.
    Heard,
}

/// What has been used of the bounds.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize)]
pub struct Budget {
    /// Servers that came to look for a leader.
    pub looks: u8,
    /// Votes told again.
    pub resends: u8,
    /// Timers that ended a role or a link.
    pub timeouts: u8,
    /// PINGs.
    pub pings: u8,
    /// Ticks.
    pub ticks: u8,
    /// Crashes.
    pub crashes: u8,
    /// Breaks.
    pub breaks: u8,
    /// Servers without a leader that came to serve clients that only read.
    pub retreats: u8,
}

/// What is taken from the budget.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Spend {
    /// Looks for a leader.
    Looks(u8),
    /// A vote told again.
    Resend,
    /// A timer that ends a role or a link.
    Timeout,
    /// A PING.
    Ping,
    /// A tick.
    Tick,
    /// A crash.
    Crash,
    /// A break.
    Break,
    /// A server without a leader that comes to serve clients that only read.
    Retreat,
}

impl Mesh {
    /// What of it is worth telling.
    pub fn sketch(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.message.iter().map(text::notification).collect();
        lines.extend(self.reset.then(|| "reset, and the receiver has yet to learn of it".to_owned()));
        lines
    }
}

impl Budget {
    /// What of it is worth telling.
    pub fn sketch(&self) -> Vec<String> {
        let Self { looks, resends, timeouts, pings, ticks, crashes, breaks, retreats } = *self;
        words::counts(&[
            (looks, "looks used"),
            (resends, "resends used"),
            (timeouts, "timeouts used"),
            (pings, "PINGs used"),
            (ticks, "ticks used"),
            (crashes, "crashes used"),
            (breaks, "breaks used"),
            (retreats, "retreats to reads used"),
        ])
    }

    pub(super) fn spend(&mut self, spend: Spend) {
        match spend {
            Spend::Looks(looks) => self.looks += looks,
            Spend::Resend => self.resends += 1,
            Spend::Timeout => self.timeouts += 1,
            Spend::Ping => self.pings += 1,
            Spend::Tick => self.ticks += 1,
            Spend::Crash => self.crashes += 1,
            Spend::Break => self.breaks += 1,
            Spend::Retreat => self.retreats += 1,
        }
    }

    /// Whether no more is used of anything.
    pub(super) fn allows_all_of(self, other: Self) -> bool {
        self.looks <= other.looks
            && self.resends <= other.resends
            && self.timeouts <= other.timeouts
            && self.pings <= other.pings
            && self.ticks <= other.ticks
            && self.crashes <= other.crashes
            && self.breaks <= other.breaks
            && self.retreats <= other.retreats
    }
}

/// The ghost of a run.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Record {
    /// Established epochs, and what is committed.
    pub history: history::Record,
    /// Whose requests the committed writes were, by place.
    writes: Vec<Answered>,
    /// What servers had to offer, each time that one came to look for a leader.
    pub offered: BTreeSet<Vote>,
    /// How many epochs were established when the first write was acknowledged.
    acknowledged_in: Option<usize>,
}

/// As it is printed.
impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}

/// What happens to the record.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum RecordChange {
    /// An epoch is established, or a leader holds something for committed.
    Ghost(GhostChange),
    /// What a leader holds for committed, in full.
    Commit(Stretch<Txn>),
    /// A server comes to look for a leader, with this on its disk.
    Offer(Vote),
    /// A client is told of this place.
    Show(Zxid),
    /// A client is told that this write is done.
    Acknowledge(SessionId, i32, Zxid),
}

/// What the record has come to.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Noted {
    /// The rules that were put to the test.
    pub tested: BTreeSet<&'static str>,
}

impl Record {
    /// What happens to it.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn change(&mut self, change: &RecordChange) -> Result<Noted, Broken> {
        let mut noted = Noted::default();
        match change {
            RecordChange::Ghost(GhostChange::Establish(epoch, leader, initial)) => {
                self.history.establish(*epoch, *leader, initial);
            }
            RecordChange::Ghost(GhostChange::Commit(leader, held)) => self.history.commit(*leader, held),
            RecordChange::Commit(held) => {
                for (zxid, txn) in &held.txns {
                    self.write(*zxid, txn);
                }
                let verdict = sessions_write_in_order(&self.writes);
                noted.judge("S-5", verdict, || format!("{:?}", self.writes))?;
            }
            RecordChange::Offer(vote) => {
                self.offered.insert(*vote);
            }
            RecordChange::Show(zxid) => {
                let is_committed = self.history.committed().iter().any(|entry| entry.zxid == *zxid);
                noted.judge("S-13", shown_is_committed(is_committed), || {
                    format!("a client is shown {zxid}, and committed is {:?}", self.history.committed())
                })?;
            }
            RecordChange::Acknowledge(session, xid, zxid) => {
                let attempt = Attempt { session: *session, xid: *xid, acknowledged: Some(*zxid) };
                let is_own = |write: &&Answered| write.session == *session && write.xid == *xid;
                let own: Vec<_> = self.writes.iter().filter(is_own).copied().collect();
                noted.judge("S-8", writes_happen_once(&own, &[attempt]), || {
                    format!("{attempt:?} is acknowledged, and committed is {:?}", self.writes)
                })?;
                self.acknowledged_in.get_or_insert(self.history.reigns().len());
            }
        }
        Ok(noted)
    }

    /// Whether an epoch was established after a write was acknowledged.
    pub fn acknowledged_before_a_reign(&self) -> bool {
        self.acknowledged_in.is_some_and(|reigns| self.history.reigns().len() > reigns)
    }

    fn write(&mut self, zxid: Zxid, txn: &Txn) {
        let origin = Tree::origin(txn);
        // A leader may have been sent the older ones as a whole state, and then it is another one that tells of them.
        let place = self.writes.partition_point(|write| write.zxid < zxid);
        let known = self.writes.get(place).is_some_and(|write| write.zxid == zxid);
        if origin.xid > 0 && !matches!(txn.body, TxnBody::Error { .. }) && !known {
            self.writes.insert(place, Answered { zxid, session: origin.session, xid: origin.xid });
        }
    }
}

impl Noted {
    fn judge(
        &mut self,
        rule: &'static str,
        verdict: Verdict,
        why: impl FnOnce() -> String,
    ) -> Result<(), Broken> {
        match verdict {
            Verdict::Silent => Ok(()),
            Verdict::Holds => {
                self.tested.insert(rule);
                Ok(())
            }
            Verdict::Broken => Err(Broken::new(rule, why())),
        }
    }
}

/// What happens to one part.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Change {
    /// To a server.
    Host(HostEvent<Subject>),
    /// To a connection between servers.
    Link(LinkChange<Wire<Subject>>),
    /// To a direction of the mesh.
    Mesh(MeshChange),
    /// To the client.
    Client(ClientChange),
    /// To the record.
    Record(RecordChange),
    /// To the budget.
    Budget(Spend),
}

/// What a change yields.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Yield {
    /// Of a server.
    Host(Box<Happened<Subject>>),
    /// Of a connection: the frame that was read.
    Frame(Option<Wire<Subject>>),
    /// Of the client.
    Client(Box<Heard>),
    /// Of the record.
    Noted(Noted),
    /// Of the rest.
    Nothing,
}

/// What rules about several parts see.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum View {
    /// A server.
    Server(Box<HostView>),
    /// What the client was told is done.
    Client(Vec<Zxid>),
    /// The record.
    Record(Box<RecordView>),
}

/// What rules see of a server.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct HostView {
    /// Of its order of transactions.
    pub server: ServerView,
    /// What it says in elections.
    pub word: Option<Notification>,
}

/// What rules see of the record.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct RecordView {
    /// Established epochs, and what is committed.
    pub history: history::Record,
    /// What servers had to offer, each time that one came to look for a leader.
    pub offered: BTreeSet<Vote>,
}

impl HostView {
    /// Of this server, without the digests of its state.
    pub fn of(host: &Host<Subject>) -> Self {
        let server = host.view_of_order().expect("its state remembers");
        Self { server, word: host.peer().election().word() }
    }

    /// Whether it shows clients a state in which a write of theirs is missing.
    pub fn lacks(&self, acknowledged: &[Zxid]) -> Option<Zxid> {
        let server = &self.server;
        let has = |zxid: &&Zxid| server.delivered.iter().any(|Entry { zxid: held, .. }| held == *zxid);
        let due = |zxid: &&Zxid| **zxid <= server.processed;
        acknowledged.iter().filter(due).find(|zxid| server.serving && !has(zxid)).copied()
    }
}

pub(super) fn host(part: &Part) -> &Host<Subject> {
    match part {
        Part::Host(host) => host,
        Part::Link(_) | Part::Mesh(_) | Part::Client(_) | Part::Record(_) | Part::Budget(_) => {
            unreachable!("the slot of a host holds one")
        }
    }
}

pub(super) fn link(part: &Part) -> &Link<Wire<Subject>> {
    match part {
        Part::Link(link) => link,
        Part::Host(_) | Part::Mesh(_) | Part::Client(_) | Part::Record(_) | Part::Budget(_) => {
            unreachable!("the slot of a link holds one")
        }
    }
}

pub(super) fn mesh(part: &Part) -> &Mesh {
    match part {
        Part::Mesh(mesh) => mesh,
        Part::Host(_) | Part::Link(_) | Part::Client(_) | Part::Record(_) | Part::Budget(_) => {
            unreachable!("the slot of the mesh holds one")
        }
    }
}

pub(super) fn client(part: &Part) -> &Client {
    match part {
        Part::Client(client) => client,
        Part::Host(_) | Part::Link(_) | Part::Mesh(_) | Part::Record(_) | Part::Budget(_) => {
            unreachable!("the slot of the client holds it")
        }
    }
}

pub(super) fn record(part: &Part) -> &Record {
    match part {
        Part::Record(record) => record,
        Part::Host(_) | Part::Link(_) | Part::Mesh(_) | Part::Client(_) | Part::Budget(_) => {
            unreachable!("the slot of the record holds it")
        }
    }
}

pub(super) fn budget(part: &Part) -> &Budget {
    match part {
        Part::Budget(budget) => budget,
        Part::Host(_) | Part::Link(_) | Part::Mesh(_) | Part::Client(_) | Part::Record(_) => {
            unreachable!("the slot of the budget holds it")
        }
    }
}
