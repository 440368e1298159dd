//! Long runs of chance: deliveries, timers, crashes, cuts and clients in an order that a seed decides, then a healed
//! network, and the rules of sessions judged over everything that was said.
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::{Note, Timer, peer::ClientRequest};
use spec::{ClientId, ServerId, SessionId, Zxid};

use crate::net::{
    Net, Said,
    register::{Read, Register, Txn, Write},
};

/// A small generator of numbers (xorshift), so that a seed is a run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let sides = u64::try_from(from.len()).expect("few");
        (sides > 0).then(|| from[usize::try_from(self.roll(sides)).expect("few")])
    }
}

/// What a client has asked and not heard of.
#[derive(Clone, Debug)]
enum Asked {
    Write {
        value: u32,
    },
    Get {
        cell: u8,
    },
    /// With the last transaction that anybody had been told of when it was asked.
    Sync {
        known: Zxid,
    },
    Close,
}

/// A program with one session at a time, which it takes from server to server.
#[derive(Default)]
struct Program {
    session: Option<(SessionId, [u8; 16])>,
    connection: Option<ClientId>,
    accepted: bool,
    asked: VecDeque<(i32, Asked)>,
    xid: i32,
    seen: Zxid,
}

struct Run {
    seed: u64,
    dice: Dice,
    net: Net<Register>,
    programs: Vec<Program>,
    /// The last transaction that any client was told of.
    known: Zxid,
    values: u32,
    /// Acknowledged writes: value and place.
    done: BTreeMap<u32, Zxid>,
    /// What reads have shown: place, cell, value.
    shown: Vec<(Zxid, u8, Option<u32>)>,
    /// Sessions that a client was told are gone.
    refused: BTreeSet<SessionId>,
    /// Sessions that a client wanted closed.
    ended: BTreeSet<SessionId>,
    replies: usize,
}

const SERVERS: u64 = 3;

impl Run {
    fn new(seed: u64) -> Self {
        let mut net = Net::down(SERVERS, 3);
        for id in 1..=SERVERS {
            net.start(id);
        }
        Self {
            seed,
            dice: Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            net,
            programs: (0..3).map(|_| Program::default()).collect(),
            known: Zxid::ZERO,
            values: 0,
            done: BTreeMap::new(),
            shown: Vec::new(),
            refused: BTreeSet::new(),
            ended: BTreeSet::new(),
            replies: 0,
        }
    }

    fn step(&mut self) {
        match self.dice.roll(1000) {
            0..=1 => self.crash(),
            2..=9 => self.start(),
            10..=13 => {
                let a = self.dice.roll(SERVERS) + 1;
                let b = a % SERVERS + 1;
                self.net.cut(a, b);
            }
            14..=17 => {
                let a = self.dice.roll(SERVERS) + 1;
                self.net.hold(a, a % SERVERS + 1);
            }
            18..=40 => {
                let a = self.dice.roll(SERVERS) + 1;
                self.net.release(a, a % SERVERS + 1);
            }
            41..=130 => self.fire(),
            131..=300 => self.act(),
            _ => {
                let choices = self.net.deliverable();
                if let Some(choice) = self.dice.pick(&choices) {
                    self.net.deliver_choice(choice);
                }
            }
        }
        self.listen();
    }

    fn crash(&mut self) {
        let up: Vec<_> = self.net.nodes.keys().copied().collect();
        if let Some(id) = self.dice.pick(&up) {
            self.net.crash(id.0);
        }
    }

    fn start(&mut self) {
        let id = self.dice.roll(SERVERS) + 1;
        if !self.net.nodes.contains_key(&ServerId(id)) {
            self.net.start(id);
        }
    }

    /// Fires a timer; those that end a role are rare.
    fn fire(&mut self) {
        let set: Vec<_> = self
            .net
            .nodes
            .iter()
            .flat_map(|(id, node)| node.timers.iter().map(|timer| (*id, *timer)))
            .collect();
        if let Some((id, timer)) = self.dice.pick(&set) {
            let ends_a_role = matches!(timer, Timer::Silence(_) | Timer::Handshake(_) | Timer::Establish);
            if !ends_a_role || self.dice.roll(12) == 0 {
                self.net.fire(id.0, timer);
            }
        }
    }

