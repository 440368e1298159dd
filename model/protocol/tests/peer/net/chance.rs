//! Long runs of chance: deliveries, timers, crashes, cuts and clients in an order that a seed decides, then a healed
//! network, and the rules of sessions judged over everything that was said.
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use protocol::{Note, Timer, peer::ClientRequest};
use spec::{
    ClientId, ServerId, SessionId, Zxid,
    machine::SessionChange,
    rule::Verdict,
    session::{
        Answered, Attempt, closed_own_nothing, owners_are_open, session_sees_forward,
        sessions_write_in_order, sync_shows_acknowledged, writes_happen_once,
    },
};

use super::{Net, Said, Subject, recorded::Recorded};

/// A machine that clients can play with: a few cells with numbers.
pub(crate) trait Play: Subject + Eq {
    /// What makes the cells, if they have to be made.
    fn setup() -> Vec<Self::Write>;
    /// Sets a cell.
    fn put(cell: u8, value: u32) -> Self::Write;
    /// Keeps a number somewhere for as long as the session lives.
    fn own(value: u32) -> Self::Write;
    /// Looks at a cell.
    fn get(cell: u8, watch: bool) -> Self::Read;
    /// The cell and value that a transaction sets, with [`Play::put`].
    fn put_by(txn: &Self::Txn) -> Option<(u8, u32)>;
    /// The value that the answer to [`Play::get`] shows.
    fn value(answer: &str) -> Option<u32>;
    /// Whether the answer to a write is that it was carried out.
    fn is_done(answer: &str) -> bool;
    /// The sessions that keep something.
    fn owners(&self) -> BTreeSet<SessionId>;
}

pub(crate) const CELLS: u8 = 3;
const VOTERS: u64 = 3;
const PROGRAMS: usize = 3;

/// A small generator of numbers (xorshift), so that a seed is a run.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let sides = u64::try_from(from.len()).expect("few");
        (sides > 0).then(|| from[usize::try_from(self.roll(sides)).expect("few")])
    }
}

/// What a client has asked and not heard of.
#[derive(Clone, Debug)]
enum Asked {
    Write,
    Get {
        cell: u8,
    },
    /// With the last write that anybody had been told of when it was asked.
    Sync {
        known: Option<Zxid>,
    },
    Close,
}

/// A program with one session at a time, which it takes from server to server.
#[derive(Default)]
struct Program {
    session: Option<(SessionId, [u8; 16])>,
    connection: Option<ClientId>,
    asked: VecDeque<(i32, Asked)>,
    xid: i32,
    /// The states that its session was shown.
    shown: Vec<Zxid>,
    /// The state of the last reply, and of the last event, of this connection.
    replied: Zxid,
    fired: Zxid,
}

/// One run.
pub(crate) struct Run<M: Play> {
    seed: u64,
    servers: u64,
    dice: Dice,
    net: Net<Recorded<M>>,
    programs: Vec<Program>,
    /// The last write that any client was told of.
    known: Option<Zxid>,
    values: u32,
    attempts: BTreeMap<(SessionId, i32), Attempt>,
    /// What reads have shown: place, cell, value.
    read: Vec<(Zxid, u8, Option<u32>)>,
    /// Sessions that a client was told are gone.
    refused: BTreeSet<SessionId>,
    pub(crate) tally: Tally,
}

/// How much happened.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) replies: usize,
    pub(crate) writes: usize,
    pub(crate) syncs: usize,
    pub(crate) events: usize,
    pub(crate) refused: usize,
    pub(crate) used_up: usize,
    pub(crate) epochs: u32,
}

impl<M: Play> Run<M> {
    /// Plays one seed for this many steps, with so many observers, heals the network and judges.
    pub(crate) fn play(seed: u64, observers: u64, steps: u32, tally: &mut Tally) {
        let mut run = Self::new(seed, observers);
        for step in 0..steps {
            run.step();
            if step.is_multiple_of(64) {
                run.judge_states();
            }
        }
        run.heal();
        run.judge_states();
        run.judge();
        let epoch = run.net.node(1).peer.zab().current().0;
        tally.replies += run.tally.replies;
        tally.writes += run.tally.writes;
        tally.syncs += run.tally.syncs;
        tally.events += run.tally.events;
        tally.refused += run.refused.len();
        tally.used_up +=
            run.net.notes.iter().filter(|(_, note)| matches!(note, Note::CounterUsedUp { .. })).count();
        tally.epochs += epoch;
    }

