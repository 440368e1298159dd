//! What the loop owns: the peer, the state, and the shell that carries effects out.
//!
//! Everything here runs on one thread. Tasks that read sockets call [`Core::step`] directly with what they read, so
//! that a read is decoded, admitted and answered without a hand-over. Effects only fill buffers and lists; at the end
//! of a turn, when every socket that was ready has been drained, [`Core::end_turn`] hands the log's batch over first
//! and then sends each buffer with one write. Alone the commit of a large transaction leaves before that.

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::{Rc, Weak},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use protocol::{
    Recovered, Role, Timer,
    peer::{self, Input, Peer},
};
use recording::{LinkMark, Told};
use spec::{ClientId, Epoch, ServerId, Zxid};
use tokio::sync::Notify;
use tree::{Settings, Tree, Txn};

use crate::{
    Config,
    audit::Audit,
    batching::{self, Batching},
    client::{Clients, Phase, UNSENT_MAX, Unanswered},
    excerpt::excerpt,
    linger::Linger,
    link::Links,
    logging::LogPipe,
    mesh::Mesh,
    namespaces::Nodes,
    out::{self, Sent},
    recorder::Recorder,
    run::ExitCode,
    secure::Tls,
    seldom::SeldomLines,
    snapshots::Snapshots,
    stats::Stats,
    store::Store,
    throttle::Bucket,
    timer::{Durations, Timers},
    view::Mode,
};

/// The core, as tasks of the loop share it. Never borrowed across an await.
pub(crate) type Shared = Rc<RefCell<Core>>;

/// The peer, its state, and what surrounds them.
pub(crate) struct Core {
    pub(crate) peer: Peer<Tree>,
    config: peer::Config<Settings>,
    pub(crate) tree: Tree,
    pub(crate) shell: Shell,
}

/// What happened while an effect was carried out, to be told to the peer behind the step.
#[derive(Debug)]
pub(crate) enum Later {
    /// A client was dropped.
    ClientGone(ClientId),
    /// A link was dropped.
    LinkGone(ServerId),
}

/// What the peer plays for the world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) role: Option<Role>,
    pub(crate) epoch: Epoch,
    /// Clients are served under that role.
    pub(crate) serving: bool,
    /// There is no leader, and clients are served that only read.
    pub(crate) read_only: bool,
    /// Since when.
    pub(crate) since: Instant,
}

/// Everything around the peer: connections, links, disk, timers.
pub(crate) struct Shell {
    pub(crate) config: Rc<Config>,
    pub(crate) clients: Clients,
    pub(crate) links: Links,
    /// How connections are made that are not plain.
    pub(crate) tls: Tls,
    pub(crate) mesh: Mesh,
    pub(crate) timers: Timers,
    pub(crate) store: Store,
    pub(crate) batching: Batching,
    pub(crate) linger: Linger,
    pub(crate) snapshots: Snapshots,
    /// What connections take tokens from.
    pub(crate) bucket: Bucket,
    pub(crate) stats: Stats,
    pub(crate) recorder: Option<Box<Recorder>>,
    pub(crate) seldom: SeldomLines,
    /// What the audit log is still to tell, if there is one.
    pub(crate) audit: Option<Box<Audit>>,
    /// What `stmk` has set.
    pub(crate) trace_mask: i64,
    pub(crate) part: Part,
    /// Why the server must end, once it must.
    pub(crate) exit: Option<ExitCode>,
    pub(crate) later: VecDeque<Later>,
    pub(crate) wakes: Wakes,
    pub(crate) log_lines: Option<LogPipe>,
    pub(crate) me: Weak<RefCell<Core>>,
    /// What the peer has been told so far.
    pub(crate) inputs: u64,
    /// Whether a turn is under way.
    in_turn: bool,
    /// Shows the wall clock.
    wall: WallClock,
    /// When this turn began, or the last one if none is under way.
    clock: Clock,
}

/// Shows the wall clock, in milliseconds since 1970.
pub(crate) type WallClock = fn() -> i64;

/// The time, read once for all that comes in a turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub(crate) now: Instant,
    /// In milliseconds since 1970.
    pub(crate) wall: i64,
}

impl Clock {
    fn read(wall: WallClock) -> Self {
        Self { now: Instant::now(), wall: wall() }
    }
}

/// What wakes the tasks of the loop that wait for something other than a socket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wakes {
    /// The end of the turn is due.
    pub(crate) flush: Rc<Notify>,
    /// It pays to look for more before the loop sleeps.
    pub(crate) linger: Rc<Notify>,
    /// A timer is due earlier than was known.
    pub(crate) timer: Rc<Notify>,
    /// The server must end.
    pub(crate) exit: Rc<Notify>,
}

