//! A server on a test stand: its clock, its timers and its disk's reports are in somebody else's hands.
//!
//! Everything else is the server that ships: the same loop, the same sockets, the same codec, the same threads of the
//! disk and the same files. Only the four tasks that wait for time or for the disk are not there; whoever holds the
//! stand says when a timer fires, and when the loop hears of what the disk has done. So a run can be repeated, and be
//! compared, step by step, with what a model says that the server does.

use std::{
    collections::BTreeMap,
    rc::Rc,
    time::{Duration, Instant},
};

use protocol::{
    Role, Ticket, Timer,
    peer::{self, Input, Peer},
};
use spec::{ClientId, Epoch, ServerId};
use storage::Disk;
use tokio::{
    runtime::Runtime,
    sync::mpsc,
    task::{LocalSet, spawn_local, yield_now},
};
use tree::{Settings, Tree};

use crate::{
    Config, StartError,
    core::Shared,
    run::{Ports, end_turns, listen_on, recover},
    store::{DiskEvent, Threads},
};

/// How often the loop goes round before the threads of the disk are left a moment.
const ROUNDS: u32 = 8;
/// That moment.
const MOMENT: Duration = Duration::from_micros(50);

/// Something that the disk has done, and of which the loop has not heard.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Report {
    /// This operation is durable.
    Done(Ticket),
    /// This question about the log is answered.
    Located(Ticket),
    /// The state is loaded anew.
    Reloaded,
    /// Something that ends the server.
    Failed,
}

/// A server on the stand. It stands still but for [`Stand::run_until`].
#[derive(Debug)]
pub struct Stand {
    runtime: Runtime,
    local: LocalSet,
    core: Loop,
    events: mpsc::UnboundedReceiver<DiskEvent>,
    held: Vec<(Report, DiskEvent)>,
    threads: Threads,
}

/// The loop; there is nothing short to print of it.
struct Loop(Shared);

impl std::fmt::Debug for Loop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loop").finish_non_exhaustive()
    }
}

/// A clock that stands still at 1970.
fn no_clock() -> i64 {
    0
}

impl Stand {
    /// Starts a server of an ensemble over what is on this disk. `peer` shapes its actor, in the place of what follows
    /// from `config` and from the clock, which stands still.
    ///
    /// # Errors
    /// As [`run`](crate::run()).
    pub fn start<D: Disk>(config: Config, peer: peer::Config<Settings>, disk: D) -> Result<Self, StartError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let local = LocalSet::new();
        let (core, events, threads) = local.block_on(&runtime, async {
            let config = Rc::new(config);
            let ports = Ports::bind(&config).await?;
            let (core, events, threads) = recover(&config, peer, disk, None, no_clock)?;
            spawn_local(end_turns(Rc::clone(&core)));
            listen_on(&core, ports, &config)?;
            // How long a dial takes is in somebody else's hands as well.
            core.borrow_mut().shell.links.dial_for_ever();
            Ok::<_, StartError>((core, events, threads))
        })?;
        Ok(Self { runtime, local, core: Loop(core), events, held: Vec::new(), threads })
    }

    /// Lets the loop go round until `done`, which is asked each time, or for as long as `limit`. Whether it is.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let started = Instant::now();
        let mut rounds = 0;
        loop {
            self.take_events();
            if done(self) {
                return true;
            }
            if started.elapsed() > limit {
                return false;
            }
            rounds += 1;
            // Polls the sockets, and every task that is ready.
            self.local.block_on(&self.runtime, yield_now());
            if rounds % ROUNDS == 0 {
                // A timer of the runtime takes a millisecond at least, and most waits are for a disk that takes less.
                std::thread::sleep(MOMENT);
            }
        }
    }

    fn take_events(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            match event {
                DiskEvent::Done { tickets, mut flushed } => {
                    for ticket in tickets {
                        let done = DiskEvent::Done { tickets: vec![ticket], flushed: flushed.take() };
                        self.held.push((Report::Done(ticket), done));
                    }
                }
                DiskEvent::Located { ticket, .. } => self.held.push((Report::Located(ticket), event)),
                DiskEvent::Reloaded { .. } => self.held.push((Report::Reloaded, event)),
                DiskEvent::Failed { .. } => self.held.push((Report::Failed, event)),
                // No word to the peer.
                DiskEvent::Saved { .. } => self.with_core(|core| core.on_disk(event)),
            }
        }
    }

    fn with_core<R>(&self, act: impl FnOnce(&mut crate::core::Core) -> R) -> R {
        self.local.block_on(&self.runtime, async { act(&mut self.core.0.borrow_mut()) })
    }

    /// What the disk has done and the loop has not heard of, oldest first.
    pub fn reports(&self) -> impl Iterator<Item = Report> + '_ {
        self.held.iter().map(|(report, _)| *report)
    }

    /// The loop hears of it. Whether there was such a report.
    pub fn deliver(&mut self, report: Report) -> bool {
        let Some(place) = self.held.iter().position(|(held, _)| *held == report) else { return false };
        let (_, event) = self.held.remove(place);
        self.with_core(|core| core.on_disk(event));
        true
    }

    /// A timer fires. Whether it runs.
    pub fn fire(&mut self, timer: Timer) -> bool {
        self.with_core(|core| {
            let runs = core.shell.timers.take(timer);
            if runs {
                let time = core.shell.touch().wall;
                core.step(Input::Timer { timer, time });
            }
            runs
        })
    }

    /// The next connection of a client is this one.
    pub fn number_next_client(&mut self, client: ClientId) {
        self.with_core(|core| core.shell.clients.number_next(client));
    }

    /// What the peer has been told so far, counted.
    pub fn inputs(&self) -> u64 {
        self.core.0.borrow().shell.inputs
    }

    /// Whether no turn is under way, and nothing waits for one.
    pub fn is_at_rest(&self) -> bool {
        self.core.0.borrow().shell.is_at_rest()
    }

    /// Whether the server must end.
    pub fn is_over(&self) -> bool {
        self.core.0.borrow().shell.exit.is_some()
    }

    /// The timers that run, in order.
    pub fn timers(&self) -> Vec<Timer> {
        self.core.0.borrow().shell.timers.set_ones().collect()
    }

    /// The other ends of the links that there are, and whether each is up or being dialled.
    pub fn links(&self) -> BTreeMap<ServerId, bool> {
        self.core.0.borrow().shell.links.ends().collect()
    }

    /// The part that the server plays, its epoch, and whether it serves; without a role, those that only read.
    pub fn part(&self) -> (Option<Role>, Epoch, bool) {
        let part = self.core.0.borrow().shell.part;
        (part.role, part.epoch, part.serving || part.read_only)
    }

    /// Looks at the actor and its state.
    pub fn look<R>(&self, at: impl FnOnce(&Peer<Tree>, &Tree) -> R) -> R {
        let core = self.core.0.borrow();
        at(&core.peer, &core.tree)
    }

    /// Ends it as a kill would: without a word to anybody. What the disk was told to do is done.
    pub fn kill(self) {
        let Self { runtime, local, core, threads, .. } = self;
        let orders = core.0.borrow_mut().shell.store.take_away();
        let recorder = core.0.borrow_mut().shell.recorder.take();
        drop((orders, local, core));
        threads.join();
        if let Some(recorder) = recorder {
            // One that panicked has said why.
            drop(recorder.kill().join());
        }
        runtime.shutdown_background();
    }
}

/// What a server of an ensemble shows in the node of its configuration, behind a start at 1970.
pub fn adorn(config: &Config, tree: &mut Tree) {
    tree.set_config(config.ensemble_text().as_bytes(), spec::Zxid::ZERO, 0);
}
