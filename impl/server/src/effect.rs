//! Carries the peer's effects out: each fills a buffer or a list, and none waits.

use std::time::{Duration, Instant};

use protocol::{
    Exit, Message, Note, Notification, Role, Ticket, Timer, Violation,
    io::SyncKind,
    peer::{Answer, Effects, Packet},
};
use spec::{ClientId, Epoch, ServerId, SessionId, Zxid};
use tracing::{debug, info, warn};
use tree::{Event, Tree, Txn};
use wire::{
    client::{ConnectResponse, put_event, put_reply},
    log::ENTRY_OVERHEAD_BYTES,
};

use crate::{
    core::{Part, Shell},
    link::Sync,
    net::set_silence_max,
    run::ExitCode,
    serve::SILENCE_MAX,
    snapshots::Saving,
    view::Mode,
};

impl Effects<Tree> for Shell {
    fn send(&mut self, to: ServerId, packet: &Packet<Tree>) {
        self.tell(|told| told.send(to, packet));
        self.stats.pipeline.sent(to, packet);
        self.links.send(to, packet, &mut self.stats);
    }

    fn send_message(&mut self, to: ServerId, message: &Message<Txn>) {
        self.tell(|told| told.send_message(to, message));
        self.links.send_message(to, message, &mut self.stats);
        // It takes long to apply: the others begin before this server has done it, and not behind it.
        if let Message::Commit { zxid } | Message::Inform { zxid, .. } = message
            && self.store.last_large() == Some(*zxid)
        {
            self.flush_links();
        }
    }

    fn stream_snapshot(&mut self, to: ServerId, last: Zxid, machine: &mut Tree) {
        self.tell(|told| told.stream(to, None, last));
        if self.may_sync(to, Sync::Snapshot) {
            self.begin_send(to, last, machine);
        }
    }

    fn stream_log(&mut self, to: ServerId, after: Zxid, through: Zxid) {
        self.tell(|told| told.stream(to, Some(after), through));
        if self.may_sync(to, Sync::Log)
            && let Some(stream) = self.links.begin_stream(to, Sync::Log)
        {
            let pieces = self.store.stream_log(after, through);
            self.pump_log(stream, pieces);
        }
    }

    fn connect(&mut self, to: ServerId) {
        self.tell(|told| told.link(0, to));
        self.links.connect(to, &self.config, &self.me);
    }

    fn disconnect(&mut self, peer: ServerId) {
        self.tell(|told| told.link(1, peer));
        self.links.close(peer);
    }

    fn refuse(&mut self, from: ServerId) {
        self.tell(|told| told.link(2, from));
        self.links.refuse(from);
    }

    fn append(&mut self, ticket: Ticket, zxid: Zxid, txn: &Txn) {
        self.tell(|told| told.append(ticket, zxid));
        let bytes = self.store.append(ticket, zxid, txn);
        if let Some(audit) = &mut self.audit {
            audit.logged(zxid, txn);
        }
        self.stats.namespaces.logged(txn);
        self.snapshots.logged(bytes);
        self.stats.pipeline.logged(zxid, txn.time, self.part.serving);
        if self.mode() == Mode::Leader {
            self.stats.proposal(bytes.saturating_sub(ENTRY_OVERHEAD_BYTES));
        }
    }

    fn truncate(&mut self, ticket: Ticket, last: Zxid) {
        self.tell(|told| told.disk(0, ticket, last.0));
        self.snapshots.cancel();
        if let Some(audit) = &mut self.audit {
            audit.cut(last);
        }
        self.store.truncate(ticket, last);
    }

    fn sync_log(&mut self, ticket: Ticket) {
        self.tell(|told| told.disk(1, ticket, 0));
        self.store.sync(ticket);
    }

    fn save_accepted(&mut self, ticket: Ticket, epoch: Epoch) {
        self.tell(|told| told.disk(2, ticket, u64::from(epoch.0)));
        self.store.save_accepted(ticket, epoch);
    }

    fn save_current(&mut self, ticket: Ticket, epoch: Epoch) {
        self.tell(|told| told.disk(3, ticket, u64::from(epoch.0)));
        self.store.save_current(ticket, epoch);
    }

    fn save_snapshot(&mut self, ticket: Ticket, label: Zxid, machine: &mut Tree) {
        self.tell(|told| told.disk(4, ticket, label.0));
        if let Some(audit) = &mut self.audit {
            audit.replaced();
        }
        self.begin_save(Saving::Received(ticket), label, machine);
    }