    fn new(seed: u64, observers: u64) -> Self {
        // In some runs epochs are so short that leaders use them up.
        let counter_max = if seed.is_multiple_of(8) { 12 } else { u32::MAX - 1 };
        let servers = VOTERS + observers;
        let mut net: Net<Recorded<M>> = Net::down(VOTERS, observers, 3, counter_max);
        for id in 1..=servers {
            net.start(id);
        }
        net.pump();
        let (client, _, _) = net.open(1);
        for (xid, write) in (1..).zip(M::setup()) {
            net.request(client, xid, ClientRequest::Write(write));
        }
        net.pump();
        Self {
            seed,
            servers,
            dice: Dice::new(seed),
            net,
            programs: (0..PROGRAMS).map(|_| Program::default()).collect(),
            known: None,
            values: 0,
            attempts: BTreeMap::new(),
            read: Vec::new(),
            refused: BTreeSet::new(),
            tally: Tally::default(),
        }
    }

    fn step(&mut self) {
        let a = self.dice.roll(self.servers) + 1;
        let b = a % self.servers + 1;
        match self.dice.roll(1000) {
            0..=1 => {
                if self.net.nodes.contains_key(&ServerId(a)) {
                    self.net.crash(a);
                }
            }
            2..=9 => {
                if !self.net.nodes.contains_key(&ServerId(a)) {
                    self.net.start(a);
                }
            }
            10..=13 => self.net.cut(a, b),
            14..=17 => self.net.hold(a, b),
            18..=40 => self.net.release(a, b),
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

    /// Every timer that is set.
    fn timers(&self) -> Vec<(ServerId, Timer)> {
        let nodes = self.net.nodes.iter();
        nodes.flat_map(|(id, node)| node.timers.keys().map(|timer| (*id, *timer))).collect()
    }

    /// Fires a timer; those that end a role are rare.
    fn fire(&mut self) {
        if let Some((id, timer)) = self.dice.pick(&self.timers()) {
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
        let cell = u8::try_from(self.dice.roll(CELLS.into())).expect("few");
        let what = self.dice.roll(40);
        let program = &mut self.programs[number];
        let Some(client) = program.connection else {
            let (session, password) = program.session.unwrap_or((SessionId(0), [0; 16]));
            let seen = program.shown.iter().max().copied().unwrap_or_default();
            program.asked.clear();
            program.connection = Some(self.net.connect(server.0, session, password, 3000, seen));
            (program.replied, program.fired) = (Zxid::ZERO, Zxid::ZERO);
            return;
        };
        program.xid += 1;
        let xid = program.xid;
        let (asked, request) = match what {
            0 => {
                program.connection = None;
                return self.net.hang_up(client);
            }
            1 => (Asked::Close, ClientRequest::Close),
            2..=15 => {
                self.values += 1;
                let write = if what < 8 { M::own(self.values) } else { M::put(cell, self.values) };
                (Asked::Write, ClientRequest::Write(write))
            }
            16..=25 => (Asked::Sync { known: self.known }, ClientRequest::Sync(b"/".to_vec())),
            _ => (Asked::Get { cell }, ClientRequest::Read(M::get(cell, what.is_multiple_of(2)))),
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
            }
            Said::Refused => {
                let (session, _) = program.session.expect("only a claim is refused");
                self.refused.insert(session);
                *program = Program { xid: program.xid, ..Program::default() };
            }
            Said::Closed => program.connection = None,
            Said::Event { zxid, .. } => {
                assert!(
                    zxid > program.replied,
                    "seed {seed}: S-10, the event of {zxid} behind what shows it"
                );
                assert!(zxid >= program.fired, "seed {seed}: S-10, the event of {zxid} out of order");
                program.fired = zxid;
                program.shown.push(zxid);
                self.tally.events += 1;
            }
            Said::Reply { xid, zxid, answer } => self.hear_reply(number, xid, zxid, &answer),
        }
    }

    fn hear_reply(&mut self, number: usize, xid: i32, zxid: Zxid, answer: &str) {
        let seed = self.seed;
        let program = &mut self.programs[number];
        let (session, _) = program.session.expect("an answer only to whom was accepted");
        let (asked_xid, asked) = program.asked.pop_front().expect("an answer to something");
        assert_eq!(xid, asked_xid, "seed {seed}: answers come in the order of requests");
        program.replied = zxid;
        program.shown.push(zxid);
        self.tally.replies += 1;
        match asked {
            Asked::Write if M::is_done(answer) => {
                let attempt = Attempt { session, xid, acknowledged: Some(zxid) };
                assert!(self.attempts.insert((session, xid), attempt).is_none());
                self.known = self.known.max(Some(zxid));
                self.tally.writes += 1;
            }
            // Its session is on its way out.
            Asked::Write => assert_eq!(answer, "SessionExpired", "seed {seed}"),
            Asked::Get { cell } => self.read.push((zxid, cell, M::value(answer))),
            Asked::Sync { known } => {
                let verdict = sync_shows_acknowledged(known, &[zxid]);
                assert_ne!(verdict, Verdict::Broken, "seed {seed}: S-14, {zxid} though {known:?} was known");
                self.tally.syncs += 1;
            }
            Asked::Close => {}
        }
    }

    /// Everything is repaired, and everybody comes up.
    fn heal(&mut self) {
        for a in 1..=self.servers {
            self.net.release(a, a % self.servers + 1);
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
            let mut set = self.timers();
            set.retain(|(_, timer)| !matches!(timer, Timer::Ping | Timer::Expiry));
            if let Some((id, timer)) = self.dice.pick(&set) {
                self.net.fire(id.0, timer);
            }
        }
        panic!("seed {}: no leader in a healed network", self.seed);
    }

    /// Judges the state of every server.
    fn judge_states(&self) {
        let seed = self.seed;
        for node in self.net.nodes.values() {
            let Recorded { machine, history } = &node.machine;
            let owners = machine.owners();
            let table = machine.sessions().into_iter().map(|(session, _)| session).collect();
            assert_ne!(owners_are_open(&owners, &table), Verdict::Broken, "seed {seed}: S-1");
            let origins = history.iter().map(|(_, txn)| M::origin(txn));
            let closed = origins.filter(|origin| origin.change == SessionChange::Close);
            let closed = closed.map(|origin| origin.session).collect();
            assert_ne!(closed_own_nothing(&owners, &closed), Verdict::Broken, "seed {seed}: S-2");
        }
    }

    /// Judges the whole run over the one history that all servers have now.
    fn judge(&self) {
        let seed = self.seed;
        let machines: Vec<_> = self.net.nodes.values().map(|node| &node.machine).collect();
        let [first, rest @ ..] = machines.as_slice() else { panic!("servers") };
        for other in rest {
            assert!(
                first.history == other.history && first.machine == other.machine,
                "seed {seed}: they differ"
            );
        }
        let mut committed = Vec::new();
        for (zxid, txn) in &first.history {
            let origin = M::origin(txn);
            if M::put_by(txn).is_some() {
                committed.push(Answered { zxid: *zxid, session: origin.session, xid: origin.xid });
            }
        }
        assert_ne!(sessions_write_in_order(&committed), Verdict::Broken, "seed {seed}: S-5");
        let places: BTreeSet<_> = first.history.iter().map(|(zxid, _)| *zxid).collect();
        let all: Vec<_> = first.history.iter().map(|(zxid, txn)| (*zxid, M::origin(txn))).collect();
        let answered: Vec<_> = all
            .iter()
            .filter(|(_, origin)| self.attempts.contains_key(&(origin.session, origin.xid)))
            .map(|(zxid, origin)| Answered { zxid: *zxid, session: origin.session, xid: origin.xid })
            .collect();
        let attempts: Vec<_> = self.attempts.values().copied().collect();
        assert_ne!(writes_happen_once(&answered, &attempts), Verdict::Broken, "seed {seed}: S-8");
        for program in &self.programs {
            assert_ne!(session_sees_forward(&program.shown), Verdict::Broken, "seed {seed}: S-7");
            let lost = program.shown.iter().find(|zxid| zxid.counter() > 0 && !places.contains(zxid));
            assert_eq!(lost, None, "seed {seed}: S-13, somebody has seen what is lost");
        }
        self.judge_refusals(&first.history);
        self.judge_reads(&first.history);
    }

    /// Nobody is refused a session that lives (rule C-4).
    fn judge_refusals(&self, history: &[(Zxid, M::Txn)]) {
        let origins = history.iter().map(|(_, txn)| M::origin(txn));
        let closed = origins.filter(|origin| origin.change == SessionChange::Close);
        let closed: BTreeSet<_> = closed.map(|origin| origin.session).collect();
        let wronged = self.refused.difference(&closed).next();
        assert_eq!(wronged, None, "seed {}: C-4, a session was refused that nobody has closed", self.seed);
    }

    fn judge_reads(&self, history: &[(Zxid, M::Txn)]) {
        let mut read = self.read.clone();
        read.sort_unstable();
        let mut history = history.iter().peekable();
        let mut cells: BTreeMap<u8, u32> = BTreeMap::new();
        for (zxid, cell, value) in read {
            while let Some((_, txn)) = history.next_if(|(at, _)| *at <= zxid) {
                cells.extend(M::put_by(txn));
            }
            assert_eq!(cells.get(&cell).copied(), value, "seed {}: S-9, cell {cell} at {zxid}", self.seed);
        }
    }
}
