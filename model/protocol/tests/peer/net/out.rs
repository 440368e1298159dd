//! What a peer asks for, kept until its step is over.
use protocol::{
    Exit, Message, Note, Notification, Role, Ticket, Timer,
    peer::{Answer, Effects, Packet},
};
use spec::{ClientId, Epoch, Machine, ServerId, SessionId, Zxid};

use super::{Said, Subject};

/// A disk operation.
pub(super) enum Disk<M: Machine> {
    Append(Zxid, M::Txn),
    Truncate(Zxid),
    Sync,
    Accepted(Epoch),
    Current(Epoch),
    Snapshot(Zxid, M),
}

/// What is to be done about a step.
pub(super) enum Effect<M: Machine> {
    Send(ServerId, Wire<M>),
    Connect(ServerId),
    Disconnect(ServerId),
    Refuse(ServerId),
    Disk(Ticket, Disk<M>),
    Locate(Ticket),
    Reload,
    Notify(ServerId, Notification),
    SetTimer(Timer),
    CancelTimer(Timer),
    Role(Option<Role>, bool),
    Client(ClientId, Said),
    Note(Note),
}

/// What a link carries.
pub(crate) enum Wire<M: Machine> {
    Packet(Packet<M>),
    Snapshot(Zxid, M),
}

/// Takes the effects of a step.
pub(super) struct Out<M: Machine>(pub(super) Vec<Effect<M>>);

impl<M: Subject> Out<M> {
    fn disk(&mut self, ticket: Ticket, operation: Disk<M>) {
        self.0.push(Effect::Disk(ticket, operation));
    }

    fn say(&mut self, client: ClientId, said: Said) {
        self.0.push(Effect::Client(client, said));
    }
}

impl<M: Subject> Effects<M> for Out<M> {
    fn send(&mut self, to: ServerId, packet: &Packet<M>) {
        self.0.push(Effect::Send(to, Wire::Packet(packet.clone())));
    }
    fn send_message(&mut self, to: ServerId, message: &Message<M::Txn>) {
        self.0.push(Effect::Send(to, Wire::Packet(Packet::Zab(message.clone()))));
    }
    fn stream_snapshot(&mut self, to: ServerId, last: Zxid, machine: &mut M) {
        self.0.push(Effect::Send(to, Wire::Snapshot(last, machine.clone())));
    }
    fn stream_log(&mut self, _to: ServerId, _after: Zxid, _through: Zxid) {
        panic!("the log is not searched here");
    }
    fn connect(&mut self, to: ServerId) {
        self.0.push(Effect::Connect(to));
    }
    fn disconnect(&mut self, peer: ServerId) {
        self.0.push(Effect::Disconnect(peer));
    }
    fn refuse(&mut self, from: ServerId) {
        self.0.push(Effect::Refuse(from));
    }
    fn append(&mut self, ticket: Ticket, zxid: Zxid, txn: &M::Txn) {
        self.disk(ticket, Disk::Append(zxid, txn.clone()));
    }
    fn truncate(&mut self, ticket: Ticket, last: Zxid) {
        self.disk(ticket, Disk::Truncate(last));
    }
    fn sync_log(&mut self, ticket: Ticket) {
        self.disk(ticket, Disk::Sync);
    }
    fn save_accepted(&mut self, ticket: Ticket, epoch: Epoch) {
        self.disk(ticket, Disk::Accepted(epoch));
    }
    fn save_current(&mut self, ticket: Ticket, epoch: Epoch) {
        self.disk(ticket, Disk::Current(epoch));
    }
    fn save_snapshot(&mut self, ticket: Ticket, label: Zxid, machine: &mut M) {
        self.disk(ticket, Disk::Snapshot(label, machine.clone()));
    }
    fn locate(&mut self, ticket: Ticket, _zxid: Zxid) {
        self.0.push(Effect::Locate(ticket));
    }
    fn reload(&mut self) {
        self.0.push(Effect::Reload);
    }
    fn notify_server(&mut self, to: ServerId, notification: &Notification) {
        self.0.push(Effect::Notify(to, *notification));
    }
    fn set_timer(&mut self, timer: Timer) {
        self.0.push(Effect::SetTimer(timer));
    }
    fn cancel_timer(&mut self, timer: Timer) {
        self.0.push(Effect::CancelTimer(timer));
    }
    fn role(&mut self, role: Option<Role>, _epoch: Epoch, serving: bool) {
        self.0.push(Effect::Role(role, serving));
    }
    fn accept_client(
        &mut self,
        client: ClientId,
        session: SessionId,
        timeout_ms: i32,
        password: &[u8; 16],
        read_only: bool,
    ) {
        let password = *password;
        self.say(client, Said::Accepted { session, timeout_ms, password, read_only });
    }
    fn refuse_client(&mut self, client: ClientId) {
        self.say(client, Said::Refused);
    }
    fn reply(&mut self, client: ClientId, xid: i32, zxid: Zxid, answer: Answer<'_, M>) {
        let answer = match answer {
            Answer::Outcome(outcome) => format!("{outcome:?}"),
            Answer::Read(answer) => M::show(&answer),
            Answer::Sync(path) => format!("sync {}", String::from_utf8_lossy(path)),
            Answer::Exchange(token) => format!("exchange {token:?}"),
            Answer::Empty => String::from("-"),
            Answer::Error(code) => format!("{code:?}"),
        };
        self.say(client, Said::Reply { xid, zxid, answer });
    }
    fn notify_client(&mut self, client: ClientId, zxid: Zxid, event: &M::Event) {
        self.say(client, Said::Event { zxid, event: format!("{event:?}") });
    }
    fn close_client(&mut self, client: ClientId) {
        self.say(client, Said::Closed);
    }
    fn note(&mut self, note: Note) {
        self.0.push(Effect::Note(note));
    }
    fn exit(&mut self, why: Exit) {
        panic!("a server ended: {why:?}");
    }
}
