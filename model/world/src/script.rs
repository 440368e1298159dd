//! Scenarios as text: a line a step, told back as a numbered transcript, judged by every rule after each step.
//!
//! ```text
//! # Lines that start with # say what happens, and why.
//! ensemble 1 2 3 leader=3 window=0 log-sync=no disk=lagging counter=2
//! follow 1 3               the election tells server 1 that 3 leads; `lead 3` tells 3 so
//! connect 1 3              the dial of 1 to 3 gets through
//! elect 3 by 1 2           3 leads, 1 and 2 follow, and discovery runs to its end
//! reach 1 3                1 is told to follow 3, and its dial gets through
//! join 1 3                 1 follows 3, and discovery runs to its end for it
//! deliver 3->1 SNAP        1 reads what 3 sent, which must be this
//! flush 1                  everything that the disk of 1 is busy with ends; `finish 1 0` ends one operation
//! timer 3 silence 1        a timer fires
//! propose 3                a client writes to 3
//! break 1 3                the link of 1 to 3 breaks; `notice 1 3` lets 1 notice
//! gone 1                   all others notice that their links with 1 are cut; what was not read of it is lost
//! crash 1 log=0,1 current=1 accepted=1 snapshot
//!                          1 restarts, and of what was not synced this is left; without words, nothing
//! settle 1 3               whatever goes on between these by itself, but for timers; without names, among all
//! expect serving 1 2 3     also: leading, following, looking, state 1 2 = 1:1, disk 1 = 1:1, committed = 1:1,
//!                          silence 3->1 (nothing is under way)
//! ```
//! demand serving 1 2 3     the same, and what the script is about: actors with a flaw must come to it, too
//!
//! `leader=3` is short for an election of 3 by all others that has settled. `disk=lagging` has disk operations end
//! when the script says so, `disk=searching` searches of the log alone; without it they end at once.

mod line;

use std::{collections::BTreeSet, fmt, fmt::Write as _};

use protocol::{Quorum, Role};
use spec::{ServerId, Zxid, history::History as _};

use self::line::{Command, Expect, Header, parse};
pub use self::line::{ParseError, header_line, step_line};
use crate::{Ensemble, Fault, Halt, Server, Settings, Side, Step};

/// More steps than this are no rest to come to.
const SETTLING_STEPS_MAX: usize = 2_000;

/// What a script is judged by.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Judge {
    /// Every rule; every line must come about as it says.
    #[default]
    All,
    /// The rules about histories, and what is demanded: for actors with a flaw. A step that fails by itself, or
    /// cannot happen, is left out.
    Histories,
}

/// How a script ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum End {
    /// Everything came about, every rule holds.
    Whole,
    /// A rule is broken.
    Broken(Fault),
    /// A line did not come about.
    Unmet(String),
}

/// A script that was played.
#[derive(Clone, Debug)]
pub struct Told {
    /// What happened, for a reader.
    pub transcript: String,
    /// The servers, where it ended.
    pub ensemble: Ensemble,
    /// How it ended.
    pub end: End,
    /// How many steps were taken.
    pub steps: usize,
}

/// Plays a script.
///
/// # Errors
/// It does not read: which line, and why.
pub fn play(text: &str, judge: Judge) -> Result<Told, ParseError> {
    let script = parse(text)?;
    let ensemble = start(&script.header, judge).map_err(|fault| ParseError::at(0, fault.why))?;
    let mut player = Player { ensemble, judge, transcript: String::new(), number: 0, steps: 0 };
    let mut end = End::Whole;
    for line in script.lines {
        let Some(command) = &line.command else {
            player.say(&line.text);
            continue;
        };
        player.number += 1;
        let number = player.number;
        player.say(&format!("{number:>3}. {}", line.text));
        if let Err(stop) = player.command(command) {
            end = match stop {
                Stop::Broken(fault) => End::Broken(fault),
                Stop::Unmet(why) => End::Unmet(format!("line {}, {}: {why}", line.number, line.text)),
            };
            break;
        }
    }
    player.say("");
    for server in player.ensemble.all() {
        let _ = writeln!(player.transcript, "server {}: {server}", server.id);
    }
    match &end {
        End::Whole => player.say("Every rule holds."),
        End::Broken(fault) => player.say(&format!("{} is broken: {}", fault.rule, fault.why)),
        End::Unmet(why) => player.say(why),
    }
    let Player { ensemble, transcript, steps, .. } = player;
    Ok(Told { transcript, ensemble, end, steps })
}