impl Shell {
    pub(crate) fn new(
        config: Rc<Config>,
        store: Store,
        snapshots: Snapshots,
        log_lines: Option<LogPipe>,
        wall: WallClock,
        me: Weak<RefCell<Core>>,
    ) -> Self {
        Self {
            clients: Clients::default(),
            links: Links::new(&config),
            tls: Tls::default(),
            mesh: Mesh::new(&config),
            timers: Timers::new(Durations::new(&config)),
            store,
            batching: Batching::default(),
            linger: Linger::default(),
            snapshots,
            bucket: Bucket::new(config.throttles.connections, Instant::now(), wall().cast_unsigned()),
            stats: Stats::new(),
            recorder: Recorder::start(&config),
            seldom: SeldomLines::default(),
            audit: config.audit.as_ref().map(|_| Box::default()),
            trace_mask: crate::words::TRACE_MASK,
            part: Part {
                role: None,
                epoch: Epoch(0),
                serving: false,
                read_only: false,
                since: Instant::now(),
            },
            exit: None,
            later: VecDeque::new(),
            wakes: Wakes::default(),
            log_lines,
            me,
            inputs: 0,
            in_turn: false,
            wall,
            clock: Clock::read(wall),
            config,
        }
    }

    /// What this timer waits for comes on: it waits anew, if it runs. As for ZooKeeper, `initLimit` bounds a silence, and
    /// not how long a large state takes on its way to a learner.
    pub(crate) fn comes_on(&mut self, timer: Timer) {
        self.timers.prolong(timer, Instant::now());
    }

    /// A piece of what a learner lacks is on its way: neither is it late, nor the epoch that its acknowledgement may
    /// establish.
    pub(crate) fn sends_on(&mut self, to: ServerId) {
        self.comes_on(Timer::Handshake(to));
        self.comes_on(Timer::Establish);
    }

    /// Marks that something is to be done at the end of this turn; the time at which it began.
    pub(crate) fn touch(&mut self) -> Clock {
        if !self.in_turn {
            self.in_turn = true;
            self.clock = Clock::read(self.wall);
            self.linger.turn_begins(self.clock.now);
            if let Some(recorder) = &mut self.recorder {
                recorder.turn(self.clock.now);
            }
            self.wakes.flush.notify_one();
        }
        self.clock
    }

    /// The time now, for what comes outside of a turn.
    pub(crate) fn clock_now(&self) -> Clock {
        Clock::read(self.wall)
    }

    /// A connection was refused for want of file descriptors.
    pub(crate) fn out_of_files(&mut self) {
        self.stats.connections_refused += 1;
        if let Some(refused) = self.seldom.files.count(Instant::now()) {
            tracing::warn!(refused, "out of file descriptors: connections are refused");
        }
    }

    /// Ends the server, unless it ends already.
    pub(crate) fn end(&mut self, code: ExitCode) {
        self.exit.get_or_insert(code);
        self.wakes.exit.notify_one();
    }

    pub(crate) fn mode(&self) -> Mode {
        match self.part.role {
            _ if self.part.read_only => Mode::ReadOnly,
            _ if !self.part.serving => Mode::NotServing,
            _ if self.config.standalone() => Mode::Standalone,
            Some(Role::Leading) => Mode::Leader,
            Some(Role::Following(_)) => Mode::Follower,
            Some(Role::Observing(_)) => Mode::Observer,
            None => Mode::NotServing,
        }
    }

    /// Sends what a client has unsent, and drops it if that is too much or nobody takes it.
    fn flush_client(&mut self, id: ClientId) {
        self.send_unsent(id);
        self.bound_unsent(id);
    }

    /// Counts what a client has unsent, and drops those that have most as long as all have too much.
    pub(crate) fn bound_unsent(&mut self, id: ClientId) {
        self.clients.count_unsent(id);
        while let Some((id, bytes)) = self.clients.heaviest() {
            if let Some(dropped) = self.seldom.unread.count(Instant::now()) {
                tracing::warn!(
                    dropped,
                    bytes,
                    "clients together do not read too much of their answers: who has most is dropped"
                );
            }
            self.drop_client(id);
        }
    }