    fn locate(&mut self, ticket: Ticket, zxid: Zxid) {
        self.tell(|told| told.disk(5, ticket, zxid.0));
        self.store.locate(ticket, zxid);
    }

    fn reload(&mut self) {
        self.tell(|told| told.disk(6, Ticket(0), 0));
        self.snapshots.cancel();
        self.store.reload();
    }

    fn notify_server(&mut self, to: ServerId, notification: &Notification) {
        self.tell(|told| told.notify_server(to, notification));
        self.mesh.post(to, notification, &self.config, &self.me);
    }

    fn set_timer(&mut self, timer: Timer) {
        self.tell(|told| told.timer(true, timer));
        let now = self.touch().now;
        if self.timers.set(timer, now) {
            self.wakes.timer.notify_one();
        }
    }

    fn cancel_timer(&mut self, timer: Timer) {
        self.tell(|told| told.timer(false, timer));
        self.timers.cancel(timer);
    }

    fn role(&mut self, role: Option<Role>, epoch: Epoch, serving: bool) {
        self.tell(|told| told.role(role, epoch, serving));
        match role.filter(|_| serving) {
            Some(role) => {
                self.links.reset_backoff();
                match role {
                    Role::Leading => info!(%epoch, "leading"),
                    Role::Following(leader) => info!(%epoch, peer = %leader, "following"),
                    Role::Observing(leader) => info!(%epoch, peer = %leader, "observing"),
                }
            }
            None if self.part.serving => info!(epoch = %self.part.epoch, "serving no longer"),
            None if self.part.read_only => {
                info!("a leader is found: clients that only read have to come back");
            }
            None => {}
        }
        if let Some(role) = role {
            self.stats.found(role);
        }
        let (serving, read_only) = (serving && role.is_some(), serving && role.is_none());
        if !self.config.standalone() {
            self.stats.pipeline.plays(role, serving);
        }
        self.part = Part { role, epoch, serving, read_only, since: Instant::now() };
    }

    fn accept_client(
        &mut self,
        client: ClientId,
        session: SessionId,
        timeout_ms: i32,
        password: &[u8; 16],
        read_only: bool,
    ) {
        self.tell(|told| told.client(if read_only { 3 } else { 0 }, client, session));
        let asked = self.clients.get(client).and_then(|client| {
            client.session = Some((session, timeout_ms));
            let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
            if timeout > SILENCE_MAX
                && let Err(error) = set_silence_max(client.writer.tcp(), timeout)
            {
                debug!(%error, "a client's silence is bounded as any other's");
            }
            client.read_only
        });
        let read_only = asked.map(|_| read_only);
        if let Some(out) = self.clients.buffer(client) {
            ConnectResponse { protocol_version: 0, timeout_ms, session, password: *password, read_only }
                .encode(out);
        }
        if self.answered(client, Zxid::ZERO).is_some_and(|request| request.counts) {
            self.clients.made.push(client);
        }
    }

    fn refuse_client(&mut self, client: ClientId) {
        self.tell(|told| told.client(1, client, SessionId(0)));
        let said = self.part.read_only;
        let read_only = self.clients.get(client).and_then(|client| client.read_only).map(|_| said);
        if let Some(out) = self.clients.buffer(client) {
            ConnectResponse::refusal(read_only).encode(out);
        }
        self.answered(client, Zxid::ZERO);
        self.clients.close(client);
    }

    fn reply(&mut self, client: ClientId, xid: i32, zxid: Zxid, answer: Answer<'_, Tree>) {
        self.tell(|told| told.reply(client, xid, zxid, &answer));
        let mut bytes = 0;
        if let Some(out) = self.clients.buffer(client) {
            let before = out.len();
            put_reply(xid, zxid, &answer, out);
            bytes = payload(out.len() - before);
            self.stats.response(bytes);
            self.stats.response_bytes += u64::try_from(bytes).unwrap_or(0);
        }
        let Some(request) = self.answered(client, zxid) else { return };
        if bytes > self.config.frame_bytes_max {
            self.warn_of_long_answer(bytes, &request.nodes);
        }
        self.stats.namespaces.answered(&request.nodes, &answer);
        if let Some(asked) = request.audited
            && let Some((session, _)) = self.clients.get(client).and_then(|client| client.session)
        {
            asked.answered(session, &answer);
        }
    }

