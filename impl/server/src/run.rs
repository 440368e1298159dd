//! A whole server, from its start to its end.

use std::{
    cell::RefCell,
    fs,
    future::Future,
    io,
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use protocol::{peer, peer::Input, zab};
use spec::{ServerId, SessionId};
use storage::Disk;
use thiserror::Error;
use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::{LocalSet, spawn_local, yield_now},
};
use tracing::{error, info, warn};
use tree::Settings;

use crate::{
    Config,
    admin::{self, Offer},
    audit,
    core::{Core, Later, Shared, Shell, WallClock, wall_clock},
    linger, link,
    logging::LogPipe,
    mesh,
    net::BoundPort,
    secure::{Door, Tls},
    serve,
    snapshots::Snapshots,
    store::{self, DiskEvent, LogPiece},
};

/// The last counter that a leader uses in an epoch: the next would run into the epoch's bits.
const COUNTER_MAX: u32 = u32::MAX - 1;
/// Connections that may wait for a port of HTTP.
const HTTP_BACKLOG: u32 = 64;
/// How long a connection to the port of metrics may take for a request and its answer.
const METRICS_IDLE_MAX: Duration = Duration::from_secs(30);
/// How late a look at silent connections may come for them to have been silent.
const PAUSE: Duration = Duration::from_secs(3);
/// How long a server that stops waits for what is on its way out.
const STOP_MAX: Duration = Duration::from_millis(500);

/// With what code the process ends.
///
/// Source: ZooKeeper `ExitCode`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum ExitCode {
    /// As it was asked to.
    Finished = 0,
    /// For a reason that has no code of its own.
    Unexpected = 1,
    /// Wrong arguments or configuration.
    Invocation = 2,
    /// The data cannot be used.
    DataDir = 3,
    /// A snapshot cannot be written.
    Snapshot = 10,
    /// A leader asked for what the log cannot do.
    QuorumPacket = 13,
    /// The admin server of a server that is alone cannot start.
    AdminPort = 4,
    /// A port between servers is taken.
    QuorumPort = 14,
}

/// Why a server cannot start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// A port cannot be had.
    #[error("cannot listen on {what} port {port}: {source}{}", advice(source, *port))]
    Port {
        /// Which port.
        what: &'static str,
        /// Its number.
        port: u16,
        /// Why not.
        source: io::Error,
    },
    /// The data cannot be used.
    #[error(transparent)]
    Storage(#[from] storage::Error),
    /// There can be no TLS.
    #[error("there can be no TLS: {0}")]
    Tls(#[from] tls::Error),
    /// Something that the system should give.
    #[error(transparent)]
    System(#[from] io::Error),
}

/// What to do about a port that cannot be had.
fn advice(why: &io::Error, port: u16) -> String {
    if why.kind() == io::ErrorKind::AddrInUse {
        format!("; `ss -ltnp sport = :{port}` shows who has it: stop that, or change the port")
    } else if why.kind() == io::ErrorKind::PermissionDenied {
        "; ports below 1024 are for privileged processes".to_owned()
    } else if why.kind() == io::ErrorKind::AddrNotAvailable {
        "; this machine has no such address".to_owned()
    } else {
        String::new()
    }
}

impl StartError {
    /// The code that the process is to end with.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Port { what: "client" | "metrics", .. } | Self::System(_) => ExitCode::Unexpected,
            Self::Port { what: "admin", .. } => ExitCode::AdminPort,
            Self::Port { .. } => ExitCode::QuorumPort,
            Self::Tls(_) => ExitCode::Invocation,
            Self::Storage(error) if error.may_pass() => ExitCode::Unexpected,
            Self::Storage(_) => ExitCode::DataDir,
        }
    }
}

/// Runs a server on this thread until `stop` is ready or it must end, and returns the code that says why.
///
/// Nothing is written to `disk` before recovery has succeeded and every port is bound.
///
/// # Errors
/// If it cannot start.
pub fn run<D: Disk>(
    config: Config,
    disk: D,
    log_lines: Option<LogPipe>,
    stop: impl Future<Output = ()> + 'static,
) -> Result<ExitCode, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let outcome = local.block_on(&runtime, serve_until(config, disk, log_lines, stop));
    drop(local);
    // Name lookups may hang in a thread of their own; nothing waits for them.
    runtime.shutdown_background();
    outcome
}

