//! The pieces of a state, and what happens to them.

use serde::Serialize;
use spec::SessionId;
use tree::Tree;
use world::{Happened, Host, HostEvent, Link, LinkChange, Wire};

use super::{
    client::{Client, ClientChange, Heard},
    record::{Record, RecordChange, RecordView, StateView},
    rules::Judged,
};
use crate::words;

/// One piece of the state.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize)]
pub enum Part {
    /// A server.
    Host(Box<Host<Tree>>),
    /// A connection between servers.
    Link(Link<Wire<Tree>>),
    /// A client with its connections.
    Client(Box<Client>),
    /// What no server and no client can tell alone.
    Record(Box<Record>),
    /// What has been used of the bounds.
    Budget(Budget),
}

/// What has been used of the bounds.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize)]
pub struct Budget {
    /// Moves.
    pub moves: u8,
    /// Ticks.
    pub ticks: u8,
    /// PINGs.
    pub pings: u8,
    /// Changes of the leader.
    pub changes: u8,
    /// Looks for nodes that a leader deletes by itself.
    pub sweeps: u8,
}

impl Budget {
    /// What of it is worth telling.
    pub fn sketch(&self) -> Vec<String> {
        let Self { moves, ticks, pings, changes, sweeps } = *self;
        words::counts(&[
            (moves, "moves used"),
            (ticks, "ticks used"),
            (pings, "PINGs used"),
            (changes, "leader changes used"),
            (sweeps, "looks for containers used"),
        ])
    }
}

/// What happens to one part.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Change {
    /// To a server.
    Host(HostEvent<Tree>),
    /// To a connection between servers.
    Link(LinkChange<Wire<Tree>>),
    /// To a client.
    Client(ClientChange),
    /// To the record.
    Record(RecordChange),
    /// To the budget.
    Budget(Spend),
}

/// What is taken from the budget.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Spend {
    /// A move.
    Move,
    /// A tick.
    Tick,
    /// A PING.
    Ping,
    /// A change of the leader.
    Change,
    /// A look for nodes that a leader deletes by itself.
    Sweep,
}

/// What a change yields.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Yield {
    /// Of a server.
    Host(Box<Happened<Tree>>),
    /// Of a connection: the frame that was read.
    Frame(Option<Wire<Tree>>),
    /// Of a client.
    Client(Box<Heard>),
    /// Of the record.
    Judged(Judged),
    /// Of the budget.
    Nothing,
}

/// What rules about several parts see.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum View {
    /// A server, if it serves.
    Host(Option<HostView>),
    /// The record.
    Record(RecordView),
}

/// What rules about several parts see of a server that serves.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct HostView {
    /// Whether it leads.
    pub leads: bool,
    /// Its state.
    pub state: StateView,
    /// The sessions that own ephemerals.
    pub owners: Vec<SessionId>,
    /// The sessions of which it keeps requests whose connections are gone.
    pub kept: Vec<SessionId>,
}

impl HostView {
    /// Of this server.
    pub fn of(host: &Host<Tree>) -> Self {
        let state = StateView::of(host.state());
        let owners = host.state().owners().into_iter().collect();
        let mut kept: Vec<_> = host.peer().kept().collect();
        kept.dedup();
        Self { leads: host.leads(), state, owners, kept }
    }
}

pub(super) fn host(part: &Part) -> &Host<Tree> {
    match part {
        Part::Host(host) => host,
        Part::Link(_) | Part::Client(_) | Part::Record(_) | Part::Budget(_) => {
            unreachable!("the slot of a host holds one")
        }
    }
}

pub(super) fn link(part: &Part) -> &Link<Wire<Tree>> {
    match part {
        Part::Link(link) => link,
        Part::Host(_) | Part::Client(_) | Part::Record(_) | Part::Budget(_) => {
            unreachable!("the slot of a link holds one")
        }
    }
}

pub(super) fn client(part: &Part) -> &Client {
    match part {
        Part::Client(client) => client,
        Part::Host(_) | Part::Link(_) | Part::Record(_) | Part::Budget(_) => {
            unreachable!("the slot of a client holds one")
        }
    }
}

pub(super) fn record(part: &Part) -> &Record {
    match part {
        Part::Record(record) => record,
        Part::Host(_) | Part::Link(_) | Part::Client(_) | Part::Budget(_) => {
            unreachable!("the slot of a record holds one")
        }
    }
}

pub(super) fn budget(part: &Part) -> &Budget {
    match part {
        Part::Budget(budget) => budget,
        Part::Host(_) | Part::Link(_) | Part::Client(_) | Part::Record(_) => {
            unreachable!("the slot of a budget holds one")
        }
    }
}