    /// A program connects, asks something, or goes away.
    fn act(&mut self) {
        let number = usize::try_from(self.dice.roll(3)).expect("few");
        let up: Vec<_> = self.net.nodes.keys().copied().collect();
        let Some(server) = self.dice.pick(&up) else { return };
        let cell = u8::try_from(self.dice.roll(3)).expect("few");
        let what = self.dice.roll(40);
        let program = &mut self.programs[number];
        let Some(client) = program.connection else {
            let (session, password) = program.session.unwrap_or((SessionId(0), [0; 16]));
            program.accepted = false;
            program.connection = Some(self.net.connect(server.0, session, password, 3000, program.seen));
            return;
        };
        program.xid += 1;
        let xid = program.xid;
        let (asked, request) = match what {
            0 => {
                program.connection = None;
                program.asked.clear();
                return self.net.hang_up(client);
            }
            1 => {
                self.ended.extend(program.session.map(|(session, _)| session));
                (Asked::Close, ClientRequest::Close)
            }
            2..=15 => {
                self.values += 1;
                let value = self.values;
                let write = if what < 8 { Write::Own(cell + 10, value) } else { Write::Set(cell, value) };
                (Asked::Write { value }, ClientRequest::Write(write))
            }
            16..=25 => (Asked::Sync { known: self.known }, ClientRequest::Sync(b"/".to_vec())),
            _ => (Asked::Get { cell }, ClientRequest::Read(Read::Get(cell))),
        };
        program.asked.push_back((xid, asked));
        self.net.request(client, xid, request);
    }

    /// Reads what the programs were told, and judges what can be judged at once.
    fn listen(&mut self) {
        for number in 0..self.programs.len() {
            let Some(client) = self.programs[number].connection else { continue };
            for said in self.net.take(client) {
                self.hear(number, said);
            }
        }
    }

    fn hear(&mut self, number: usize, said: Said) {
        let seed = self.seed;
        let program = &mut self.programs[number];
        match said {
            Said::Accepted { session, password, .. } => {
                assert!(program.session.is_none_or(|before| before == (session, password)), "seed {seed}");
                program.session = Some((session, password));
                program.accepted = true;
                if program.asked.iter().any(|(_, asked)| matches!(asked, Asked::Close)) {
                    self.ended.insert(session);
                }
            }
            Said::Refused => {
                let (session, _) = program.session.expect("only a claim is refused");
                self.refused.insert(session);
                program.session = None;
                program.connection = None;
                program.asked.clear();
                program.seen = Zxid::ZERO;
            }
            Said::Closed => {
                program.connection = None;
                program.asked.clear();
            }
            Said::Event { .. } => {}
            Said::Reply { xid, zxid, answer } => {
                assert!(program.accepted, "seed {seed}: an answer before the session");
                let (asked_xid, asked) = program.asked.pop_front().expect("an answer to something");
                assert_eq!(xid, asked_xid, "seed {seed}: answers come in the order of requests");
                assert!(zxid >= program.seen, "seed {seed}: S-7, {zxid} after {}", program.seen);
                program.seen = zxid;
                self.replies += 1;
                match asked {
                    Asked::Write { value } if answer == "Done" => {
                        assert!(self.done.insert(value, zxid).is_none());
                        self.known = self.known.max(zxid);
                    }
                    // Its session is on its way out.
                    Asked::Write { .. } => assert_eq!(answer, "SessionExpired", "seed {seed}"),
                    Asked::Get { cell } => {
                        let value = (answer != "NoNode").then(|| answer.parse().expect("a number"));
                        self.shown.push((zxid, cell, value));
                        self.known = self.known.max(zxid);
                    }
                    Asked::Sync { known } => {
                        assert!(zxid >= known, "seed {seed}: S-14, {zxid} though {known} was known");
                    }
                    Asked::Close => {}
                }
            }
        }
    }