/// The ports of a server, taken and not listened on.
pub(crate) struct Ports {
    client: Option<BoundPort>,
    secure: Option<BoundPort>,
    tls: Tls,
    between: Option<(BoundPort, BoundPort)>,
    admin: Option<BoundPort>,
    metrics: Option<BoundPort>,
}

impl Ports {
    pub(crate) async fn bind(config: &Config) -> Result<Self, StartError> {
        let client = client_port(config.client_port, config.client_address.as_deref(), config).await?;
        let secure = config.tls.port.as_ref();
        let secure =
            client_port(secure.map(|(_, port)| *port), secure.and_then(|(host, _)| host.as_deref()), config);
        let secure = secure.await?;
        let tls = Tls::load(&config.tls)?;
        let between = match config.servers.get(&config.me) {
            None => None,
            Some(own) => {
                let mut host = Some(own.host.as_str()).filter(|_| !config.quorum_listen_on_all_ips);
                if let Some(name) = host
                    && !resolves(name, Duration::from_millis(u64::from(config.connect_timeout_ms))).await
                {
                    warn!(name, "this server's own name cannot be resolved; listening on every address");
                    host = None;
                }
                let quorum = port("quorum", host, own.quorum_port, 128).await?;
                let election = port("election", host, own.election_port, 128).await?;
                Some((quorum, election))
            }
        };
        let metrics = match &config.metrics {
            None => None,
            Some((host, number)) => Some(port("metrics", host.as_deref(), *number, HTTP_BACKLOG).await?),
        };
        Ok(Self { client, secure, tls, between, admin: admin_port(config).await?, metrics })
    }
}

/// A port of clients, if there is one.
async fn client_port(
    number: Option<u16>,
    host: Option<&str>,
    config: &Config,
) -> Result<Option<BoundPort>, StartError> {
    let Some(number) = number else { return Ok(None) };
    port("client", host, number, config.client_backlog).await.map(Some)
}

async fn admin_port(config: &Config) -> Result<Option<BoundPort>, StartError> {
    let Some(admin) = &config.admin else { return Ok(None) };
    not_needed(config, port("admin", admin.address.as_deref(), admin.port, HTTP_BACKLOG).await)
}

/// The admin server's port, if it can be had. One that is taken ends a server that is alone, and is a warning in an
/// ensemble, as in ZooKeeper: there several servers of one machine may come with the same default.
fn not_needed<T>(config: &Config, port: Result<T, StartError>) -> Result<Option<T>, StartError> {
    let Err(error) = port else { return port.map(Some) };
    warn!(%error, "there is no admin server: admin.serverPort moves it, admin.enableServer=false turns it off");
    if config.standalone() { Err(error) } else { Ok(None) }
}

async fn port(
    what: &'static str,
    host: Option<&str>,
    port: u16,
    backlog: u32,
) -> Result<BoundPort, StartError> {
    let bound = BoundPort::bind(host, port, backlog).await;
    bound.map_err(|source| StartError::Port { what, port, source })
}

/// Whether a name has an address, as far as that can be told in this time.
async fn resolves(name: &str, wait_max: Duration) -> bool {
    let looked_up = tokio::time::timeout(wait_max, tokio::net::lookup_host((name, 0))).await;
    looked_up.is_ok_and(|found| found.is_ok_and(|mut addresses| addresses.next().is_some()))
}

fn listen(what: &'static str, number: u16, bound: BoundPort) -> Result<TcpListener, StartError> {
    bound.listen().map_err(|source| StartError::Port { what, port: number, source })
}

/// Whether two names are of one folder: one may lead through a link.
fn is_one_folder(one: &Path, other: &Path) -> bool {
    let found = |dir: &Path| fs::canonicalize(dir).ok();
    one == other || found(one).is_some_and(|one| found(other) == Some(one))
}

