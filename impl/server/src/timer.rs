//! Named timers: how long each takes, and which is due.
//!
//! Setting a timer again before it fires is the common case (each packet sets the timer of silence), so it only
//! stores a deadline; the one sleeping task wakes at the earliest deadline it was told of and looks again.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use protocol::Timer;

use crate::Config;

/// How long the named timers take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Durations {
    tick: Duration,
    init: Duration,
    sync: Duration,
    /// The first wait of a silent election.
    resend_first: Duration,
    /// The longest.
    resend_max: Duration,
    sweep: Duration,
    sweep_next: Duration,
}

/// The longest of an observer, which Apache's servers do not tell when they have elected a leader.
const ASK_AGAIN_MAX: Duration = Duration::from_secs(2);
/// How long an election with a quorum waits for a better vote.
const FINALIZE: Duration = Duration::from_millis(200);
/// The least time that a server looks for a leader before it serves clients that only read; it is a tick, if that is more.
const READ_ONLY_MIN: Duration = Duration::from_secs(2);

impl Durations {
    pub(crate) fn new(config: &Config) -> Self {
        let tick = Duration::from_millis(u64::from(config.tick_ms));
        let (first, longest) = config.resend_ms;
        let longest = Duration::from_millis(u64::from(longest));
        let resend_max = if config.quorum.is_voter(config.me) { longest } else { longest.min(ASK_AGAIN_MAX) };
        Self {
            tick,
            init: tick * config.init_limit,
            sync: tick * config.sync_limit,
            resend_first: Duration::from_millis(u64::from(first)),
            resend_max,
            sweep: Duration::from_millis(u64::from(config.sweep_interval_ms)),
            sweep_next: Duration::from_mins(1) / config.sweeps_per_minute,
        }
    }
}

/// The timers that are set.
#[derive(Debug)]
pub(crate) struct Timers {
    durations: Durations,
    deadlines: BTreeMap<Timer, Instant>,
    resend: Duration,
    /// The timer that is being told of: a resend set while it is told of waits twice as long.
    firing: Option<Timer>,
    /// When the sleeping task wakes.
    wakes: Option<Instant>,
}

impl Timers {
    pub(crate) fn new(durations: Durations) -> Self {
        Self {
            durations,
            deadlines: BTreeMap::new(),
            resend: durations.resend_first,
            firing: None,
            wakes: None,
        }
    }

    /// Starts a timer anew. True if the sleeping task must look again, since it would sleep too long.
    pub(crate) fn set(&mut self, timer: Timer, now: Instant) -> bool {
        let deadline = now + self.duration(timer);
        self.deadlines.insert(timer, deadline);
        self.wakes.is_none_or(|wakes| deadline < wakes)
    }

    /// Starts a timer anew, if it runs.
    pub(crate) fn prolong(&mut self, timer: Timer, now: Instant) {
        if self.deadlines.contains_key(&timer) {
            // The sleeping task wakes too early at most.
            self.set(timer, now);
        }
    }