    fn notify_client(&mut self, client: ClientId, zxid: Zxid, event: &Event) {
        self.tell(|told| told.event(client, zxid));
        if let Some(out) = self.clients.buffer(client) {
            let before = out.len();
            put_event(zxid, event, out);
            let bytes = payload(out.len() - before);
            self.stats.response(bytes);
            self.stats.watch_bytes += u64::try_from(bytes).unwrap_or(0);
            self.stats.packets_sent += 1;
            self.stats.fired.tells(zxid, event);
            self.clients.told(client);
        }
    }

    fn close_client(&mut self, client: ClientId) {
        self.tell(|told| told.client(2, client, SessionId(0)));
        self.clients.close(client);
    }

    fn note(&mut self, note: Note) {
        self.tell(|told| told.note(note));
        self.count(note);
        tell(note);
    }

    fn exit(&mut self, why: Exit) {
        match why {
            Exit::TruncateFailed { wanted, found } => {
                tracing::error!(
                    %wanted,
                    %found,
                    "the log could not be cut where the leader said; if this comes again at the next start, move \
                     version-2 of dataDir and dataLogDir away, and let this server be brought up to date anew"
                );
            }
        }
        self.end(ExitCode::QuorumPacket);
    }
}

impl Shell {
    fn count(&mut self, note: Note) {
        match note {
            Note::Looking { .. } => {
                // A server that is alone elects itself, and tells of no election.
                if !self.config.standalone() {
                    self.stats.looks();
                }
                self.links.reset_backoff();
            }
            Note::Synchronising { how: SyncKind::Diff | SyncKind::DiffFromLog | SyncKind::Trunc, .. } => {
                self.stats.diffs += 1;
            }
            Note::StaleAck { .. }
            | Note::Stray { .. }
            | Note::Refused { .. }
            | Note::Dropped { .. }
            | Note::Outranked { .. }
            | Note::CameBack { .. }
            | Note::Established { .. }
            | Note::CounterUsedUp { .. }
            | Note::VoteIgnored { .. }
            | Note::StaleVote { .. }
            | Note::UnknownClient { .. }
            | Note::OfAnotherConnection { .. }
            | Note::SessionIdTaken { .. }
            | Note::ReadOnly { .. }
            | Note::IdleTimer(_)
            // Counted where it begins, which it may have to wait for.
            | Note::Synchronising { how: SyncKind::Snap, .. } => {}
            Note::InVain { .. } => {
                self.stats.vain_reigns += u64::from(self.part.role == Some(Role::Leading));
            }
            Note::SessionExpired { .. } => self.stats.sessions_expired += 1,
        }
    }
}

/// The bytes of a frame behind its length.
fn payload(frame: usize) -> usize {
    frame.saturating_sub(size_of::<i32>())
}

/// The one place where notes are logged.
fn tell(note: Note) {
    match note {
        Note::Dropped { peer, violation: Violation::NotItsPart } => {
            warn!(%peer, "a learner was turned away: the two servers' lists differ in whether it is an observer");
        }
        Note::Dropped { peer, violation } => {
            warn!(%peer, ?violation, "a link was dropped: the other end broke the protocol");
        }
        Note::Outranked { by } => warn!(peer = %by, "a learner has more than this leader, which gives up"),
        Note::CameBack { learner } => {
            warn!(peer = %learner, "a learner dialled anew, and without it there is no quorum; the leader steps down");
        }
        Note::InVain { by } => info!(peer = %by, "voters look elsewhere; the role is given up"),
        Note::CounterUsedUp { epoch } => warn!(%epoch, "the epoch is used up; the leader steps down"),
        Note::Looking { last } => info!(zxid = %last, "looking for a leader"),
        Note::ReadOnly { last } => {
            warn!(zxid = %last, "no leader was found for some time: clients that only read are served");
        }
        Note::Established { epoch } => info!(%epoch, "the epoch is established"),
        Note::Synchronising { learner, last, how } => {
            info!(peer = %learner, zxid = %last, ?how, "bringing a learner up to date");
        }
        Note::SessionExpired { session } => info!(%session, "a session has expired"),
        Note::SessionIdTaken { session } => {
            warn!(%session, "a session was made under an id that is taken: a server's clock went back");
        }
        Note::StaleAck { .. }
        | Note::Stray { .. }
        | Note::Refused { .. }
        | Note::VoteIgnored { .. }
        | Note::StaleVote { .. }
        | Note::UnknownClient { .. }
        | Note::OfAnotherConnection { .. }
        | Note::IdleTimer(_) => {
            debug!(?note, "ignored");
        }
    }
}
