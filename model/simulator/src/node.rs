//! A server with what stands around it: its timers and their clock, its disk's pace, and whether it runs at all.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{Quorum, Ticket, Timer, peer::Config, zab};
use spec::{ServerId, SessionId, history::ServerView};
use tree::{Settings, Tree};
use world::{Happened, Recorded, Storage};

use crate::{
    chance::{Chance, Stream},
    form::{Form, Served},
    plan::{Plan, TICK_MS, Tuning},
    time::{Due, Time, ms},
};

/// What the servers replicate: the tree, which remembers what was applied to it.
pub type Subject = Recorded<Tree>;

/// Ticks that a new epoch, or a learner, may take.
const INIT_TICKS: u64 = 10;
/// Ticks of silence on a link.
const SYNC_TICKS: u64 = 5;
/// The first wait of an election, and the wait for better votes.
const ELECTION_MS: u64 = 200;
/// The longest wait of an election for another vote.
const RESEND_MAX_MS: u64 = 1_600;
/// How often a leader looks for nodes to delete by itself, how many it takes, and how long it waits between two.
const SWEEP_MS: u64 = 1_000;
const SWEEP_MAX: usize = 4;
const SWEEP_NEXT_MS: u64 = 50;
/// The wall clock at the beginning, in milliseconds.
const MORNING_MS: i64 = 1_700_000_000_000;
/// A rate at which a server's seconds are everybody's.
pub(crate) const RATE: u64 = 1_000;

/// The longest that a disk operation takes, slow as the disk may be.
const DISK_MAX: Time = 5_000_000;

/// Why a server does nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stop {
    /// It is down: nobody listens.
    Down,
    /// It stands still: what comes for it waits.
    Still,
}

/// One server.
#[derive(Debug)]
pub(crate) struct Node<F: Form> {
    pub(crate) host: Box<Served<F>>,
    /// As the rules saw it last.
    pub(crate) view: Option<ServerView>,
    /// Timers that run, with the number of their setting.
    timers: BTreeMap<Timer, u64>,
    settings: u64,
    /// The wait before the next vote is sent again.
    resend_ms: u64,
    firing: Option<Timer>,
    /// The process: how many came before.
    pub(crate) process: u64,
    /// Disk operations whose end is on the agenda.
    ending: BTreeSet<Ticket>,
    disk: Chance,
    disk_us: u64,
    pub(crate) disk_times: u64,
    /// How far the wall clock has jumped, and what drift has added to it, in milliseconds.
    pub(crate) jumped_ms: i64,
    /// Its milliseconds in a second.
    pub(crate) rate: u64,
    pub(crate) stop: Option<Stop>,
    pub(crate) stops: u64,
    /// What waits while it stands still.
    pub(crate) waiting: Vec<Due>,
    pub(crate) chance: Chance,
}

impl<F: Form> Node<F> {
    /// A server of this plan that starts for the first time.
    pub(crate) fn new(form: &mut F, plan: &Plan, slot: usize) -> (Self, Happened<Subject>) {
        let me = server_id(slot);
        let Tuning { window, log_sync, counter_max, disk_us, .. } = plan.tuning;
        let quorum = Quorum::majority((0..usize::from(plan.size.voters)).map(server_id));
        let config = Config {
            zab: zab::Config { me, quorum, window, log_sync, counter_max },
            tick_ms: TICK_MS,
            session_timeout_min_ms: 1_000,
            session_timeout_max_ms: 20_000,
            first_session: SessionId(i64::try_from(me.0).expect("small") << 56 | 1 << 24),
            settings: Settings { ttl_nodes: true, ..Settings::default() },
            sweep_max: SWEEP_MAX,
            read_only: plan.tuning.read_only,
        };
        let (host, happened) = form.start(config).expect("an empty disk is a good start");
        let node = Self {
            host: Box::new(host),
            view: None,
            timers: BTreeMap::new(),
            settings: 0,
            resend_ms: ELECTION_MS,
            firing: None,
            process: 0,
            ending: BTreeSet::new(),
            disk: Chance::new(plan.seed, Stream::Disk(slot)),
            disk_us,
            disk_times: 1,
            jumped_ms: 0,
            rate: RATE,
            stop: None,
            stops: 0,
            waiting: Vec::new(),
            chance: Chance::new(plan.seed, Stream::Server(slot)),
        };
        (node, happened)
    }