fn start(header: &Header, judge: Judge) -> Result<Ensemble, Fault> {
    Ensemble::new(Settings {
        quorum: Quorum::majority(header.servers.iter().copied()),
        observers: header.observers.clone(),
        window: header.window,
        log_sync: header.log_sync,
        counter_max: header.counter_max,
        disk: header.disk,
        local_rules: judge == Judge::All,
    })
}

enum Stop {
    Broken(Fault),
    Unmet(String),
}

struct Player {
    ensemble: Ensemble,
    judge: Judge,
    transcript: String,
    number: usize,
    steps: usize,
}

impl Player {
    fn say(&mut self, line: &str) {
        self.transcript.push_str(line);
        self.transcript.push('\n');
    }

    fn command(&mut self, command: &Command) -> Result<(), Stop> {
        match command {
            Command::Ensemble(header) => self.begin(header),
            Command::Step(step) => self.take(step).map(drop),
            Command::Deliver { from, to, what } => self.deliver(*from, *to, what),
            Command::Notice { server, other } => self.notice(*server, *other),
            Command::Break { one, other } => self.cut(*one, *other),
            Command::Gone(server) => self.gone(*server),
            Command::Flush(server) => self.flush(*server),
            Command::Settle(among) => self.settle(among, true),
            Command::Expect(expect) => self.missed(expect).map_or(Ok(()), |why| self.unmet(&why)),
            Command::Demand(expect) => self.missed(expect).map_or(Ok(()), |why| Err(Stop::Unmet(why))),
        }
    }

    fn begin(&mut self, header: &Header) -> Result<(), Stop> {
        let Some(leader) = header.leader else { return Ok(()) };
        let followers: Vec<_> = header.servers.iter().copied().filter(|id| *id != leader).collect();
        self.settle(&[], false)?;
        self.ensemble.take(&Step::Elect { leader, followers }).map_err(stop)?;
        self.settle(&[], false)
    }

    /// Takes a step; returns whether it came about.
    fn take(&mut self, step: &Step) -> Result<bool, Stop> {
        match (self.ensemble.take(step), self.judge) {
            (Ok(story), _) => {
                self.steps += 1;
                for line in story {
                    let _ = writeln!(self.transcript, "       {line}");
                }
                Ok(true)
            }
            (Err(Halt::Failed(_) | Halt::Impossible(_)), Judge::Histories) => {
                self.say("       (left out)");
                Ok(false)
            }
            (Err(halt), _) => Err(stop(halt)),
        }
    }

    fn deliver(&mut self, from: ServerId, to: ServerId, what: &str) -> Result<(), Stop> {
        let Some((learner, leader, at, next)) = self.unread(from, to) else {
            return self.unmet(&format!("{to} has nothing to read from {from}"));
        };
        if !next.starts_with(what) {
            return self.unmet(&format!("what {to} reads next from {from} is {next}"));
        }
        self.take(&Step::Read { learner, leader, at }).map(drop)
    }

    fn notice(&mut self, server: ServerId, other: ServerId) -> Result<(), Stop> {
        let found = Self::connections(other, server).into_iter().find(|(learner, leader, at)| {
            self.ensemble.link(*learner, *leader).is_some_and(|link| link.is_cut(*at))
        });
        match found {
            Some((learner, leader, at)) => self.take(&Step::Notice { learner, leader, at }).map(drop),
            None => self.unmet(&format!("{server} has no cut link with {other}")),
        }
    }

    fn gone(&mut self, server: ServerId) -> Result<(), Stop> {
        let others: Vec<_> = self.ensemble.all().iter().map(|other| other.id).collect();
        for other in others {
            let cut = |(learner, leader, at): &(ServerId, ServerId, Side)| {
                self.ensemble.link(*learner, *leader).is_some_and(|link| link.is_cut(*at))
            };
            if let Some((learner, leader, at)) = Self::connections(server, other).into_iter().find(cut) {
                self.take(&Step::Notice { learner, leader, at })?;
            }
        }
        Ok(())
    }

    fn cut(&mut self, one: ServerId, other: ServerId) -> Result<(), Stop> {
        let joined =
            |learner, leader| self.ensemble.link(learner, leader).is_some_and(crate::Link::is_joined);
        let (learner, leader) = if joined(one, other) { (one, other) } else { (other, one) };
        self.take(&Step::Break { learner, leader }).map(drop)
    }

    /// What one server reads next from another, and on which connection.
    fn unread(&self, from: ServerId, to: ServerId) -> Option<(ServerId, ServerId, Side, String)> {
        Self::connections(from, to).into_iter().find_map(|(learner, leader, at)| {
            let frame = self.ensemble.link(learner, leader)?.next(at)?;
            Some((learner, leader, at, frame.to_string()))
        })
    }

