//! What one client asked for and what was acknowledged, and what may therefore stand on a server.
//!
//! A request whose connection broke before the reply is *unknown*: it may have been carried out or not, but not later
//! than the first acknowledged write behind it. So the ledger yields bounds, and every acknowledgement and every
//! reading is held against them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
};

use anyhow::{Context, Result, ensure};

use crate::{
    client::{Kind, Op, Reply, Stat},
    content::Claim,
};

/// A promise that the ensemble broke, in contrast to a connection that did, or a server that does not start.
#[derive(Debug)]
pub struct Broken(pub String);

impl Broken {
    /// An error that says that a promise was broken.
    #[expect(clippy::new_ret_no_self, reason = "it is only ever used as an error")]
    pub fn new(why: &anyhow::Error) -> anyhow::Error {
        Self(format!("{why:#}")).into()
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

/// One acknowledged write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ack {
    /// When it was sent, in microseconds of the run.
    pub sent: u64,
    /// When its reply was read, in microseconds of the run.
    pub acked: u64,
    /// Its place in the order.
    pub zxid: i64,
}

/// A request under way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Pending {
    /// Sets the register to this number.
    Set(u64),
    /// Makes a sequential node that holds this number.
    Create(u64),
    /// Removes a sequential node of this name.
    Delete(String),
    /// Keeps the session alive.
    Ping,
}

/// What one server shows of one client.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reading {
    /// What the register holds.
    pub register: u64,
    /// The register's Stat.
    pub stat: Stat,
    /// The names of the sequential nodes.
    pub names: BTreeSet<String>,
}

/// What an acknowledged create has made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Made {
    /// The number that the node holds.
    pub number: u64,
    /// The transaction that made it.
    pub zxid: i64,
}

/// The account of one client.
#[derive(Clone, Debug)]
pub struct Ledger {
    client: usize,
    /// The transaction that made the register.
    made: i64,
    next: u64,
    /// The last set that was acknowledged, with its Stat.
    set_acked: u64,
    version_acked: i32,
    mzxid_acked: i64,
    /// Sets sent behind it: under way, or unknown.
    sets: VecDeque<u64>,
    /// The last transaction acknowledged.
    zxid_acked: i64,
    /// Sequential nodes that must stand, each with what is known of it.
    standing: BTreeMap<String, Option<Made>>,
    /// Those whose removal is unknown.
    doubtful: BTreeSet<String>,
    /// How many creates are unknown.
    creates_unknown: usize,
    last_name: Option<String>,
    acks: Vec<Ack>,
}

impl Ledger {
    /// The account of a client whose register holds 0, at version 0, since `zxid`.
    pub fn new(client: usize, zxid: i64) -> Self {
        Self {
            client,
            made: zxid,
            next: 0,
            set_acked: 0,
            version_acked: 0,
            mzxid_acked: zxid,
            sets: VecDeque::new(),
            zxid_acked: zxid,
            standing: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            creates_unknown: 0,
            last_name: None,
            acks: Vec::new(),
        }
    }

    /// The node of this client's register.
    pub fn register(&self) -> String {
        format!("/faults/register-{}", self.client)
    }

    /// The folder of this client's sequential nodes.
    pub fn folder(&self) -> String {
        format!("/faults/nodes-{}", self.client)
    }

    /// The last zxid acknowledged to this client.
    pub fn last_zxid(&self) -> i64 {
        self.zxid_acked
    }

    /// Chooses the next write, and notes it as sent.
    pub fn send(&mut self) -> (Op, Pending) {
        self.next += 1;
        let number = self.next;
        let full = self.standing.len() > 40;
        if number.is_multiple_of(8)
            && full
            && let Some((name, _)) = self.standing.pop_first()
        {
            self.doubtful.insert(name.clone());
            return (Op::Delete(format!("{}/{name}", self.folder())), Pending::Delete(name));
        }
        if number % 8 == 4 {
            self.creates_unknown += 1;
            let path = format!("{}/n-", self.folder());
            let op = Op::Create { path, data: number.to_string().into_bytes(), kind: Kind::Sequential };
            return (op, Pending::Create(number));
        }
        self.sets.push_back(number);
        (Op::SetData { path: self.register(), data: number.to_string().into_bytes() }, Pending::Set(number))
    }