    fn send_unsent(&mut self, id: ClientId) {
        let Some(client) = self.clients.get(id) else {
            return;
        };
        client.dirty = false;
        if client.overfull {
            return self.drop_client(id);
        }
        if client.blocked && client.out.len() <= UNSENT_MAX {
            return;
        }
        let sent = match client.phase {
            Phase::Closing(_) => out::send_last(&client.writer, &mut client.out),
            Phase::Fresh(_) | Phase::Open => out::send(&client.writer, &mut client.out, out::KEPT_OF_CLIENT),
        };
        match sent {
            Sent::All if matches!(client.phase, Phase::Closing(_)) => {
                self.forget_client(id);
            }
            Sent::All => client.blocked = false,
            Sent::Blocked if client.out.len() <= UNSENT_MAX => {
                let writer = Rc::clone(&client.writer);
                let me = self.me.clone();
                let waiter = tokio::task::spawn_local(async move {
                    let _ = writer.writable().await;
                    if let Some(core) = me.upgrade() {
                        let core = &mut *core.borrow_mut();
                        if let Some(client) = core.shell.clients.get(id) {
                            client.blocked = false;
                        }
                        core.shell.flush_client(id);
                        core.shell.clients.resume();
                        core.settle();
                    }
                });
                client.waits_with(waiter.abort_handle());
            }
            Sent::Blocked | Sent::Gone => self.drop_client(id),
        }
    }

    /// Drops a connection at once. The peer is told behind the step.
    pub(crate) fn drop_client(&mut self, id: ClientId) {
        if self.forget_client(id) == Some(Phase::Open) {
            self.later.push_back(Later::ClientGone(id));
        }
    }

    /// Closes the socket of a connection; how far that had come.
    fn forget_client(&mut self, id: ClientId) -> Option<Phase> {
        let mut client = self.clients.remove(id)?;
        if let Some(audit) = &mut self.audit {
            client.leave_behind(audit);
        }
        Some(client.phase)
    }
}

impl Core {
    /// Boots the peer from what recovery read.
    pub(crate) fn boot(
        config: peer::Config<Settings>,
        recovered: Recovered<Txn>,
        mut tree: Tree,
        mut shell: Shell,
    ) -> Self {
        if let Some(recorder) = &mut shell.recorder {
            recorder.boot(&config, &recovered, &tree);
        }
        shell.touch();
        let peer = Peer::boot(config.clone(), recovered, &mut tree, &mut shell);
        let mut core = Self { peer, config, tree, shell };
        core.settle();
        core
    }

    /// Tells the peer something, and then what came of it.
    pub(crate) fn step(&mut self, input: Input<Tree>) {
        self.shell.touch();
        self.shell.linger.step();
        self.shell.inputs += 1;
        self.shell.record(&input);
        self.peer.step(&mut self.tree, input, &mut self.shell);
        self.settle();
    }

    /// As [`Self::step`], with something that leaves the peer as it is: it is not recorded.
    pub(crate) fn step_unrecorded(&mut self, input: Input<Tree>) {
        self.shell.touch();
        self.shell.linger.step();
        self.shell.inputs += 1;
        let recorder = self.shell.recorder.take();
        self.peer.step(&mut self.tree, input, &mut self.shell);
        self.shell.recorder = recorder;
        self.settle();
    }

    /// Tells the peer what came up while effects were carried out.
    pub(crate) fn settle(&mut self) {
        while let Some(later) = self.shell.later.pop_front() {
            self.shell.touch();
            let input = match later {
                Later::ClientGone(client) => Input::ClientClosed(client),
                Later::LinkGone(peer) => Input::Disconnected(peer),
            };
            self.shell.inputs += 1;
            self.shell.record(&input);
            self.peer.step(&mut self.tree, input, &mut self.shell);
        }
    }

    /// Ends a turn: the log's batch goes to its thread, then every buffer out.
    pub(crate) fn end_turn(&mut self) {
        self.begin_due_save();
        let waits = self.proposals_wait();
        if !waits {
            self.shell.store.hand_over();
            self.shell.flush_links();
        }
        for id in std::mem::take(&mut self.shell.clients.dirty) {
            self.shell.flush_client(id);
        }
        self.settle();
        self.shell.settle_orphans(&self.peer);
        if self.shell.clients.any_paused()
            && !self.shell.too_many_requests(&self.peer)
            && !self.shell.too_much_written()
        {
            self.shell.clients.resume();
        }
        self.grant_throttled();
        self.tell_applied();
        if std::mem::take(&mut self.shell.in_turn) {
            let now = Instant::now();
            self.end_recorded_turn(now);
            self.shell.stats.turn(now.saturating_duration_since(self.shell.clock.now));
            if self.shell.linger.turn_ends(now, self.peer.outstanding_requests()) {
                self.shell.wakes.linger.notify_one();
            }
        }
        let unsent = self.shell.store.has_batch() || self.shell.links.any_dirty();
        if (unsent && !waits) || !self.shell.clients.dirty.is_empty() {
            self.shell.touch();
        }
    }

    /// Notes what was applied in this turn.
    fn tell_applied(&mut self) {
        let shell = &mut self.shell;
        let role = shell.part.role.filter(|_| !shell.config.standalone());
        let last = spec::Machine::last_processed(&self.tree);
        shell.stats.fired.settle();
        if let Some(audit) = shell.audit.as_mut().filter(|_| shell.part.serving) {
            audit.applied(last);
        }
        shell.stats.digests.compared(self.tree.digest_mismatches(), last, shell.part.serving);
        shell.stats.pipeline.applied(last, shell.clock.wall, role);
        shell.clients.applied(last);
    }

