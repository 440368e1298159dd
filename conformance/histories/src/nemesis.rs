//! What servers and links suffer while clients go on.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::ValueEnum;
use faults::{
    ensemble::{Ensemble, Role},
    hardships,
};

use crate::{
    dice::Dice,
    network::{End, Network},
};

/// A kind of fault.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, ValueEnum)]
pub enum Nemesis {
    /// None.
    Calm,
    /// SIGKILL of the leader, another server, or all.
    Kill,
    /// SIGSTOP, and SIGCONT later.
    Pause,
    /// A server and the others lose each other's packets; clients may lose it, too.
    Partition,
    /// Packets are lost in one direction.
    OneWay,
    /// The leader is stopped and cut off from the others, and goes on unawares when they have another one.
    Deposed,
    /// A server's packets wait.
    Slow,
    /// Wall clocks jump by up to an hour.
    Clock,
    /// Each of the others, two at a time.
    Mixed,
}

impl Nemesis {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Calm,
        Self::Kill,
        Self::Pause,
        Self::Partition,
        Self::OneWay,
        Self::Deposed,
        Self::Slow,
        Self::Clock,
        Self::Mixed,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Partition => "partition",
            Self::OneWay => "one-way",
            Self::Deposed => "deposed",
            Self::Slow => "slow",
            Self::Clock => "clock",
            Self::Mixed => "mixed",
        }
    }
}

/// How long the others may take to have another leader.
const DEPOSED_WITHIN: Duration = Duration::from_secs(5);

/// What a nemesis works on.
#[derive(Debug)]
pub struct Victims<'a> {
    /// The servers.
    pub ensemble: &'a mut Ensemble,
    /// What is between them.
    pub network: &'a Network,
    /// Whether their wall clocks can be set.
    pub clocks: bool,
    /// Each fault, told to whoever reads the outcome.
    pub told: Vec<String>,
}