    /// Holds a reply against the account, and enters it.
    ///
    /// # Errors
    /// Says which promise the reply breaks.
    pub fn acknowledge(&mut self, pending: Pending, reply: &Reply, sent: u64, acked: u64) -> Result<()> {
        if pending == Pending::Ping {
            return Ok(());
        }
        let client = self.client;
        ensure!(
            reply.zxid > self.zxid_acked,
            "client {client}: {pending:?} acknowledged at 0x{:x}, not behind 0x{:x} which was acknowledged before",
            reply.zxid,
            self.zxid_acked
        );
        ensure!(
            reply.code == 0,
            "client {client}: {pending:?} failed with {}; what it builds on is lost",
            reply.code
        );
        match pending {
            Pending::Set(number) => self.acknowledge_set(number, reply)?,
            Pending::Create(number) => self.acknowledge_create(number, reply)?,
            Pending::Delete(name) => {
                ensure!(self.doubtful.remove(&name), "client {client}: {name} removed twice");
            }
            Pending::Ping => {}
        }
        self.zxid_acked = reply.zxid;
        self.acks.push(Ack { sent, acked, zxid: reply.zxid });
        Ok(())
    }

    fn acknowledge_set(&mut self, number: u64, reply: &Reply) -> Result<()> {
        let client = self.client;
        let stat = reply.stat()?;
        let (low, high) = (i64::from(self.version_acked) + 1, self.version_max(number)?);
        let version = i64::from(stat.version);
        ensure!(
            (low..=high).contains(&version),
            "client {client}: set {number} made version {version}, not one of {low} to {high}: a set before it was \
             lost, or came twice"
        );
        ensure!(
            stat.mzxid == reply.zxid,
            "client {client}: set {number} at 0x{:x} says 0x{:x}",
            reply.zxid,
            stat.mzxid
        );
        self.sets.retain(|sent| *sent > number);
        (self.set_acked, self.version_acked, self.mzxid_acked) = (number, stat.version, stat.mzxid);
        Ok(())
    }

    /// The version that the register has at most when it holds `number`.
    fn version_max(&self, number: u64) -> Result<i64> {
        let before = self.sets.iter().filter(|sent| **sent <= number).count();
        Ok(i64::from(self.version_acked) + i64::try_from(before)?)
    }

    fn acknowledge_create(&mut self, number: u64, reply: &Reply) -> Result<()> {
        let client = self.client;
        let path = reply.path()?;
        let name = path
            .strip_prefix(&format!("{}/", self.folder()))
            .with_context(|| format!("{path} is elsewhere"))?;
        if let Some(last) = &self.last_name {
            ensure!(name > last.as_str(), "client {client}: sequential node {name} made behind {last}");
        }
        self.last_name = Some(name.to_owned());
        self.creates_unknown -= 1;
        self.standing.insert(name.to_owned(), Some(Made { number, zxid: reply.zxid }));
        Ok(())
    }

    /// Holds what a server shows against the account. Nothing may be outstanding.
    ///
    /// # Errors
    /// Says what is lost, or came back.
    pub fn judge(&self, reading: &Reading) -> Result<()> {
        let client = self.client;
        let newer = self.sets.contains(&reading.register);
        ensure!(
            newer || reading.register == self.set_acked,
            "client {client}: register holds {}; {} was acknowledged, and behind it only {:?} were sent",
            reading.register,
            self.set_acked,
            self.sets
        );
        let version = i64::from(reading.stat.version);
        let (low, high) =
            (i64::from(self.version_acked) + i64::from(newer), self.version_max(reading.register)?);
        ensure!(
            (low..=high).contains(&version),
            "client {client}: register holds {} at version {version}, not one of {low} to {high}",
            reading.register
        );
        ensure!(
            newer || reading.stat.mzxid == self.mzxid_acked,
            "client {client}: the register's last change is 0x{:x}, acknowledged was 0x{:x}",
            reading.stat.mzxid,
            self.mzxid_acked
        );
        let lost: Vec<_> = self.standing.keys().filter(|name| !reading.names.contains(*name)).collect();
        ensure!(lost.is_empty(), "client {client}: acknowledged nodes are lost: {lost:?}");
        let extra: Vec<_> = reading
            .names
            .iter()
            .filter(|name| !self.standing.contains_key(*name) && !self.doubtful.contains(*name))
            .collect();
        ensure!(
            extra.len() <= self.creates_unknown,
            "client {client}: {} creates are unknown, and these nodes stand: {extra:?}; an acknowledged removal is \
             lost, or a create came twice",
            self.creates_unknown
        );
        Ok(())
    }

