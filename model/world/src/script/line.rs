//! The lines of a script, read and written.

use std::{error::Error, fmt, str::FromStr};

use protocol::{Ticket, Timer};
use spec::{Epoch, ServerId, Zxid};

use crate::{DiskPace, Keep, Settings, Side, Step};

/// A script that was read.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) header: Header,
    pub(super) lines: Vec<Line>,
}

/// A line as it stands, and what it asks for; nothing, if it is narration.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) text: String,
    pub(super) command: Option<Command>,
}

/// Who takes part, and what shapes them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Header {
    pub(super) servers: Vec<ServerId>,
    pub(super) observers: Vec<ServerId>,
    pub(super) leader: Option<ServerId>,
    pub(super) window: usize,
    pub(super) log_sync: bool,
    pub(super) counter_max: u32,
    pub(super) disk: DiskPace,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Command {
    Ensemble(Header),
    Step(Step),
    Deliver { from: ServerId, to: ServerId, what: String },
    Notice { server: ServerId, other: ServerId },
    Break { one: ServerId, other: ServerId },
    Gone(ServerId),
    Flush(ServerId),
    Settle(Vec<ServerId>),
    Expect(Expect),
    Demand(Expect),
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Expect {
    Serving(Vec<ServerId>),
    Leading(ServerId),
    Following(Vec<ServerId>),
    Observing(Vec<ServerId>),
    Looking(Vec<ServerId>),
    State(Vec<ServerId>, Vec<Zxid>),
    Disk(Vec<ServerId>, Vec<Zxid>),
    Committed(Vec<Zxid>),
    Silence { from: ServerId, to: ServerId },
}

/// A script does not read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ParseError {
    /// The line, from 1; 0 for the whole.
    pub line: usize,
    /// What is wrong.
    pub why: String,
}

impl ParseError {
    pub(super) fn at(line: usize, why: impl Into<String>) -> Self {
        Self { line, why: why.into() }
    }
}

impl Error for ParseError {}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