fn storage_config(config: &Config) -> storage::Config {
    let apart = |dir: &PathBuf| !is_one_folder(dir, &config.data_dir);
    storage::Config {
        data_log_dir: Some(config.data_log_dir.clone()).filter(apart),
        segment_bytes: config.preallocate_bytes,
        window: config.commit_log_count,
        packing: config.files.packing,
        trailers: config.files.digests,
        trust_empty: config.files.trust_empty,
        autocreate: config.files.autocreate,
        make_folders: config.files.make_folders,
        snapshot_size_millionths: config.files.size_factor.unwrap_or(0),
        ..storage::Config::new(config.data_dir.clone())
    }
}

fn peer_config(config: &Config) -> peer::Config<Settings> {
    peer::Config {
        zab: zab::Config {
            me: config.me,
            quorum: config.quorum.clone(),
            window: config.commit_log_count,
            log_sync: config.files.size_factor.is_some(),
            counter_max: COUNTER_MAX,
        },
        tick_ms: config.tick_ms,
        session_timeout_min_ms: config.session_timeout_min_ms,
        session_timeout_max_ms: config.session_timeout_max_ms,
        first_session: first_session(config.me, wall_clock()),
        settings: config.settings.clone(),
        sweep_max: sweep_max(config),
        read_only: config.read_only,
    }
}

/// As many nodes as a leader may delete until it looks for more.
fn sweep_max(config: &Config) -> usize {
    let per_look = u64::from(config.sweeps_per_minute) * u64::from(config.sweep_interval_ms) / 60_000;
    usize::try_from(per_look.max(1)).unwrap_or(usize::MAX)
}

/// The first session of this start: the server's id in the high byte, then the time, then room for a counter, as
/// ZooKeeper has it.
fn first_session(me: ServerId, time: i64) -> SessionId {
    let server = u8::try_from(me.0).unwrap_or(u8::MAX);
    let time = (time.cast_unsigned() << 24) >> 8;
    SessionId((u64::from(server) << 56 | time).cast_signed())
}

async fn serve_until<D: Disk>(
    config: Config,
    disk: D,
    log_lines: Option<LogPipe>,
    stop: impl Future<Output = ()> + 'static,
) -> Result<ExitCode, StartError> {
    let config = Rc::new(config);
    let ports = Ports::bind(&config).await?;
    let (core, disk_events, threads) = recover(&config, peer_config(&config), disk, log_lines, wall_clock)?;
    spawn_tasks(&core, disk_events);
    listen_on(&core, ports, &config)?;
    if config.audit.is_some() {
        audit::started(true);
    }
    let exit = Rc::clone(&core.borrow().shell.wakes.exit);
    tokio::select! {
        () = stop => info!("stopping"),
        () = exit.notified() => {}
    }
    if config.audit.is_some() {
        audit::stops();
    }
    Ok(end(core, threads).await)
}

/// The loop, what its disk has done, and the threads of the disk.
pub(crate) type Recovered = (Shared, mpsc::UnboundedReceiver<DiskEvent>, store::Threads);

/// Reads what is on disk, and boots the peer from it.
pub(crate) fn recover<D: Disk>(
    config: &Rc<Config>,
    peer: peer::Config<Settings>,
    disk: D,
    log_lines: Option<LogPipe>,
    wall: WallClock,
) -> Result<Recovered, StartError> {
    let files = storage::Store::open(disk, storage_config(config))?;
    let mut recovery = files.recover()?;
    for warning in &recovery.warnings {
        warn!("{warning}");
    }
    let ms = |took: Duration| u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let (snapshot_ms, log_ms) = (ms(recovery.loading), ms(recovery.replaying));
    let loaded_txns = u64::try_from(recovery.replayed).unwrap_or(u64::MAX);
    info!(
        zxid = %recovery.recovered.last,
        nodes = recovery.tree.node_count(),
        replayed = loaded_txns,
        snapshot_ms,
        log_ms,
        "the data is loaded"
    );
    let snapshot_bytes = files.snapshots().newest()?.map_or(0, |(_, size)| size);
    let log = files.log(&mut recovery);
    let (events, disk_events) = mpsc::unbounded_channel();
    let (store, threads) = store::start(&files, log, events)?;
    let seed = wall_clock().cast_unsigned() ^ (config.me.0 << 32) ^ u64::from(std::process::id());
    let snapshots = Snapshots::new(config, snapshot_bytes, seed);
    let storage::Recovery { tree, recovered, .. } = recovery;
    let core: Shared = Rc::new_cyclic(|me| {
        let shell = Shell::new(Rc::clone(config), store, snapshots, log_lines, wall, me.clone());
        RefCell::new(Core::boot(peer, recovered, tree, shell))
    });
    {
        let core = &mut *core.borrow_mut();
        core.adorn_tree(false);
        let loading = &mut core.shell.stats.loading;
        loading.all.record(snapshot_ms.saturating_add(log_ms));
        loading.snapshot.record(snapshot_ms);
        loading.log.record(log_ms);
        loading.txns.record(loaded_txns);
    }
    Ok((core, disk_events, threads))
}