    /// Takes a reading that every server agrees on as the account: what was unknown is known now.
    pub fn settle(&mut self, reading: &Reading) {
        self.set_acked = reading.register;
        self.sets.clear();
        self.version_acked = reading.stat.version;
        self.mzxid_acked = reading.stat.mzxid;
        self.zxid_acked = self.zxid_acked.max(reading.stat.mzxid);
        self.creates_unknown = 0;
        self.doubtful.clear();
        let known = std::mem::take(&mut self.standing);
        let made = |name: &String| known.get(name).copied().flatten();
        self.standing = reading.names.iter().map(|name| (name.clone(), made(name))).collect();
    }

    /// What must stand of this client's nodes once everything is settled. Of a node whose create was never acknowledged
    /// no more is known than that it stands.
    pub fn claims(&self) -> impl Iterator<Item = (String, Claim)> {
        let register = Claim {
            czxid: Some(self.made),
            mzxid: Some(self.mzxid_acked),
            version: Some(self.version_acked),
            ..Claim::holds(self.set_acked.to_string())
        };
        let node = |(name, made): (&String, &Option<Made>)| {
            let claim = made.map_or_else(Claim::default, |Made { number, zxid }| Claim {
                czxid: Some(zxid),
                mzxid: Some(zxid),
                version: Some(0),
                ..Claim::holds(number.to_string())
            });
            (format!("{}/{name}", self.folder()), claim)
        };
        let own = [(self.register(), register), (self.folder(), Claim::holds("0"))];
        own.into_iter().chain(self.standing.iter().map(node))
    }

    /// Takes out what was acknowledged since the last call.
    pub fn take_acks(&mut self) -> Vec<Ack> {
        std::mem::take(&mut self.acks)
    }
}

/// Real-time order of all writes: a write that was acknowledged before another was sent stands before it.
///
/// # Errors
/// Names the two writes.
pub fn judge_order(acks: &mut [Ack]) -> Result<()> {
    acks.sort_by_key(|ack| ack.zxid);
    for pair in acks.windows(2) {
        ensure!(pair[0].zxid != pair[1].zxid, "two writes were acknowledged at 0x{:x}", pair[0].zxid);
    }
    let mut latest: Option<Ack> = None;
    for ack in acks.iter() {
        if let Some(latest) = latest {
            ensure!(
                ack.acked >= latest.sent,
                "the write at 0x{:x} was acknowledged before that at 0x{:x} was sent, and stands behind it",
                ack.zxid,
                latest.zxid
            );
        }
        if latest.is_none_or(|latest| ack.sent > latest.sent) {
            latest = Some(*ack);
        }
    }
    Ok(())
}