    /// The connections on which one server may read from another, and its end.
    fn connections(from: ServerId, to: ServerId) -> [(ServerId, ServerId, Side); 2] {
        [(to, from, Side::Learner), (from, to, Side::Leader)]
    }

    fn flush(&mut self, id: ServerId) -> Result<(), Stop> {
        for _ in 0..SETTLING_STEPS_MAX {
            let server = self.ensemble.server(id);
            let Some(ticket) = server.and_then(|server| server.disk().may_finish().first().copied()) else {
                return Ok(());
            };
            if !self.take(&Step::Finish { server: id, ticket })? {
                return Ok(());
            }
        }
        self.unmet("the disk does not come to rest")
    }

    fn settle(&mut self, among: &[ServerId], told: bool) -> Result<(), Stop> {
        let all = || self.ensemble.all().iter().map(|server| server.id).collect();
        let among: BTreeSet<_> = if among.is_empty() { all() } else { among.iter().copied().collect() };
        let transcript = self.transcript.len();
        let mut failed = Vec::new();
        for _ in 0..SETTLING_STEPS_MAX {
            let Some(step) = self.ensemble.next_calm(&among).find(|step| !failed.contains(step)) else {
                if !told {
                    self.transcript.truncate(transcript);
                }
                return Ok(());
            };
            if !self.take(&step)? {
                failed.push(step);
            }
        }
        self.unmet("there is no rest to come to")
    }

    /// A line that does not come about ends the script, unless the actors have a flaw: then it is left out.
    fn unmet(&mut self, why: &str) -> Result<(), Stop> {
        if self.judge == Judge::All {
            return Err(Stop::Unmet(why.to_owned()));
        }
        let _ = writeln!(self.transcript, "       (left out: {why})");
        Ok(())
    }

    /// What is otherwise than expected.
    fn missed(&self, expect: &Expect) -> Option<String> {
        let server = |id: &ServerId| self.ensemble.server(*id);
        let role = |id: &ServerId| server(id).and_then(|server| server.zab().role()).map(|(role, _)| role);
        let zxids = |logged: &[(Zxid, _)]| logged.iter().map(|(zxid, _)| *zxid).collect::<Vec<_>>();
        let not = |found: bool, id: &ServerId| (!found).then(|| format!("server {id} is not"));
        let different = |id: &ServerId, found: Vec<Zxid>, wanted: &[Zxid]| {
            (found != wanted).then(|| format!("server {id} has {}", Zxids(&found)))
        };
        match expect {
            Expect::Serving(ids) => {
                ids.iter().find_map(|id| not(server(id).is_some_and(|server| server.zab().is_serving()), id))
            }
            Expect::Leading(id) => not(role(id) == Some(Role::Leading), id),
            Expect::Following(ids) => {
                ids.iter().find_map(|id| not(matches!(role(id), Some(Role::Following(_))), id))
            }
            Expect::Observing(ids) => {
                ids.iter().find_map(|id| not(matches!(role(id), Some(Role::Observing(_))), id))
            }
            Expect::Looking(ids) => {
                ids.iter().find_map(|id| not(server(id).is_some_and(Server::is_looking), id))
            }
            Expect::State(ids, wanted) => ids.iter().find_map(|id| {
                different(id, server(id).map(|server| zxids(server.state())).unwrap_or_default(), wanted)
            }),
            Expect::Disk(ids, wanted) => ids.iter().find_map(|id| {
                let durable = server(id).and_then(|server| server.disk().durable().ok()).unwrap_or_default();
                different(id, zxids(&durable), wanted)
            }),
            Expect::Silence { from, to } => {
                self.unread(*from, *to).map(|(.., frame)| format!("{to} has to read {frame}"))
            }
            Expect::Committed(wanted) => {
                let committed = self.ensemble.record().committed().iter();
                let found: Vec<_> = committed.map(|entry| entry.zxid).collect();
                (found != *wanted).then(|| format!("committed is {}", Zxids(&found)))
            }
        }
    }
}

fn stop(halt: Halt) -> Stop {
    match halt {
        Halt::Impossible(why) => Stop::Unmet(why),
        Halt::Failed(fault) | Halt::Broken(fault) => Stop::Broken(fault),
    }
}

struct Zxids<'a>(&'a [Zxid]);

impl fmt::Display for Zxids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.0.iter().map(Zxid::to_string).collect();
        f.write_str(if texts.is_empty() { "nothing" } else { "" })?;
        f.write_str(&texts.join(" "))
    }
}
