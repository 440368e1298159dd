//! Takes what a peer asks for.

use std::collections::BTreeSet;

use protocol::{
    Exit, Message, Note, Notification, Role, Ticket, Timer,
    peer::{Answer, Effects, Packet},
};
use spec::{ClientId, Epoch, ServerId, SessionId, Zxid};

use super::{Happened, Onlooker, Run, Said, Storage, TimerChange, Wire};
use crate::{Fault, NetChange, Replica, Sight, watch::Watcher};

/// One step's effects: carried out at once on the server's own disk and timers, and data for everybody else.
pub(super) struct Sink<'a, 'b, M: Replica, D> {
    disk: &'a mut D,
    timers: &'a mut BTreeSet<Timer>,
    net: &'a mut Vec<NetChange<Wire<M>>>,
    votes: &'a mut Vec<(ServerId, Notification)>,
    told: &'a mut Vec<(ClientId, Said<M::Event>)>,
    expired: &'a mut Vec<SessionId>,
    timer_changes: &'a mut Vec<TimerChange>,
    notes: &'a mut Vec<Note>,
    watch: Watcher<'a>,
    onlooker: &'a mut Option<&'b mut dyn Onlooker<M>>,
    reload: bool,
    fault: Option<Fault>,
}

impl<'a, 'b, M: Replica, D: Storage<M>> Sink<'a, 'b, M, D> {
    pub(super) fn new(disk: &'a mut D, timers: &'a mut BTreeSet<Timer>, run: &'a mut Run<'b, M>) -> Self {
        let Happened { net, votes, told, expired, timers: timer_changes, notes, sights, .. } =
            &mut run.happened;
        let watch = Watcher::new(sights);
        Self {
            disk,
            timers,
            net,
            votes,
            told,
            expired,
            timer_changes,
            notes,
            watch,
            onlooker: &mut run.onlooker,
            reload: false,
            fault: None,
        }
    }

    /// What was heard, whether the state is to be loaded anew, and what is wrong with the step itself.
    pub(super) fn end(self) -> (Watcher<'a>, bool, Option<Fault>) {
        (self.watch, self.reload, self.fault)
    }