impl Victims<'_> {
    /// Lets one kind of fault come and go for a while; at the end all is well again, but for servers that start.
    ///
    /// # Errors
    /// If a fault cannot be made, or a server ended by itself.
    pub fn suffer(&mut self, nemesis: Nemesis, time: Duration, dice: &mut Dice) -> Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            let some = if self.clocks { &Nemesis::ALL[1..8] } else { &Nemesis::ALL[1..7] };
            let kinds = if nemesis == Nemesis::Mixed {
                [dice.pick(some).copied(), dice.pick(some).copied()].into_iter().flatten().collect()
            } else {
                vec![nemesis]
            };
            for kind in kinds {
                self.strike(kind, dice)?;
                rest(dice.between(0, 500), until);
            }
            // Longer and shorter than what followers and leaders bear in silence.
            rest(dice.between(200, 3_500), until);
            self.relieve(dice)?;
            rest(dice.between(300, 1_500), until);
        }
        Ok(())
    }

    /// The leader more often than chance would have it.
    fn victim(&self, kind: Nemesis, dice: &mut Dice) -> Option<usize> {
        let ids = self.ensemble.ids();
        let leader = ids.iter().find(|id| self.ensemble.role(**id) == Some(Role::Leader)).copied();
        let it = kind == Nemesis::Deposed || dice.percent(50);
        leader.filter(|_| it).or_else(|| dice.pick(&ids).copied())
    }

    fn strike(&mut self, kind: Nemesis, dice: &mut Dice) -> Result<()> {
        let ids = self.ensemble.ids();
        let Some(victim) = self.victim(kind, dice) else { return Ok(()) };
        let others: Vec<usize> = ids.iter().copied().filter(|id| *id != victim).collect();
        match kind {
            Nemesis::Calm | Nemesis::Mixed => return Ok(()),
            Nemesis::Kill => {
                let all = dice.percent(15);
                for id in ids.into_iter().filter(|id| all || *id == victim) {
                    self.ensemble.kill(id)?;
                }
                self.told.push(format!("kill {}", if all { "all".to_owned() } else { victim.to_string() }));
            }
            Nemesis::Pause => {
                if self.ensemble.pid(victim).is_ok() {
                    self.ensemble.signal(victim, "STOP")?;
                    self.told.push(format!("stop {victim}"));
                }
            }
            Nemesis::Partition | Nemesis::OneWay => {
                let into = dice.percent(50);
                let both = kind == Nemesis::Partition;
                let mut ends: Vec<End> = others.into_iter().map(End::Server).collect();
                // Sometimes one link only, and sometimes the clients are cut off as well.
                if dice.percent(25) {
                    ends.truncate(1);
                }
                if dice.percent(25) {
                    ends.push(End::Clients);
                }
                for end in &ends {
                    if both || into {
                        self.network.cut(*end, End::Server(victim))?;
                    }
                    if both || !into {
                        self.network.cut(End::Server(victim), *end)?;
                    }
                }
                let way = if both {
                    "between"
                } else if into {
                    "to"
                } else {
                    "from"
                };
                self.told.push(format!("cut {way} {victim} and {ends:?}"));
            }
            Nemesis::Deposed => self.depose(victim, &others, dice)?,
            Nemesis::Slow => {
                let kbit = dice.between(16, 400);
                self.network.slow(victim, kbit)?;
                self.told.push(format!("slow {victim} {kbit} kbit/s"));
            }
            Nemesis::Clock => {
                let by = i64::try_from(dice.between(0, 7_200))? - 3_600;
                hardships::set_clock(self.ensemble, victim, by)?;
                self.told.push(format!("clock {victim} {by:+} s"));
            }
        }
        Ok(())
    }

    /// Nothing tells the leader that it is no more: not its clock, which it has not read, and no end of a connection.
    fn depose(&mut self, leader: usize, others: &[usize], dice: &mut Dice) -> Result<()> {
        if self.ensemble.role(leader) != Some(Role::Leader) {
            return Ok(());
        }
        for other in others {
            self.network.cut(End::Server(*other), End::Server(leader))?;
            self.network.cut(End::Server(leader), End::Server(*other))?;
        }
        self.ensemble.signal(leader, "STOP")?;
        let deadline = Instant::now() + DEPOSED_WITHIN;
        let led = |ensemble: &Ensemble| others.iter().any(|id| ensemble.role(*id) == Some(Role::Leader));
        while !led(self.ensemble) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(50));
        }
        // Time to write behind its back.
        thread::sleep(Duration::from_millis(dice.between(200, 1_000)));
        self.ensemble.signal(leader, "CONT")?;
        self.told.push(format!("depose {leader}"));
        Ok(())
    }

    /// Ends every fault; clocks stay where they are.
    fn relieve(&mut self, dice: &mut Dice) -> Result<()> {
        self.network.heal()?;
        let mut order = self.ensemble.ids();
        if dice.percent(50) {
            order.reverse();
        }
        for id in order {
            if self.ensemble.pid(id).is_ok() {
                self.ensemble.signal(id, "CONT")?;
            } else {
                self.ensemble.start(id)?;
            }
        }
        self.ensemble.check_alive()
    }

    /// Ends every fault, and puts the clocks right.
    ///
    /// # Errors
    /// If the system refuses, or a server ended by itself.
    pub fn heal(&mut self, dice: &mut Dice) -> Result<()> {
        self.relieve(dice)?;
        for id in self.ensemble.ids() {
            hardships::set_clock(self.ensemble, id, 0)?;
        }
        Ok(())
    }
}

fn rest(ms: u64, until: Instant) {
    thread::sleep(Duration::from_millis(ms).min(until.saturating_duration_since(Instant::now())));
}

/// The folders of servers, to be kept with a failure.
pub fn folders(ensemble: &Ensemble) -> Vec<PathBuf> {
    ensemble.ids().into_iter().map(|id| ensemble.dir(id).to_owned()).collect()
}