fn spawn_tasks(core: &Shared, disk_events: mpsc::UnboundedReceiver<DiskEvent>) {
    spawn_local(end_turns(Rc::clone(core)));
    spawn_local(linger::linger(Rc::clone(core)));
    spawn_local(fire_timers(Rc::clone(core)));
    spawn_local(take_disk_events(Rc::clone(core), disk_events));
    spawn_local(sweep(Rc::clone(core)));
}

pub(crate) fn listen_on(core: &Shared, ports: Ports, config: &Rc<Config>) -> Result<(), StartError> {
    // Nobody has dialled yet: that takes a task, and no task has run since the peer was booted.
    for live in ports.tls.all() {
        spawn_local(live.watch());
    }
    core.borrow_mut().shell.tls = ports.tls;
    if let (Some((quorum, election)), Some(own)) = (ports.between, config.servers.get(&config.me)) {
        let quorum = listen("quorum", own.quorum_port, quorum)?;
        spawn_local(link::accept(Rc::clone(core), quorum, Rc::clone(config)));
        let election = listen("election", own.election_port, election)?;
        spawn_local(mesh::accept(Rc::clone(core), election, Rc::clone(config)));
    }
    listen_for_clients(core, ports.client, ports.secure, config)?;
    if let (Some(bound), Some(admin)) = (ports.admin, &config.admin) {
        // Of two servers that start at once both may have bound the port, and only one can listen.
        if let Some(listener) = not_needed(config, listen("admin", admin.port, bound))? {
            let idle_max = Duration::from_millis(u64::from(admin.idle_max_ms));
            let offer = Offer { commands: Some(admin.commands.clone()), idle_max };
            let door = core.borrow().shell.tls.admin.clone();
            spawn_local(admin::accept(Rc::clone(core), listener, offer, door));
        }
    }
    if let (Some(bound), Some((_, number))) = (ports.metrics, &config.metrics) {
        let listener = listen("metrics", *number, bound)?;
        let offer = Offer { commands: None, idle_max: METRICS_IDLE_MAX };
        spawn_local(admin::accept(Rc::clone(core), listener, offer, Door::Plain));
    }
    Ok(())
}

fn listen_for_clients(
    core: &Shared,
    plain: Option<BoundPort>,
    secure: Option<BoundPort>,
    config: &Rc<Config>,
) -> Result<(), StartError> {
    let tls = core.borrow().shell.tls.clients.clone();
    if let (Some(bound), Some(number)) = (plain, config.client_port) {
        let listener = listen("client", number, bound)?;
        let door = match &tls {
            Some(live) if config.tls.unifies_clients => Door::Either(Rc::clone(live)),
            Some(_) | None => Door::Plain,
        };
        spawn_local(serve::accept(Rc::clone(core), listener, Rc::clone(config), door));
    }
    if let (Some(bound), Some((_, number)), Some(live)) = (secure, &config.tls.port, tls) {
        let listener = listen("client", *number, bound)?;
        spawn_local(serve::accept(Rc::clone(core), listener, Rc::clone(config), Door::Secure(live)));
    }
    Ok(())
}