    /// The wall clock, in milliseconds since 1970.
    pub(crate) fn wall_clock(&self, now: Time) -> i64 {
        MORNING_MS + i64::try_from(now / 1_000).expect("a run is short") + self.jumped_ms
    }

    /// A timer is set. Returns when it is due, and of which setting that is.
    pub(crate) fn set(&mut self, timer: Timer) -> (Time, u64) {
        self.settings += 1;
        self.timers.insert(timer, self.settings);
        let tick = ms(TICK_MS.into());
        let wait = match timer {
            Timer::Establish | Timer::Handshake(_) => tick * INIT_TICKS,
            Timer::Silence(_) => tick * SYNC_TICKS,
            Timer::Ping => tick / 2,
            Timer::Expiry => tick,
            Timer::Finalize => ms(ELECTION_MS),
            Timer::Sweep => ms(SWEEP_MS),
            Timer::SweepNext => ms(SWEEP_NEXT_MS),
            Timer::ReadOnly => tick.max(ms(2_000)),
            Timer::Resend => {
                let again = self.firing == Some(Timer::Resend);
                self.resend_ms = if again { (self.resend_ms * 2).min(RESEND_MAX_MS) } else { ELECTION_MS };
                ms(self.resend_ms)
            }
        };
        // Whoever sleeps wakes late.
        let wait = wait * RATE / self.rate;
        (wait + self.chance.below(wait / 50 + 1), self.settings)
    }

    pub(crate) fn cancel(&mut self, timer: Timer) {
        self.timers.remove(&timer);
    }

    /// Takes a timer that is due; false if it was set anew or stopped.
    pub(crate) fn take(&mut self, timer: Timer, number: u64) -> bool {
        let due = self.timers.get(&timer) == Some(&number);
        if due {
            self.timers.remove(&timer);
            self.firing = Some(timer);
        }
        due
    }

    pub(crate) fn fired(&mut self) {
        self.firing = None;
    }

    /// The number of the setting of a timer that runs.
    pub(crate) fn setting(&self, timer: Timer) -> Option<u64> {
        self.timers.get(&timer).copied()
    }

    /// Disk operations whose end is to be put on the agenda, and how long they take.
    pub(crate) fn disk_work(&mut self) -> Vec<(Ticket, Time)> {
        let mut work = Vec::new();
        for ticket in self.host.disk().may_finish() {
            if self.ending.insert(ticket) {
                // What waits behind another operation is often synced with it.
                let batched = !self.disk.once_in(3);
                let wait = if batched { 20 } else { self.disk.within(20, self.disk_us) };
                let hiccup = if self.disk.once_in(200) { 50 } else { 1 };
                work.push((ticket, (wait * self.disk_times * hiccup).min(DISK_MAX)));
            }
        }
        work
    }

    /// A disk operation is about to end; false if it is of a process that is gone.
    pub(crate) fn ends(&mut self, ticket: Ticket, process: u64) -> bool {
        process == self.process && self.ending.remove(&ticket)
    }

    /// The process ends: nothing of it is due any more.
    pub(crate) fn forget(&mut self) {
        self.timers.clear();
        self.ending.clear();
        self.process += 1;
        (self.firing, self.resend_ms) = (None, ELECTION_MS);
    }
}

/// The server of a slot.
pub(crate) fn server_id(slot: usize) -> ServerId {
    ServerId(u64::try_from(slot).expect("few") + 1)
}
