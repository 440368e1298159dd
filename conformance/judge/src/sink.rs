//! What an actor asks for in one step, kept as values.

use protocol::{
    Exit, Message, Note, Notification, Role, Ticket, Timer,
    peer::{Answer, Effects, Packet},
};
use recording::Told;
use spec::{ClientId, Epoch, ServerId, SessionId, Zxid};
use tree::{Event, Tree, Txn};

/// An effect; some of it is only told.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "what the judge does not follow up is for the trace")]
pub(crate) enum Effect {
    Send(ServerId, Packet<Tree>),
    Snapshot(ServerId, Zxid),
    Log(ServerId, Zxid, Zxid),
    Dial(ServerId),
    Close(ServerId),
    Append(Ticket, Zxid, Txn),
    Truncate(Ticket, Zxid),
    SyncLog(Ticket),
    Accepted(Ticket, Epoch),
    Current(Ticket, Epoch),
    Store(Ticket, Zxid),
    Locate(Ticket),
    Reload,
    Vote(ServerId, Notification),
    Role(Option<Role>, Epoch, bool),
    Session { client: ClientId, session: SessionId, read_only: bool },
    Reply { client: ClientId, xid: i32, zxid: Zxid, written: bool },
    Event { client: ClientId, zxid: Zxid },
    Gone(ClientId),
    Timer(Timer, bool),
    Note(Note),
    Exit(Exit),
}

/// Takes the effects of a step.
#[derive(Debug)]
pub(crate) struct Sink<'a> {
    pub(crate) told: &'a mut Told,
    pub(crate) effects: Vec<Effect>,
}

impl Effects<Tree> for Sink<'_> {
    fn send(&mut self, to: ServerId, packet: &Packet<Tree>) {
        self.told.send(to, packet);
        self.effects.push(Effect::Send(to, packet.clone()));
    }

    fn send_message(&mut self, to: ServerId, message: &Message<Txn>) {
        self.told.send_message(to, message);
        self.effects.push(Effect::Send(to, Packet::Zab(message.clone())));
    }

    fn stream_snapshot(&mut self, to: ServerId, last: Zxid, _: &mut Tree) {
        self.told.stream(to, None, last);
        self.effects.push(Effect::Snapshot(to, last));
    }

    fn stream_log(&mut self, to: ServerId, after: Zxid, through: Zxid) {
        self.told.stream(to, Some(after), through);
        self.effects.push(Effect::Log(to, after, through));
    }

    fn connect(&mut self, to: ServerId) {
        self.told.link(0, to);
        self.effects.push(Effect::Dial(to));
    }

    fn disconnect(&mut self, peer: ServerId) {
        self.told.link(1, peer);
        self.effects.push(Effect::Close(peer));
    }

    fn refuse(&mut self, from: ServerId) {
        self.told.link(2, from);
        self.effects.push(Effect::Close(from));
    }

    fn append(&mut self, ticket: Ticket, zxid: Zxid, txn: &Txn) {
        self.told.append(ticket, zxid);
        self.effects.push(Effect::Append(ticket, zxid, txn.clone()));
    }

    fn truncate(&mut self, ticket: Ticket, last: Zxid) {
        self.told.disk(0, ticket, last.0);
        self.effects.push(Effect::Truncate(ticket, last));
    }

    fn sync_log(&mut self, ticket: Ticket) {
        self.told.disk(1, ticket, 0);
        self.effects.push(Effect::SyncLog(ticket));
    }

    fn save_accepted(&mut self, ticket: Ticket, epoch: Epoch) {
        self.told.disk(2, ticket, u64::from(epoch.0));
        self.effects.push(Effect::Accepted(ticket, epoch));
    }

    fn save_current(&mut self, ticket: Ticket, epoch: Epoch) {
        self.told.disk(3, ticket, u64::from(epoch.0));
        self.effects.push(Effect::Current(ticket, epoch));
    }

    fn save_snapshot(&mut self, ticket: Ticket, label: Zxid, _: &mut Tree) {
        self.told.disk(4, ticket, label.0);
        self.effects.push(Effect::Store(ticket, label));
    }

    fn locate(&mut self, ticket: Ticket, zxid: Zxid) {
        self.told.disk(5, ticket, zxid.0);
        self.effects.push(Effect::Locate(ticket));
    }

    fn reload(&mut self) {
        self.told.disk(6, Ticket(0), 0);
        self.effects.push(Effect::Reload);
    }

    fn notify_server(&mut self, to: ServerId, notification: &Notification) {
        self.told.notify_server(to, notification);
        self.effects.push(Effect::Vote(to, *notification));
    }

    fn set_timer(&mut self, timer: Timer) {
        self.told.timer(true, timer);
        self.effects.push(Effect::Timer(timer, true));
    }

    fn cancel_timer(&mut self, timer: Timer) {
        self.told.timer(false, timer);
        self.effects.push(Effect::Timer(timer, false));
    }

    fn role(&mut self, role: Option<Role>, epoch: Epoch, serving: bool) {
        self.told.role(role, epoch, serving);
        self.effects.push(Effect::Role(role, epoch, serving));
    }

    fn accept_client(&mut self, client: ClientId, session: SessionId, _: i32, _: &[u8; 16], read_only: bool) {
        self.told.client(if read_only { 3 } else { 0 }, client, session);
        self.effects.push(Effect::Session { client, session, read_only });
    }

    fn refuse_client(&mut self, client: ClientId) {
        self.told.client(1, client, SessionId(0));
        self.effects.push(Effect::Gone(client));
    }

    fn reply(&mut self, client: ClientId, xid: i32, zxid: Zxid, answer: Answer<'_, Tree>) {
        self.told.reply(client, xid, zxid, &answer);
        let written = matches!(answer, Answer::Outcome(_));
        self.effects.push(Effect::Reply { client, xid, zxid, written });
    }

    fn notify_client(&mut self, client: ClientId, zxid: Zxid, _: &Event) {
        self.told.event(client, zxid);
        self.effects.push(Effect::Event { client, zxid });
    }

    fn close_client(&mut self, client: ClientId) {
        self.told.client(2, client, SessionId(0));
        self.effects.push(Effect::Gone(client));
    }

    fn note(&mut self, note: Note) {
        self.told.note(note);
        self.effects.push(Effect::Note(note));
    }

    fn exit(&mut self, why: Exit) {
        self.effects.push(Effect::Exit(why));
    }
}
