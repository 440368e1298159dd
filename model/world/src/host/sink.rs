//! Takes what a peer asks for.

use std::collections::{BTreeSet, VecDeque};

use protocol::{
    Exit, Message, Note, Notification, Role, Ticket, Timer,
    peer::{Answer, Effects, Packet},
};
use spec::{ClientId, Epoch, Machine, ServerId, SessionId, Zxid};

use super::{Happened, Onlooker, Said, Wire};
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
pub(super) struct Sink<'a, 'b, M: Machine> {
    pub(super) timers: &'a mut BTreeSet<Timer>,
    pub(super) happened: &'a mut Happened<M>,
    pub(super) onlooker: &'a mut Option<&'b mut dyn Onlooker<M>>,
    pub(super) asked: VecDeque<DiskCall<M>>,
}

impl<'b, M: Replica> Sink<'_, 'b, M> {
    fn show(&mut self, effect: impl FnOnce(&mut (dyn Onlooker<M> + 'b))) {
        if let Some(onlooker) = self.onlooker {
            effect(*onlooker);
        }
    }

    fn tell(&mut self, client: ClientId, said: Said<M::Event>) {
        self.happened.told.push((client, said));
    }
}

impl<M: Replica> Effects<M> for Sink<'_, '_, M> {
    fn send(&mut self, to: ServerId, packet: &Packet<M>) {
        self.show(|onlooker| onlooker.send(to, packet));
        self.happened.net.push(NetChange::Send(to, Wire::Packet(packet.clone())));
    }

    fn send_message(&mut self, to: ServerId, message: &Message<M::Txn>) {
        self.show(|onlooker| onlooker.send_message(to, message));
        self.happened.net.push(NetChange::Send(to, Wire::Packet(Packet::Zab(message.clone()))));
    }

    fn stream_snapshot(&mut self, to: ServerId, last: Zxid, machine: &mut M) {
        self.show(|onlooker| onlooker.stream_snapshot(to, last, machine));
        let state = Box::new(machine.reloaded());
        self.happened.net.push(NetChange::Send(to, Wire::Snapshot { last, state }));
    }

    fn stream_log(&mut self, to: ServerId, after: Zxid, through: Zxid) {
        unreachable!("{to} is sent {after} to {through} from a log in which nothing is found");
    }

    fn connect(&mut self, to: ServerId) {
        self.show(|onlooker| onlooker.connect(to));
        self.happened.net.push(NetChange::Dial(to));
    }

    fn disconnect(&mut self, peer: ServerId) {
        self.show(|onlooker| onlooker.disconnect(peer));
        self.happened.net.push(NetChange::Close(peer));
    }

    fn refuse(&mut self, from: ServerId) {
        self.show(|onlooker| onlooker.refuse(from));
        self.happened.net.push(NetChange::Refuse(from));
    }

    fn append(&mut self, ticket: Ticket, zxid: Zxid, txn: &M::Txn) {
        self.show(|onlooker| onlooker.append(ticket, zxid, txn));
        self.asked.push_back(DiskCall::Append(ticket, zxid, txn.clone()));
    }

    fn truncate(&mut self, ticket: Ticket, last: Zxid) {
        self.show(|onlooker| onlooker.truncate(ticket, last));
        self.asked.push_back(DiskCall::Truncate(ticket, last));
    }

    fn sync_log(&mut self, ticket: Ticket) {
        self.show(|onlooker| onlooker.sync_log(ticket));
        self.asked.push_back(DiskCall::Sync(ticket));
    }

    fn save_accepted(&mut self, ticket: Ticket, epoch: Epoch) {
        self.show(|onlooker| onlooker.save_accepted(ticket, epoch));
        self.asked.push_back(DiskCall::Accepted(ticket, epoch));
    }

    fn save_current(&mut self, ticket: Ticket, epoch: Epoch) {
        self.show(|onlooker| onlooker.save_current(ticket, epoch));
        self.asked.push_back(DiskCall::Current(ticket, epoch));
    }

    fn save_snapshot(&mut self, ticket: Ticket, label: Zxid, machine: &mut M) {
        self.show(|onlooker| onlooker.save_snapshot(ticket, label, machine));
        self.asked.push_back(DiskCall::Snapshot(ticket, label, Box::new(machine.reloaded())));
    }

    fn locate(&mut self, ticket: Ticket, zxid: Zxid) {
        self.show(|onlooker| onlooker.locate(ticket, zxid));
        self.asked.push_back(DiskCall::Locate(ticket));
    }

    fn reload(&mut self) {
        self.show(Effects::reload);
        self.asked.push_back(DiskCall::Reload);
    }

    fn notify_server(&mut self, to: ServerId, notification: &Notification) {
        self.show(|onlooker| onlooker.notify_server(to, notification));
        self.happened.votes.push((to, *notification));
    }

    fn set_timer(&mut self, timer: Timer) {
        self.show(|onlooker| onlooker.set_timer(timer));
        self.timers.insert(timer);
    }

    fn cancel_timer(&mut self, timer: Timer) {
        self.show(|onlooker| onlooker.cancel_timer(timer));
        self.timers.remove(&timer);
    }

    fn role(&mut self, role: Option<Role>, epoch: Epoch, serving: bool) {
        self.show(|onlooker| onlooker.role(role, epoch, serving));
    }

    fn accept_client(&mut self, client: ClientId, session: SessionId, timeout_ms: i32, password: &[u8; 16]) {
        self.show(|onlooker| onlooker.accept_client(client, session, timeout_ms, password));
        self.tell(client, Said::Accepted { session, password: *password });
    }

    fn refuse_client(&mut self, client: ClientId) {
        self.show(|onlooker| onlooker.refuse_client(client));
        self.tell(client, Said::Refused);
    }

    fn reply(&mut self, client: ClientId, xid: i32, zxid: Zxid, answer: Answer<'_, M>) {
        let text = match &answer {
            Answer::Outcome(outcome) => format!("{outcome:?}"),
            Answer::Read(answer) => M::tell(answer),
            Answer::Sync(path) => String::from_utf8_lossy(path).into_owned(),
            Answer::Empty => String::new(),
            Answer::Error(code) => format!("{code:?}"),
        };
        self.show(|onlooker| onlooker.reply(client, xid, zxid, answer));
        self.tell(client, Said::Reply { xid, zxid, answer: text });
    }

    fn notify_client(&mut self, client: ClientId, zxid: Zxid, event: &M::Event) {
        self.show(|onlooker| onlooker.notify_client(client, zxid, event));
        self.tell(client, Said::Event { zxid, event: event.clone() });
    }

    fn close_client(&mut self, client: ClientId) {
        self.show(|onlooker| onlooker.close_client(client));
        self.tell(client, Said::Closed);
    }

    fn note(&mut self, note: Note) {
        self.show(|onlooker| onlooker.note(note));
        if let Note::SessionExpired { session } = note {
            self.happened.expired.push(session);
        }
    }

    fn exit(&mut self, why: Exit) {
        panic!("a server ends: {why:?}");
    }
}