    fn show(&mut self, effect: impl FnOnce(&mut (dyn Onlooker<M> + 'b))) {
        if let Some(onlooker) = self.onlooker {
            effect(*onlooker);
        }
    }

    fn tell(&mut self, client: ClientId, said: Said<M::Event>) {
        self.told.push((client, said));
    }

    fn fail(&mut self, rule: &str, why: String) {
        self.fault.get_or_insert(Fault { rule: rule.to_owned(), why });
    }
}

impl<M: Replica, D: Storage<M>> Effects<M> for Sink<'_, '_, M, D> {
    fn send(&mut self, to: ServerId, packet: &Packet<M>) {
        self.show(|onlooker| onlooker.send(to, packet));
        self.net.push(NetChange::Send(to, Wire::Packet(packet.clone())));
    }

    fn send_message(&mut self, to: ServerId, message: &Message<M::Txn>) {
        self.show(|onlooker| onlooker.send_message(to, message));
        self.watch.message(message);
        self.net.push(NetChange::Send(to, Wire::Packet(Packet::Zab(message.clone()))));
    }

    fn stream_snapshot(&mut self, to: ServerId, last: Zxid, machine: &mut M) {
        self.show(|onlooker| onlooker.stream_snapshot(to, last, machine));
        let held = machine.last_processed();
        if held != last {
            self.fail("R-7", format!("a snapshot labelled {last} is sent of a state up to {held}"));
        }
        self.watch.snapshot();
        let state = Box::new(machine.reloaded());
        self.net.push(NetChange::Send(to, Wire::Snapshot { last, state }));
    }

    fn stream_log(&mut self, to: ServerId, after: Zxid, through: Zxid) {
        let Some(slice) = self.disk.slice(after, through) else {
            return self.fail("R-4", format!("the log does not hold all of ({after}, {through}]"));
        };
        for (zxid, txn) in slice {
            for message in [Message::Proposal { zxid, txn }, Message::Commit { zxid }] {
                self.show(|onlooker| onlooker.send_message(to, &message));
                self.net.push(NetChange::Send(to, Wire::Packet(Packet::Zab(message))));
            }
        }
    }

    fn connect(&mut self, to: ServerId) {
        self.show(|onlooker| onlooker.connect(to));
        self.net.push(NetChange::Dial(to));
    }

    fn disconnect(&mut self, peer: ServerId) {
        self.show(|onlooker| onlooker.disconnect(peer));
        self.net.push(NetChange::Close(peer));
    }

    fn refuse(&mut self, from: ServerId) {
        self.show(|onlooker| onlooker.refuse(from));
        self.net.push(NetChange::Refuse(from));
    }

    fn append(&mut self, ticket: Ticket, zxid: Zxid, txn: &M::Txn) {
        self.show(|onlooker| onlooker.append(ticket, zxid, txn));
        self.disk.append(ticket, zxid, txn.clone());
    }

    fn truncate(&mut self, ticket: Ticket, last: Zxid) {
        self.show(|onlooker| onlooker.truncate(ticket, last));
        if self.disk.last() > last {
            self.watch.sights.insert(Sight::ForeignSuffixRemoved);
        }
        self.disk.truncate(ticket, last);
    }

    fn sync_log(&mut self, ticket: Ticket) {
        self.show(|onlooker| onlooker.sync_log(ticket));
        self.disk.sync_log(ticket);
    }

    fn save_accepted(&mut self, ticket: Ticket, epoch: Epoch) {
        self.show(|onlooker| onlooker.save_accepted(ticket, epoch));
        self.disk.save_accepted(ticket, epoch);
    }

    fn save_current(&mut self, ticket: Ticket, epoch: Epoch) {
        self.show(|onlooker| onlooker.save_current(ticket, epoch));
        self.disk.save_current(ticket, epoch);
    }

    fn save_snapshot(&mut self, ticket: Ticket, label: Zxid, machine: &mut M) {
        self.show(|onlooker| onlooker.save_snapshot(ticket, label, machine));
        self.disk.save_snapshot(ticket, label, machine.reloaded());
    }

    fn locate(&mut self, ticket: Ticket, zxid: Zxid) {
        self.show(|onlooker| onlooker.locate(ticket, zxid));
        self.disk.locate(ticket, zxid);
    }

    fn reload(&mut self) {
        self.show(Effects::reload);
        self.reload = true;
    }

    fn notify_server(&mut self, to: ServerId, notification: &Notification) {
        self.show(|onlooker| onlooker.notify_server(to, notification));
        self.votes.push((to, *notification));
    }

    fn set_timer(&mut self, timer: Timer) {
        self.show(|onlooker| onlooker.set_timer(timer));
        self.timers.insert(timer);
        self.timer_changes.push(TimerChange::Set(timer));
    }

    fn cancel_timer(&mut self, timer: Timer) {
        self.show(|onlooker| onlooker.cancel_timer(timer));
        self.timers.remove(&timer);
        self.timer_changes.push(TimerChange::Cancel(timer));
    }

    fn role(&mut self, role: Option<Role>, epoch: Epoch, serving: bool) {
        self.show(|onlooker| onlooker.role(role, epoch, serving));
    }

    fn accept_client(
        &mut self,
        client: ClientId,
        session: SessionId,
        timeout_ms: i32,
        password: &[u8; 16],
        read_only: bool,
    ) {
        self.show(|onlooker| onlooker.accept_client(client, session, timeout_ms, password, read_only));
        self.tell(client, Said::Accepted { session, password: *password, read_only });
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
            Answer::Exchange(token) => format!("{token:?}"),
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
            self.expired.push(session);
        }
        self.notes.push(note);
        self.watch.note(note);
        self.watch.looked |= matches!(note, Note::Looking { .. });
    }

    fn exit(&mut self, why: Exit) {
        self.fail("R-5", format!("the server gives up: {why:?}"));
    }
}