/// The longest time between two acknowledgements, one behind the other, in microseconds.
pub fn longest_gap(acks: &[Ack]) -> u64 {
    let mut times: Vec<u64> = acks.iter().map(|ack| ack.acked).collect();
    times.sort_unstable();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jute::Encoder;

    fn reply(zxid: i64, body: Vec<u8>) -> Reply {
        Reply::new(1, zxid, 0, body)
    }

    fn stat(zxid: i64, version: i32) -> Vec<u8> {
        let stat = Encoder::new().long(1).long(zxid).long(0).long(0).int(version).int(0).int(0).long(0);
        stat.int(0).int(0).long(1).body()
    }

    /// A client that has sent these many writes, all acknowledged in order but those listed.
    fn client(writes: u64, unknown: &[u64]) -> (Ledger, Reading) {
        let mut ledger = Ledger::new(1, 10);
        let mut reading = Reading {
            register: 0,
            stat: Stat { mzxid: 10, ctime: 5, ..Stat::default() },
            names: BTreeSet::new(),
        };
        for number in 1..=writes {
            let (_, pending) = ledger.send();
            let zxid = 10 + i64::try_from(number).expect("small");
            let body = match &pending {
                Pending::Set(value) => {
                    reading.register = *value;
                    reading.stat = Stat { mzxid: zxid, version: reading.stat.version + 1, ..reading.stat };
                    stat(zxid, reading.stat.version)
                }
                Pending::Create(_) => {
                    let name = format!("n-{number:010}");
                    let path = format!("{}/{name}", ledger.folder());
                    reading.names.insert(name);
                    Encoder::new().bytes(path.as_bytes()).body()
                }
                Pending::Delete(name) => {
                    reading.names.remove(name);
                    Vec::new()
                }
                Pending::Ping => Vec::new(),
            };
            if !unknown.contains(&number) {
                ledger.acknowledge(pending, &reply(zxid, body), number, number).expect("in order");
            }
        }
        (ledger, reading)
    }

    #[test]
    fn what_was_acknowledged_and_stands_is_well() {
        let (ledger, reading) = client(1000, &[]);
        ledger.judge(&reading).expect("nothing is lost");
    }

    #[test]
    fn an_unknown_write_may_stand_or_not() {
        let (ledger, reading) = client(1000, &[998, 999, 1000]);
        ledger.judge(&reading).expect("they stand");
        let (_, before) = client(997, &[]);
        ledger.judge(&before).expect("they do not");
    }

    #[test]
    fn what_is_acknowledged_is_claimed_whole() {
        let (ledger, reading) = client(1000, &[]);
        let claims: BTreeMap<String, Claim> = ledger.claims().collect();
        assert_eq!(claims.len(), 2 + reading.names.len());
        let register = &claims["/faults/register-1"];
        assert_eq!(register.data, Some(reading.register.to_string().into_bytes()));
        assert_eq!(
            (register.mzxid, register.version),
            (Some(reading.stat.mzxid), Some(reading.stat.version))
        );
        for name in &reading.names {
            let number: i64 =
                name.strip_prefix("n-").and_then(|digits| digits.parse().ok()).expect("a number");
            let node = &claims[&format!("/faults/nodes-1/{name}")];
            assert_eq!((node.czxid, &node.data), (Some(10 + number), &Some(number.to_string().into_bytes())));
        }
    }

    #[test]
    fn a_lost_set_is_seen() {
        let (ledger, mut reading) = client(10, &[]);
        reading.register -= 1;
        assert!(ledger.judge(&reading).expect_err("lost").to_string().contains("was acknowledged"));
    }

    #[test]
    fn a_lost_set_below_a_later_one_is_seen() {
        let (ledger, mut reading) = client(10, &[]);
        reading.stat.version -= 1;
        assert!(ledger.judge(&reading).is_err());
    }

    #[test]
    fn a_lost_set_is_seen_at_the_next_acknowledgement() {
        let (mut ledger, reading) = client(10, &[]);
        let (_, pending) = ledger.send();
        let zxid = reading.stat.mzxid + 10;
        let late = reply(zxid, stat(zxid, reading.stat.version));
        assert!(ledger.acknowledge(pending, &late, 1, 1).expect_err("lost").to_string().contains("version"));
    }

    #[test]
    fn a_set_carried_out_twice_is_seen() {
        let (mut ledger, reading) = client(10, &[]);
        let (_, pending) = ledger.send();
        let zxid = reading.stat.mzxid + 10;
        let twice = reply(zxid, stat(zxid, reading.stat.version + 2));
        assert!(ledger.acknowledge(pending, &twice, 1, 1).is_err());
    }

    #[test]
    fn a_lost_node_and_one_that_came_back_are_seen() {
        let (ledger, reading) = client(1000, &[]);
        let mut lost = reading.clone();
        lost.names.pop_last();
        assert!(ledger.judge(&lost).expect_err("lost").to_string().contains("are lost"));
        let mut back = reading;
        back.names.insert("n-0000000004".to_owned());
        assert!(ledger.judge(&back).expect_err("came back").to_string().contains("removal"));
    }

    #[test]
    fn acknowledgements_against_the_order_are_seen() {
        let (mut ledger, _) = client(3, &[]);
        let (_, pending) = ledger.send();
        let early = reply(11, Encoder::new().bytes(b"/faults/nodes-1/n-0000000009").body());
        assert!(ledger.acknowledge(pending, &early, 1, 1).is_err());
        let ack = |sent, acked, zxid| Ack { sent, acked, zxid };
        judge_order(&mut [ack(1, 5, 1), ack(2, 4, 2), ack(6, 7, 3)]).expect("they overlap");
        assert!(judge_order(&mut [ack(1, 5, 3), ack(6, 7, 2)]).is_err());
        assert!(judge_order(&mut [ack(1, 5, 3), ack(2, 4, 3)]).is_err());
    }

    #[test]
    fn the_longest_gap_is_between_neighbours() {
        let ack = |acked| Ack { sent: 0, acked, zxid: 0 };
        assert_eq!(longest_gap(&[ack(100), ack(10), ack(40)]), 60);
        assert_eq!(longest_gap(&[]), 0);
    }
}