    /// The timers that run.
    pub(crate) fn set_ones(&self) -> impl Iterator<Item = Timer> + '_ {
        self.deadlines.keys().copied()
    }

    pub(crate) fn cancel(&mut self, timer: Timer) {
        self.deadlines.remove(&timer);
    }

    /// Takes a timer before it is due. Whether it was set.
    pub(crate) fn take(&mut self, timer: Timer) -> bool {
        self.deadlines.remove(&timer).is_some()
    }

    /// The earliest deadline: the sleeping task sleeps until then.
    pub(crate) fn sleep_until(&mut self) -> Option<Instant> {
        self.wakes = self.deadlines.values().min().copied();
        self.wakes
    }

    pub(crate) fn any_due(&self, now: Instant) -> bool {
        self.deadlines.values().any(|deadline| *deadline <= now)
    }

    /// The timers that are due, the one that is due longest first.
    pub(crate) fn due(&self, now: Instant) -> Vec<Timer> {
        let mut due: Vec<_> = self.deadlines.iter().filter(|(_, deadline)| **deadline <= now).collect();
        due.sort_by_key(|(_, deadline)| **deadline);
        due.into_iter().map(|(timer, _)| *timer).collect()
    }

    /// Takes a timer, if it is due still. Until [`Timers::fired`], it is the one being told of.
    pub(crate) fn take_due(&mut self, timer: Timer, now: Instant) -> bool {
        let due = self.deadlines.get(&timer).is_some_and(|deadline| *deadline <= now);
        if due {
            self.deadlines.remove(&timer);
            self.firing = Some(timer);
        }
        due
    }

    pub(crate) fn fired(&mut self) {
        self.firing = None;
    }

    fn duration(&mut self, timer: Timer) -> Duration {
        match timer {
            Timer::Establish | Timer::Handshake(_) => self.durations.init,
            Timer::Silence(_) => self.durations.sync,
            Timer::Ping => self.durations.tick / 2,
            Timer::Expiry => self.durations.tick,
            Timer::Finalize => FINALIZE,
            Timer::Sweep => self.durations.sweep,
            Timer::SweepNext => self.durations.sweep_next,
            Timer::ReadOnly => self.durations.tick.max(READ_ONLY_MIN),
            Timer::Resend => {
                self.resend = match self.firing {
                    Some(Timer::Resend) => (self.resend * 2).min(self.durations.resend_max),
                    _ => self.durations.resend_first,
                };
                self.resend
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use protocol::Timer;
    use spec::ServerId;

    use super::{Durations, Timers};

    fn timers() -> Timers {
        let tick = Duration::from_secs(2);
        Timers::new(Durations {
            tick,
            init: tick * 10,
            sync: tick * 5,
            resend_first: Duration::from_millis(200),
            resend_max: Duration::from_mins(1),
            sweep: tick * 20,
            sweep_next: tick / 100,
        })
    }

    #[test]
    fn a_timer_set_again_fires_once_and_late() {
        let (mut timers, start) = (timers(), Instant::now());
        let silence = Timer::Silence(ServerId(2));
        assert!(timers.set(silence, start));
        assert_eq!(timers.sleep_until(), Some(start + Duration::from_secs(10)));
        assert!(!timers.set(silence, start + Duration::from_secs(3)), "the sleeper wakes early enough");
        assert_eq!(timers.due(start + Duration::from_secs(10)), []);
        assert_eq!(timers.sleep_until(), Some(start + Duration::from_secs(13)));
        assert_eq!(timers.due(start + Duration::from_secs(13)), [silence]);
        assert!(timers.take_due(silence, start + Duration::from_secs(13)));
        assert!(!timers.take_due(silence, start + Duration::from_secs(99)));
    }

    #[test]
    fn a_timer_is_prolonged_while_it_runs() {
        let (mut timers, start) = (timers(), Instant::now());
        timers.prolong(Timer::Establish, start);
        assert_eq!(timers.sleep_until(), None, "it was not set");
        timers.set(Timer::Establish, start);
        timers.prolong(Timer::Establish, start + Duration::from_secs(15));
        assert_eq!(timers.due(start + Duration::from_secs(34)), []);
        assert_eq!(timers.due(start + Duration::from_secs(35)), [Timer::Establish]);
    }

    /// A turn that has gone on for long sets timers by when it began: they may be due at once, and are for the next look,
    /// before which the turn ends.
    #[test]
    fn timers_that_are_set_in_the_past_are_not_due_in_the_same_look() {
        let (mut timers, start) = (timers(), Instant::now());
        timers.set(Timer::Expiry, start);
        timers.set(Timer::Ping, start);
        let now = start + Duration::from_secs(3);
        let due = timers.due(now);
        assert_eq!(due, [Timer::Ping, Timer::Expiry]);
        timers.cancel(Timer::Expiry);
        let told: Vec<_> = due.into_iter().filter(|timer| timers.take_due(*timer, now)).collect();
        assert_eq!(told, [Timer::Ping], "what was cancelled meanwhile is not told");
        timers.set(Timer::Ping, start);
        assert!(timers.any_due(now), "by the next look");
    }

    #[test]
    fn an_earlier_timer_wakes_the_sleeper() {
        let (mut timers, start) = (timers(), Instant::now());
        timers.set(Timer::Establish, start);
        timers.sleep_until();
        assert!(timers.set(Timer::Ping, start));
        timers.cancel(Timer::Ping);
        assert_eq!(timers.sleep_until(), Some(start + Duration::from_secs(20)));
    }

    #[test]
    fn a_silent_election_doubles_its_wait_up_to_a_minute() {
        let (mut timers, mut now) = (timers(), Instant::now());
        timers.set(Timer::Resend, now);
        let mut waits = Vec::new();
        for _ in 0..10 {
            let deadline = timers.sleep_until().expect("set");
            waits.push(deadline.duration_since(now).as_millis());
            now = deadline;
            assert!(timers.take_due(Timer::Resend, now));
            timers.set(Timer::Resend, now);
            timers.fired();
        }
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000]);
        timers.set(Timer::Resend, now);
        assert_eq!(timers.sleep_until(), Some(now + Duration::from_millis(200)), "an event starts anew");
    }
}
