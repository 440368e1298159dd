//! What is told of servers, of their messages and of the record of a run, for people.

use std::{any::Any, fmt::Debug};

use protocol::{
    Message, Notification, Vote,
    peer::{Op, Packet},
};
use spec::history::{Entry, Record, ServerView};

use crate::{Replica, Said};

/// So many transactions of a sequence are shown, its last ones.
const SHOWN: usize = 12;

/// The end of a sequence of transactions.
pub fn sequence(entries: &[Entry]) -> String {
    let skipped = entries.len().saturating_sub(SHOWN);
    let shown: Vec<_> = entries[skipped..]
        .iter()
        // A sum that fills its width tells itself apart by its first digits. Of a model's numbers there is nothing there.
        .map(|Entry { zxid, digest }| match digest >> 48 {
            0 => format!("{zxid} = {digest}"),
            first => format!("{zxid} = {first:04x}"),
        })
        .collect();
    let before = if skipped > 0 { format!("{skipped} and ") } else { String::new() };
    format!("{before}[{}]", shown.join(", "))
}

/// What a client is told.
pub fn said<E: Debug>(said: &Said<E>) -> String {
    match said {
        Said::Accepted { session, read_only: false, .. } => format!("session {session} is granted"),
        Said::Accepted { session, read_only: true, .. } => format!("session {session} is granted, for reads"),
        Said::Refused => "its session is not to be had".to_owned(),
        Said::Closed => "the server hangs up".to_owned(),
        Said::Reply { xid, zxid, answer } => format!("reply to {xid}, at {zxid}: {answer}"),
        Said::Event { zxid, event } => format!("event at {zxid}: {event:?}"),
    }
}

/// A server.
pub fn server(server: &ServerView) -> String {
    format!(
        "server {} ({:?}) has logged {}, durable {}, delivered {}, in its window {}, epochs {} and {}",
        server.id,
        server.part,
        sequence(&server.logged),
        sequence(&server.durable),
        sequence(&server.delivered),
        sequence(&server.window),
        server.accepted.memory,
        server.current.memory
    )
}

/// The record of a run.
pub fn record(record: &Record) -> String {
    let reigns: Vec<_> = record
        .reigns()
        .iter()
        .map(|reign| format!("{} of {} from {}", reign.epoch, reign.leader, sequence(&reign.initial)))
        .collect();
    let clash = record.clash().map_or_else(String::new, |clash| {
        format!(", against which a leader holds {}", sequence(&clash.held))
    });
    let reigns = if reigns.is_empty() { "no epoch".to_owned() } else { reigns.join(", ") };
    format!("committed is {}{clash}, established are {reigns}", sequence(record.committed()))
}

/// A message of the election mesh.
pub fn notification(notification: &Notification) -> String {
    let Notification { state, vote, round } = notification;
    format!("{state:?} for {} ({}) in round {round}", vote.leader, offer(*vote))
}

/// What the server that a vote names has to offer.
pub fn offer(vote: Vote) -> String {
    let zxid = vote.zxid.map_or_else(|| "no data".to_owned(), |zxid| zxid.to_string());
    format!("epoch {}, {zxid}", vote.epoch)
}

/// A message between a leader and a learner, with these words for a transaction.
pub fn message<T>(message: &Message<T>, words: impl Fn(&T) -> String) -> String {
    match message {
        Message::FollowerInfo { accepted, .. } => format!("FOLLOWERINFO accepted {accepted}"),
        Message::ObserverInfo { accepted, .. } => format!("OBSERVERINFO accepted {accepted}"),
        Message::LeaderInfo { epoch, .. } => format!("LEADERINFO epoch {epoch}"),
        Message::AckEpoch { current: Some(current), last, .. } => {
            format!("ACKEPOCH current {current}, last {last}")
        }
        Message::AckEpoch { current: None, last, .. } => format!("ACKEPOCH -1, last {last}"),
        Message::Diff { last } => format!("DIFF {last}"),
        Message::Trunc { last } => format!("TRUNC {last}"),
        Message::Proposal { zxid, txn } => format!("PROPOSAL {zxid} = {}", words(txn)),
        Message::Commit { zxid } => format!("COMMIT {zxid}"),
        Message::Inform { zxid, txn } => format!("INFORM {zxid} = {}", words(txn)),
        Message::NewLeader { epoch } => format!("NEWLEADER {epoch}"),
        Message::Ack { zxid } => format!("ACK {zxid}"),
        Message::UpToDate => "UPTODATE".to_owned(),
    }
}

/// A packet between whole servers.
pub fn packet<M: Replica>(packet: &Packet<M>) -> String {
    match packet {
        Packet::Zab(zab) => message(zab, M::sketch_txn),
        Packet::Ping { last, touched } if touched.is_empty() => format!("PING {last}"),
        Packet::Ping { last, touched } => {
            let touched: Vec<_> = touched.iter().map(|(session, _)| session.to_string()).collect();
            format!("PING {last}, heard of {}", touched.join(", "))
        }
        Packet::Request(request) => {
            let asked = match &request.op {
                Op::Write(write) => M::sketch_write(write),
                Op::CreateSession { timeout_ms } => format!("createSession for {timeout_ms} ms"),
                Op::CloseSession => "closeSession".to_owned(),
                Op::Sync => "sync".to_owned(),
                Op::Refused(code) => format!("a write refused by {code:?}"),
            };
            format!("REQUEST {} of {}: {asked}", request.xid, request.session)
        }
        Packet::Sync => "SYNC".to_owned(),
        Packet::Revalidate { session, .. } => format!("REVALIDATE {session}"),
        Packet::Revalidated { session, valid: true } => format!("REVALIDATE {session}: it lives"),
        Packet::Revalidated { session, valid: false } => format!("REVALIDATE {session}: it is over"),
    }
}

/// What a panic says.
pub fn of_panic(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic that carries no text")
        .to_owned()
}
