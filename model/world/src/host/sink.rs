//! Takes what a peer asks for.

use std::collections::{BTreeSet, VecDeque};

use protocol::{
    Exit, Message, Note, Notification, Role, Ticket, Timer,
    peer::{Answer, Effects, Packet},
};
use spec::{ClientId, Epoch, Machine, ServerId, SessionId, Zxid};

use super::{Happened, Said, Wire};
use crate::{NetChange, Replica};

/// Something for the disk.
#[derive(Debug)]
pub(super) enum DiskCall<M: Machine> {
    Append(Ticket, Zxid, M::Txn),
    Truncate(Ticket, Zxid),
    Sync(Ticket),
    Accepted(Ticket, Epoch),
    Current(Ticket, Epoch),
    Snapshot(Ticket, Zxid, Box<M>),
    Locate(Ticket),
    Reload,
}

/// One step's effects.
#[derive(Debug)]
pub(super) struct Sink<'a, M: Machine> {
    timers: &'a mut BTreeSet<Timer>,
    happened: &'a mut Happened<M>,
    pub(super) asked: VecDeque<DiskCall<M>>,
}

impl<'a, M: Replica> Sink<'a, M> {
    pub(super) fn new(timers: &'a mut BTreeSet<Timer>, happened: &'a mut Happened<M>) -> Self {
        Self { timers, happened, asked: VecDeque::new() }
    }

    fn tell(&mut self, client: ClientId, said: Said<M::Event>) {
        self.happened.told.push((client, said));
    }
}

impl<M: Replica> Effects<M> for Sink<'_, M> {
    fn send(&mut self, to: ServerId, packet: &Packet<M>) {
        self.happened.net.push(NetChange::Send(to, Wire::Packet(packet.clone())));
    }

    fn send_message(&mut self, to: ServerId, message: &Message<M::Txn>) {
        self.happened.net.push(NetChange::Send(to, Wire::Packet(Packet::Zab(message.clone()))));
    }

    fn stream_snapshot(&mut self, to: ServerId, last: Zxid, machine: &mut M) {
        let state = Box::new(machine.reloaded());
        self.happened.net.push(NetChange::Send(to, Wire::Snapshot { last, state }));
    }

    fn stream_log(&mut self, to: ServerId, after: Zxid, through: Zxid) {
        unreachable!("{to} is sent {after} to {through} from a log in which nothing is found");
    }

    fn connect(&mut self, to: ServerId) {
        self.happened.net.push(NetChange::Dial(to));
    }

    fn disconnect(&mut self, peer: ServerId) {
        self.happened.net.push(NetChange::Close(peer));
    }

    fn refuse(&mut self, from: ServerId) {
        self.happened.net.push(NetChange::Refuse(from));
    }

    fn append(&mut self, ticket: Ticket, zxid: Zxid, txn: &M::Txn) {
        self.asked.push_back(DiskCall::Append(ticket, zxid, txn.clone()));
    }

    fn truncate(&mut self, ticket: Ticket, last: Zxid) {
        self.asked.push_back(DiskCall::Truncate(ticket, last));
    }

    fn sync_log(&mut self, ticket: Ticket) {
        self.asked.push_back(DiskCall::Sync(ticket));
    }

    fn save_accepted(&mut self, ticket: Ticket, epoch: Epoch) {
        self.asked.push_back(DiskCall::Accepted(ticket, epoch));
    }

    fn save_current(&mut self, ticket: Ticket, epoch: Epoch) {
        self.asked.push_back(DiskCall::Current(ticket, epoch));
    }

    fn save_snapshot(&mut self, ticket: Ticket, label: Zxid, machine: &mut M) {
        self.asked.push_back(DiskCall::Snapshot(ticket, label, Box::new(machine.reloaded())));
    }

    fn locate(&mut self, ticket: Ticket, _: Zxid) {
        self.asked.push_back(DiskCall::Locate(ticket));
    }

    fn reload(&mut self) {
        self.asked.push_back(DiskCall::Reload);
    }

    fn notify_server(&mut self, to: ServerId, notification: &Notification) {
        self.happened.votes.push((to, *notification));
    }

    fn set_timer(&mut self, timer: Timer) {
        self.timers.insert(timer);
    }

    fn cancel_timer(&mut self, timer: Timer) {
        self.timers.remove(&timer);
    }

    fn role(&mut self, _: Option<Role>, _: Epoch, _: bool) {}

    fn accept_client(&mut self, client: ClientId, session: SessionId, _: i32, password: &[u8; 16]) {
        self.tell(client, Said::Accepted { session, password: *password });
    }

    fn refuse_client(&mut self, client: ClientId) {
        self.tell(client, Said::Refused);
    }

    fn reply(&mut self, client: ClientId, xid: i32, zxid: Zxid, answer: Answer<'_, M>) {
        let answer = match answer {
            Answer::Outcome(outcome) => format!("{outcome:?}"),
            Answer::Read(answer) => M::tell(&answer),
            Answer::Sync(path) => String::from_utf8_lossy(path).into_owned(),
            Answer::Empty => String::new(),
            Answer::Error(code) => format!("{code:?}"),
        };
        self.tell(client, Said::Reply { xid, zxid, answer });
    }

    fn notify_client(&mut self, client: ClientId, zxid: Zxid, event: &M::Event) {
        self.tell(client, Said::Event { zxid, event: event.clone() });
    }

    fn close_client(&mut self, client: ClientId) {
        self.tell(client, Said::Closed);
    }

    fn note(&mut self, note: Note) {
        if let Note::SessionExpired { session } = note {
            self.happened.expired.push(session);
        }
    }

    fn exit(&mut self, why: Exit) {
        panic!("a server ends: {why:?}");
    }
}