/// Ends a server: a leader's links go first, so that the others look for a new one at once; then what is under way is
/// made durable.
async fn end(core: Shared, threads: store::Threads) -> ExitCode {
    let why = {
        let mut core = core.borrow_mut();
        core.shell.mesh.close_all();
        core.shell.links.close_all();
        core.shell.snapshots.give_up();
        core.end_turn();
        core.shell.exit.unwrap_or(ExitCode::Finished)
    };
    if why == ExitCode::Finished {
        // The last answers have their chance to leave.
        yield_now().await;
        let (orders, recorder) = {
            let mut core = core.borrow_mut();
            (core.shell.store.take_away(), core.end_recording())
        };
        drop(orders);
        let joined = tokio::task::spawn_blocking(move || {
            threads.join();
            recorder.map(std::thread::JoinHandle::join)
        });
        if tokio::time::timeout(STOP_MAX, joined).await.is_err() {
            warn!("the disk is slow; what is not durable by now is left to the next start");
        }
    }
    why
}

/// Ends each turn behind the tasks that were ready when it began.
pub(crate) async fn end_turns(core: Shared) {
    let flush = Rc::clone(&core.borrow().shell.wakes.flush);
    loop {
        flush.notified().await;
        core.borrow_mut().end_turn();
    }
}

/// Tells of timers that are due. What has come on sockets is taken first: a server that was stopped for a while finds
/// the signs of life of others there, and must not hold its own pause against them.
async fn fire_timers(core: Shared) {
    let changed = Rc::clone(&core.borrow().shell.wakes.timer);
    loop {
        let until = core.borrow_mut().shell.timers.sleep_until();
        match until {
            None => changed.notified().await,
            Some(until) => {
                tokio::select! {
                    () = tokio::time::sleep_until(until.into()) => {}
                    () = changed.notified() => continue,
                }
            }
        }
        if !core.borrow().shell.timers.any_due(Instant::now()) {
            continue;
        }
        for _ in 0..2 {
            yield_now().await;
        }
        let now = Instant::now();
        let mut core = core.borrow_mut();
        // Each once: what is set again in a turn that has gone on for long may be due by its clock, and must not keep that
        // turn from its end.
        for timer in core.shell.timers.due(now) {
            if core.shell.timers.take_due(timer, now) {
                let time = core.shell.touch().wall;
                core.step(Input::Timer { timer, time });
                core.shell.timers.fired();
            }
        }
    }
}

async fn take_disk_events(core: Shared, mut events: mpsc::UnboundedReceiver<DiskEvent>) {
    while let Some(event) = events.recv().await {
        let mut core = core.borrow_mut();
        core.on_disk(event);
        while let Ok(event) = events.try_recv() {
            core.on_disk(event);
        }
    }
}

/// Once a second, or as often as silent connections end soon: those, and what waited too long. As often as configured:
/// purging.
async fn sweep(core: Shared) {
    let (hours, retain, silence_max_ms) = {
        let config = &core.borrow().shell.config;
        (config.purge_interval_hours, config.purge_retain, config.throttles.sessionless_max_ms)
    };
    let every = Duration::from_secs(u64::from(hours) * 3600);
    let (mut purged, mut last): (Option<Instant>, _) = (None, Instant::now());
    let mut tick =
        tokio::time::interval(Duration::from_millis(u64::from(silence_max_ms / 2).clamp(20, 1000)));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let mut core = core.borrow_mut();
        core.drop_silent();
        // Behind a pause of this server all that came meanwhile has to be read first.
        let now = Instant::now();
        if now.saturating_duration_since(std::mem::replace(&mut last, now)) < PAUSE {
            core.drop_left();
        }
        core.drop_late();
        core.flush_recorder();
        if hours > 0 && purged.is_none_or(|last| last.elapsed() >= every) {
            purged = Some(Instant::now());
            core.shell.store.purge(retain);
        }
    }
}