    /// Marks the turn in the recording.
    fn end_recorded_turn(&mut self, now: Instant) {
        if let Some(recorder) = &mut self.shell.recorder {
            recorder.end_turn(now, &self.tree);
            if recorder.is_file_full() {
                recorder.checkpoint(now, &self.config, &self.peer, &self.tree);
            }
            if recorder.is_over {
                self.shell.recorder = None;
            }
        }
    }

    /// Ends the recording in order; the thread that writes it, to wait for.
    pub(crate) fn end_recording(&mut self) -> Option<std::thread::JoinHandle<()>> {
        self.shell.recorder.take().map(|recorder| recorder.end(&self.tree))
    }

    /// Hands what is recorded to its thread: nothing else may follow for a while.
    pub(crate) fn flush_recorder(&mut self) {
        if let Some(recorder) = &mut self.shell.recorder {
            recorder.hand_over(Instant::now(), &self.tree);
        }
    }

    /// Whether what this leader has proposed waits for the batch before it. The end of that wait is the commit's turn,
    /// or a turn of its own.
    fn proposals_wait(&mut self) -> bool {
        let (Some(last), Some(Role::Leading)) = (self.shell.store.batch_last(), self.shell.part.role) else {
            return false;
        };
        let now = self.shell.clock.now;
        if !self.shell.batching.waits(spec::Machine::last_processed(&self.tree), now) {
            self.shell.batching.sent(last, now);
            return false;
        }
        if !std::mem::replace(&mut self.shell.batching.wakes, true) {
            let me = self.shell.me.clone();
            tokio::task::spawn_local(async move {
                tokio::time::sleep(batching::WAIT_MAX).await;
                if let Some(core) = me.upgrade() {
                    let shell = &mut core.borrow_mut().shell;
                    shell.batching.wakes = false;
                    shell.touch();
                }
            });
        }
        true
    }

    /// Whether a connection's task may read on.
    pub(crate) fn reading(&mut self, client: ClientId) -> crate::client::Reading {
        let too_many = self.shell.too_many_requests(&self.peer);
        let too_much = self.shell.too_much_written();
        self.shell.clients.reading(client, too_many, too_much)
    }
}

impl Shell {
    /// Whether no turn is under way, and nothing waits for one.
    pub(crate) fn is_at_rest(&self) -> bool {
        let unsent = self.store.has_batch() || self.links.any_dirty() || !self.clients.dirty.is_empty();
        !self.in_turn && !unsent
    }

    /// Records that a link is up, of which the peer is told next.
    pub(crate) fn record_link(&mut self, link: LinkMark) {
        if let Some(recorder) = &mut self.recorder {
            recorder.link(link);
        }
    }

    /// Takes an effect into the digest that is recorded, if anything is.
    #[inline]
    pub(crate) fn tell(&mut self, effect: impl FnOnce(&mut Told)) {
        if let Some(recorder) = &mut self.recorder {
            effect(&mut recorder.told);
        }
    }

    /// Records what the peer is about to be told.
    fn record(&mut self, input: &Input<Tree>) {
        if let Some(recorder) = &mut self.recorder {
            let learning = self.part.serving && self.part.role.is_some_and(|role| role.leader().is_some());
            recorder.input(input, learning);
        }
    }

    /// Records that a request is answered, and how long that took; the request.
    pub(crate) fn answered(&mut self, client: ClientId, zxid: Zxid) -> Option<Unanswered> {
        self.stats.packets_sent += 1;
        let now = self.clock.now;
        let (request, took) = self.clients.answered(client, zxid, now)?;
        if request.counts {
            self.stats.latency.record(took);
            let kind =
                if request.reads { &mut self.stats.read_latency } else { &mut self.stats.update_latency };
            kind.record(took);
        }
        Some(request)
    }

    /// An answer is on its way that its client may not take: those of ZooKeeper give up on what is longer than their
    /// own limit, which is this server's if nobody has changed it.
    pub(crate) fn warn_of_long_answer(&mut self, bytes: usize, nodes: &Nodes) {
        if let Some(answers) = self.seldom.answers.count(self.clock.now) {
            let (path, limit) = (&*excerpt(nodes.first().unwrap_or("-")), self.config.frame_bytes_max);
            tracing::warn!(
                answers,
                path,
                bytes,
                limit,
                "an answer is longer than jute.maxbuffer; clients may hang up on it"
            );
        }
    }
}

/// The wall clock, in milliseconds since 1970.
pub(crate) fn wall_clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