    /// Everything is repaired, and everybody comes up.
    fn heal(&mut self) {
        for a in 1..=SERVERS {
            self.net.release(a, a % SERVERS + 1);
            if !self.net.nodes.contains_key(&ServerId(a)) {
                self.net.start(a);
            }
        }
        for _ in 0..100 {
            self.net.pump();
            if self.net.nodes.values().all(|node| node.serving) {
                self.listen();
                return;
            }
            self.net.finalize();
            let set: Vec<_> = self
                .net
                .nodes
                .iter()
                .flat_map(|(id, node)| node.timers.iter().map(|timer| (*id, *timer)))
                .filter(|(_, timer)| !matches!(timer, Timer::Ping | Timer::Expiry))
                .collect();
            if let Some((id, timer)) = self.dice.pick(&set) {
                self.net.fire(id.0, timer);
            }
        }
        panic!("seed {}: no leader in a healed network", self.seed);
    }

    /// Judges the whole run over the one history that all servers have now.
    fn judge(&self) {
        let seed = self.seed;
        let machines: Vec<_> = self.net.nodes.values().map(|node| &node.machine).collect();
        let [first, rest @ ..] = machines.as_slice() else { panic!("servers") };
        for other in rest {
            assert_eq!(first, other, "seed {seed}");
        }
        let mut places: BTreeMap<u32, Zxid> = BTreeMap::new();
        let mut numbers: BTreeMap<SessionId, i32> = BTreeMap::new();
        for (zxid, txn) in &first.history {
            if let Txn::Set { session, xid, value, .. } = txn {
                assert!(places.insert(value.value, *zxid).is_none(), "seed {seed}: S-8, written twice");
                let before = numbers.insert(*session, *xid).unwrap_or(0);
                assert!(before < *xid, "seed {seed}: S-5, request {xid} after {before}");
            }
        }
        for (value, zxid) in &self.done {
            assert_eq!(places.get(value), Some(zxid), "seed {seed}: S-8, an acknowledged write is lost");
        }
        let expired: BTreeSet<_> = self
            .net
            .notes
            .iter()
            .filter_map(
                |(_, note)| if let Note::SessionExpired { session } = note { Some(*session) } else { None },
            )
            .collect();
        for session in &self.refused {
            // A close that a leader has proposed may be lost with it; the session is refused from the proposal on.
            let was_closing = expired.contains(session) || self.ended.contains(session);
            assert!(was_closing, "seed {seed}: a session was refused that nobody has closed");
        }
        let mut shown = self.shown.clone();
        shown.sort_unstable();
        let mut history = first.history.iter().peekable();
        let mut cells: BTreeMap<u8, u32> = BTreeMap::new();
        for (zxid, cell, value) in shown {
            while let Some((_, txn)) = history.next_if(|(at, _)| *at <= zxid) {
                if let Txn::Set { cell, value, .. } = txn {
                    cells.insert(*cell, value.value);
                }
            }
            assert_eq!(cells.get(&cell).copied(), value, "seed {seed}: S-9, cell {cell} at {zxid}");
        }
    }
}

#[test]
fn the_rules_of_sessions_hold_whatever_happens() {
    let (mut replies, mut epochs, mut writes) = (0, 0, 0);
    // In 2455 a server fails to become a leader and finds another one with an epoch below its own promise.
    for seed in (1..=400).chain([2455]) {
        let mut run = Run::new(seed);
        for _ in 0..3000 {
            run.step();
        }
        run.heal();
        run.judge();
        replies += run.replies;
        writes += run.done.len();
        epochs += run.net.node(1).peer.zab().current().0;
    }
    // What the runs must have reached, or they show little.
    assert!(replies > 50_000, "{replies} replies");
    assert!(writes > 10_000, "{writes} writes");
    assert!(epochs > 800, "{epochs} epochs");
}