impl Core {
    pub(crate) fn on_disk(&mut self, event: DiskEvent) {
        match event {
            DiskEvent::Done { tickets, flushed } => {
                if let Some(flushed) = flushed {
                    self.shell.stats.pipeline.flushed(tickets.len(), flushed);
                    self.shell.store.synced(flushed.bytes);
                    self.shell.synced(flushed.sync);
                }
                for ticket in tickets {
                    self.step(Input::Done(ticket));
                }
            }
            DiskEvent::Located { ticket, at } => self.step(Input::Located { ticket, at }),
            DiskEvent::Reloaded { tree, recovered } => {
                self.replace_tree(*tree);
                self.step(Input::Reloaded(recovered));
            }
            DiskEvent::Saved { number, size, took } => {
                self.shell.snapshots.saved(number, size);
                if let Some(bytes) = size {
                    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                    self.shell.stats.snapshot.record(ms);
                    info!(bytes, ms, "a snapshot was written");
                }
            }
            DiskEvent::Failed { error, snapshot } => {
                error!(%error, "the disk failed; this server ends");
                self.shell.end(if snapshot { ExitCode::Snapshot } else { ExitCode::Unexpected });
            }
        }
    }
}

impl Shell {
    /// The log was synced.
    fn synced(&mut self, took: Duration) {
        self.stats.fsync.record(crate::measure::micros(took));
        if took > Duration::from_millis(u64::from(self.config.slow_sync_ms)) {
            self.stats.slow_syncs += 1;
            warn!(ms = took.as_millis(), "a sync of the log took long: the disk holds every write up");
        }
    }

    /// A part of the log goes to a learner, as its link takes it.
    pub(crate) fn pump_log(
        &mut self,
        stream: link::Stream,
        mut pieces: mpsc::Receiver<Result<LogPiece, storage::Error>>,
    ) {
        let me = self.me.clone();
        spawn_local(async move {
            loop {
                let piece = pieces.recv().await;
                let Some(core) = me.upgrade() else { return };
                loop {
                    let room = core.borrow_mut().shell.links.room(&stream);
                    match room {
                        link::Room::Free => break,
                        link::Room::Full => stream.room.notified().await,
                        link::Room::Gone => return,
                    }
                }
                let mut core = core.borrow_mut();
                let Some(Ok(LogPiece { packets, last })) = piece else {
                    let error = piece.and_then(Result::err).map(tracing::field::display);
                    warn!(error, "the log cannot be read for a learner");
                    let peer = core.shell.links.fail(&stream);
                    core.shell.later.extend(peer.map(Later::LinkGone));
                    return core.settle();
                };
                core.shell.links.fill(&stream, |out| out.extend_from_slice(&packets), last);
                core.shell.sends_on(stream.to);
                core.shell.touch();
                if last {
                    return;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use spec::ServerId;

    use super::{first_session, peer_config, storage_config};
    use crate::Config;

    #[test]
    fn what_is_set_of_the_folder_reaches_the_storage_and_the_actor() {
        let read = |lines: &str| {
            let text = format!("dataDir=/d\nclientPort=1\n{lines}");
            Config::parse("zoo.cfg", text, |_| unreachable!("alone")).expect("valid")
        };
        let config = read("");
        let plain = storage::Config::new("/d".into());
        assert_eq!(storage_config(&config), plain);
        assert!(peer_config(&config).zab.log_sync);
        let config = read(
            "snapshot.compression.method=gz\nsnapshot.trust.empty=true\ndb.autocreate=false\n\
             datadir.autocreate=false\nsnapshotSizeFactor=0.5\ndigest.enabled=false",
        );
        let other = storage::Config {
            packing: storage::Packing::Gzip,
            trust_empty: true,
            autocreate: false,
            make_folders: false,
            trailers: false,
            snapshot_size_millionths: 500_000,
            ..plain
        };
        assert_eq!(storage_config(&config), other);
        assert!(peer_config(&config).zab.log_sync);
        assert!(
            !peer_config(&read("snapshotSizeFactor=-1")).zab.log_sync,
            "the state is sent whatever it takes"
        );
    }

    #[test]
    fn session_ids_are_zookeepers() {
        // Java: (3 << 56) | ((ms << 24) >>> 8), of which the highest bit of the time is lost.
        let session = first_session(ServerId(3), 0x0198_7654_3210);
        assert_eq!(session.0, 0x0398_7654_3210_0000_u64.cast_signed());
    }
}