pub(super) fn parse(text: &str) -> Result<Script, ParseError> {
    let mut lines = Vec::new();
    let mut header = None;
    for (place, text) in text.lines().enumerate() {
        let number = place + 1;
        let trimmed = text.trim();
        let command = match trimmed {
            "" => None,
            narration if narration.starts_with('#') => None,
            line => Some(command(line).map_err(|why| ParseError::at(number, why))?),
        };
        match (&command, &header) {
            (Some(Command::Ensemble(found)), None) => header = Some(found.clone()),
            (Some(Command::Ensemble(_)), Some(_)) => {
                return Err(ParseError::at(number, "there is an ensemble already"));
            }
            (Some(_), None) => return Err(ParseError::at(number, "the first step is to name the ensemble")),
            (Some(_), Some(_)) | (None, _) => {}
        }
        lines.push(Line { number, text: trimmed.to_owned(), command });
    }
    let header = header.ok_or_else(|| ParseError::at(0, "no ensemble is named"))?;
    Ok(Script { header, lines })
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn command(line: &str) -> Result<Command, String> {
    let mut words = line.split_whitespace().peekable();
    let verb = words.next().unwrap_or_default();
    let found = match verb {
        "ensemble" => return ensemble(words),
        "lead" => {
            let server = id(&mut words)?;
            Command::Step(Step::Decide { server, leader: server })
        }
        "follow" => Command::Step(Step::Decide { server: id(&mut words)?, leader: id(&mut words)? }),
        "reach" => Command::Step(Step::Reach { learner: id(&mut words)?, leader: id(&mut words)? }),
        "elect" => {
            let leader = id(&mut words)?;
            if words.next() != Some("by") {
                return Err("elect LEADER by FOLLOWER…".to_owned());
            }
            Command::Step(Step::Elect { leader, followers: ids(&mut words)? })
        }
        "join" => Command::Step(Step::Join { learner: id(&mut words)?, leader: id(&mut words)? }),
        "connect" => Command::Step(Step::Connect { learner: id(&mut words)?, leader: id(&mut words)? }),
        "deliver" => return deliver(words),
        "notice" => Command::Notice { server: id(&mut words)?, other: id(&mut words)? },
        "gone" => Command::Gone(id(&mut words)?),
        "break" => Command::Break { one: id(&mut words)?, other: id(&mut words)? },
        "timer" => Command::Step(Step::Timeout { server: id(&mut words)?, timer: timer(&mut words)? }),
        "finish" => {
            Command::Step(Step::Finish { server: id(&mut words)?, ticket: Ticket(next(&mut words)?) })
        }
        "flush" => Command::Flush(id(&mut words)?),
        "propose" => Command::Step(Step::Propose { server: id(&mut words)? }),
        "crash" => return crash(words),
        "settle" => Command::Settle(ids(&mut words)?),
        "expect" => Command::Expect(expect(&mut words)?),
        "demand" => Command::Demand(expect(&mut words)?),
        verb => return Err(format!("{verb} is no step")),
    };
    words.next().map_or(Ok(found), |rest| Err(format!("{rest} is too much")))
}

fn ensemble(mut words: Words<'_>) -> Result<Command, String> {
    let servers = ids(&mut words)?;
    let mut header = Header {
        servers,
        observers: Vec::new(),
        leader: None,
        window: 500,
        log_sync: true,
        counter_max: u32::MAX,
        disk: DiskPace::Eager,
    };
    for word in words {
        let (key, value) = word.split_once('=').ok_or_else(|| format!("{word} is not key=value"))?;
        match (key, value) {
            ("leader", id) => header.leader = Some(ServerId(number(id)?)),
            ("observers", ids) => {
                let ids = ids.split(',').map(|id| number(id).map(ServerId));
                header.observers = ids.collect::<Result<_, _>>()?;
            }
            ("window", entries) => header.window = number(entries)?,
            ("log-sync", "no") => header.log_sync = false,
            ("counter", last) => header.counter_max = number(last)?,
            ("disk", "lagging") => header.disk = DiskPace::Lagging,
            ("disk", "searching") => header.disk = DiskPace::Searching,
            _ => return Err(format!("{word} is nothing that shapes an ensemble")),
        }
    }
    if header.servers.is_empty() || header.leader.is_some_and(|leader| !header.servers.contains(&leader)) {
        return Err("an ensemble has servers, and its leader is one of them".to_owned());
    }
    if header.observers.iter().any(|id| header.servers.iter().any(|voter| voter >= id)) {
        return Err("an observer's number is above those of all voters".to_owned());
    }
    Ok(Command::Ensemble(header))
}

fn deliver(mut words: Words<'_>) -> Result<Command, String> {
    let (from, to) = direction(&mut words)?;
    let what: Vec<_> = words.collect();
    Ok(Command::Deliver { from, to, what: what.join(" ") })
}

fn direction(words: &mut Words<'_>) -> Result<(ServerId, ServerId), String> {
    let link = words.next().unwrap_or_default();
    let (from, to) = link.split_once("->").ok_or_else(|| format!("{link} is not FROM->TO"))?;
    Ok((ServerId(number(from)?), ServerId(number(to)?)))
}

fn crash(mut words: Words<'_>) -> Result<Command, String> {
    let server = id(&mut words)?;
    let mut keep = Keep::default();
    for word in words {
        match word.split_once('=').unwrap_or((word, "")) {
            ("log", places) => {
                for place in places.split(',') {
                    let place: u32 = number(place)?;
                    keep.log |= 1_u64.checked_shl(place).ok_or("a log has fewer operations under way")?;
                }
            }
            ("accepted", kept) => keep.accepted = number(kept)?,
            ("current", kept) => keep.current = number(kept)?,
            ("snapshot", "") => keep.snapshot = true,
            _ => return Err(format!("{word} is nothing that a crash keeps")),
        }
    }
    Ok(Command::Step(Step::Crash { server, keep }))
}

fn timer(words: &mut Words<'_>) -> Result<Timer, String> {
    match words.next().unwrap_or_default() {
        "establish" => Ok(Timer::Establish),
        "handshake" => Ok(Timer::Handshake(id(words)?)),
        "silence" => Ok(Timer::Silence(id(words)?)),
        "ping" => Ok(Timer::Ping),
        "expiry" => Ok(Timer::Expiry),
        "resend" => Ok(Timer::Resend),
        "finalize" => Ok(Timer::Finalize),
        "sweep" => Ok(Timer::Sweep),
        "sweep-next" => Ok(Timer::SweepNext),
        "read-only" => Ok(Timer::ReadOnly),
        name => Err(format!("{name} is no timer")),
    }
}

fn expect(words: &mut Words<'_>) -> Result<Expect, String> {
    match words.next().unwrap_or_default() {
        "serving" => Ok(Expect::Serving(ids(words)?)),
        "leading" => Ok(Expect::Leading(id(words)?)),
        "following" => Ok(Expect::Following(ids(words)?)),
        "observing" => Ok(Expect::Observing(ids(words)?)),
        "looking" => Ok(Expect::Looking(ids(words)?)),
        "state" => Ok(Expect::State(ids(words)?, zxids(words)?)),
        "disk" => Ok(Expect::Disk(ids(words)?, zxids(words)?)),
        "committed" => Ok(Expect::Committed(zxids(words)?)),
        "silence" => {
            let (from, to) = direction(words)?;
            Ok(Expect::Silence { from, to })
        }
        what => Err(format!("{what} is nothing to expect")),
    }
}

/// What stands behind an equals sign.
fn zxids(words: &mut Words<'_>) -> Result<Vec<Zxid>, String> {
    if words.next() != Some("=") {
        return Err("transactions stand behind a =".to_owned());
    }
    let zxid = |word: &str| {
        let (epoch, counter) = word.split_once(':').ok_or_else(|| format!("{word} is not EPOCH:COUNTER"))?;
        Ok(Zxid::new(Epoch(number(epoch)?), number(counter)?))
    };
    words.map(zxid).collect()
}

fn number<N: FromStr>(word: &str) -> Result<N, String> {
    word.parse().map_err(|_| format!("{word} is not a fitting number"))
}

fn next<N: FromStr>(words: &mut Words<'_>) -> Result<N, String> {
    number(words.next().ok_or("a number is missing")?)
}

fn id(words: &mut Words<'_>) -> Result<ServerId, String> {
    next(words).map(ServerId)
}

fn ids(words: &mut Words<'_>) -> Result<Vec<ServerId>, String> {
    let mut found = Vec::new();
    while words.peek().is_some_and(|word| word.starts_with(|first: char| first.is_ascii_digit())) {
        found.push(id(words)?);
    }
    Ok(found)
}

/// The first line of a script with these servers.
pub fn header_line(settings: &Settings) -> String {
    let servers: Vec<_> = settings.quorum.voters().map(|id| id.to_string()).collect();
    let mut line = format!("ensemble {}", servers.join(" "));
    let mut add = |given: bool, word: String| {
        if given {
            line.push(' ');
            line.push_str(&word);
        }
    };
    let observers: Vec<_> = settings.observers.iter().map(ServerId::to_string).collect();
    add(!observers.is_empty(), format!("observers={}", observers.join(",")));
    add(settings.window != 500, format!("window={}", settings.window));
    add(!settings.log_sync, "log-sync=no".to_owned());
    add(settings.counter_max != u32::MAX, format!("counter={}", settings.counter_max));
    add(settings.disk == DiskPace::Lagging, "disk=lagging".to_owned());
    add(settings.disk == DiskPace::Searching, "disk=searching".to_owned());
    line
}

/// A step as a line of a script.
pub fn step_line(step: &Step) -> String {
    match step {
        Step::Decide { server, leader } if server == leader => format!("lead {server}"),
        Step::Decide { server, leader } => format!("follow {server} {leader}"),
        Step::Elect { leader, followers } => {
            let followers: Vec<_> = followers.iter().map(ServerId::to_string).collect();
            format!("elect {leader} by {}", followers.join(" "))
        }
        Step::Join { learner, leader } => format!("join {learner} {leader}"),
        Step::Reach { learner, leader } => format!("reach {learner} {leader}"),
        Step::Connect { learner, leader } => format!("connect {learner} {leader}"),
        Step::Read { learner, leader, at: Side::Learner } => format!("deliver {leader}->{learner}"),
        Step::Read { learner, leader, at: Side::Leader } => format!("deliver {learner}->{leader}"),
        Step::Notice { learner, leader, at: Side::Learner } => format!("notice {learner} {leader}"),
        Step::Notice { learner, leader, at: Side::Leader } => format!("notice {leader} {learner}"),
        Step::Break { learner, leader } => format!("break {learner} {leader}"),
        Step::Timeout { server, timer } => format!("timer {server} {}", timer_words(*timer)),
        Step::Finish { server, ticket } => format!("finish {server} {}", ticket.0),
        Step::Propose { server } => format!("propose {server}"),
        Step::Crash { server, keep } => format!("crash {server}{}", keep_words(*keep)),
    }
}

fn timer_words(timer: Timer) -> String {
    match timer {
        Timer::Establish => "establish".to_owned(),
        Timer::Handshake(peer) => format!("handshake {peer}"),
        Timer::Silence(peer) => format!("silence {peer}"),
        Timer::Ping => "ping".to_owned(),
        Timer::Expiry => "expiry".to_owned(),
        Timer::Resend => "resend".to_owned(),
        Timer::Finalize => "finalize".to_owned(),
        Timer::Sweep => "sweep".to_owned(),
        Timer::SweepNext => "sweep-next".to_owned(),
        Timer::ReadOnly => "read-only".to_owned(),
    }
}

fn keep_words(keep: Keep) -> String {
    let Keep { log, accepted, current, snapshot } = keep;
    let places: Vec<_> =
        (0..64).filter(|place| log >> place & 1 == 1).map(|place| place.to_string()).collect();
    let log = if places.is_empty() { String::new() } else { format!(" log={}", places.join(",")) };
    let epoch = |name: &str, kept: u8| if kept == 0 { String::new() } else { format!(" {name}={kept}") };
    let snapshot = if snapshot { " snapshot" } else { "" };
    format!("{log}{}{}{snapshot}", epoch("accepted", accepted), epoch("current", current))
}
