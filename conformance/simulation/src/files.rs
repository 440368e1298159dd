//! A server's disk as files: the storage that ships over a file system whose power can be cut.
//!
//! What the server asks for is ordered from the threads that it has for that ([`Threads`]), and carried out when the
//! end of it is due: as well as at any moment before, for nobody can tell. A crash comes at any of their operations,
//! which the dice choose. Then either the process alone is gone, and what it has written is there and not synced; or
//! the power is, and of what was not synced any sectors and names are left. The next start reads whatever that is.
//!
//! What the rules see of a disk is read from its files as well: what is durable is what the storage recovers from a
//! copy of what is synced.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    hash::BuildHasher,
    mem::take,
    path::PathBuf,
    sync::Arc,
};

use protocol::Ticket;
use rustc_hash::FxBuildHasher;
use simulator::Subject;
use spec::{Epoch, Machine, ServerId, Zxid, history::Entry};
use storage::{Config, Cuttable, Dice, MemoryDisk, Store};
use tree::{Tree, Txn};
use world::{Fault, Finished, Keep, Loaded, Recorded, Replica, Start, Storage, Stretch};

use crate::{
    links::{body, told},
    orders::{Cache, EpochOrder, LogOrder, SlowOrder, Snapshot, Threads},
};

/// The folder of a server; each has a disk of its own.
const FOLDER: &str = "/data";
/// The lengths that files of the log are given, in bytes: short, so that they are rolled.
const SEGMENTS: [u64; 4] = [2 << 10, 4 << 10, 16 << 10, 256 << 10];
/// What disks write as a whole, in bytes. Those of today write 512 at the least.
const SECTORS: [usize; 3] = [512, 64, 1];
/// A server that serves stores its state behind so many transactions, at the least and at the most.
const SAVED_BEHIND: (usize, usize) = (5, 60);

/// Which thread a ticket waits for.
const LOG: usize = 0;
const EPOCHS: usize = 1;
const SLOW: usize = 2;

/// What a start would find if only what is synced were kept.
#[derive(Debug)]
struct Durable {
    history: Vec<Entry>,
    accepted: Epoch,
    current: Epoch,
}

/// What was handed over.
#[derive(Debug)]
struct Handed {
    /// The label of the snapshot that it stands on, and its state.
    label: Zxid,
    base: Arc<Subject>,
    txns: Vec<(Zxid, Txn)>,
}

/// The files of one server.
pub struct Files {
    server: ServerId,
    seed: u64,
    lies: bool,
    platter: MemoryDisk,
    cache: Cache,
    /// None before the first start.
    threads: Option<Threads>,
    /// Tickets whose end was not reported, by thread.
    due: [VecDeque<Ticket>; 3],
    /// Those of truncations and received states among them.
    flux: BTreeSet<Ticket>,
    handed: Handed,
    /// How the states of snapshots were made, by label: a file does not say.
    histories: BTreeMap<Zxid, Vec<Entry>>,
    /// How long the history is behind which the next snapshot is due.
    next_save: usize,
    /// A process was killed, and what it had written is not synced.
    loose: bool,
    /// None if a start would be refused.
    durable: OnceCell<Option<Durable>>,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, due {:?}, {:?}", self.handed.txns, self.due, self.durable())
    }
}

fn entry((zxid, txn): &(Zxid, Txn)) -> Entry {
    Entry { zxid: *zxid, digest: FxBuildHasher.hash_one(txn) }
}

fn refused(why: String) -> Fault {
    Fault { rule: "R-5".to_owned(), why: format!("the start is refused: {why}") }
}

fn failed(why: String) -> Fault {
    Fault { rule: "disk".to_owned(), why }
}

/// What a store yields when it is recovered: what the actor is told, the state, whether a tail was cut, and what the
/// state was made of beyond its snapshot.
struct Read {
    start: Start<Txn, Tree>,
    txns: Vec<(Zxid, Txn)>,
}

fn read(store: &Store<Cache>, recovery: &storage::Recovery) -> Result<Read, String> {
    let recovered = recovery.recovered.clone();
    let txns = store.transactions(recovered.floor, recovered.last).map_err(told)?;
    Ok(Read { start: Start { recovered, state: recovery.tree.clone(), cut: recovery.cuts() }, txns })
}

impl Files {
    /// An empty disk; one that lies does nothing when it is asked to sync.
    pub fn new(seed: u64, server: ServerId, lies: bool) -> Self {
        let platter = MemoryDisk::default();
        Self {
            server,
            seed: seed.wrapping_mul(31) ^ server.0,
            lies,
            cache: Cuttable::new(platter.clone()),
            platter,
            threads: None,
            due: Default::default(),
            flux: BTreeSet::new(),
            handed: Handed { label: Zxid::ZERO, base: Arc::default(), txns: Vec::new() },
            histories: BTreeMap::from([(Zxid::ZERO, Vec::new())]),
            next_save: 0,
            loose: false,
            durable: OnceCell::new(),
        }
    }

    fn settings(&self, window: usize) -> Config {
        let segment = SEGMENTS[usize::try_from(self.seed % 4).expect("below 4")];
        Config { window, segment_bytes: segment, ..Config::new(PathBuf::from(FOLDER)) }
    }

    fn threads(&mut self) -> &mut Threads {
        self.threads.as_mut().expect("a process runs")
    }

    fn store(&self) -> &Store<Cache> {
        &self.threads.as_ref().expect("a process runs").store
    }

    fn history(&self, label: Zxid, txns: &[(Zxid, Txn)]) -> Vec<Entry> {
        let mut history = self.histories.get(&label).cloned().unwrap_or_default();
        history.extend(txns.iter().map(entry));
        history
    }

    /// What was read, with what it is made of.
    fn loaded(&self, read: Read) -> Start<Txn, Arc<Subject>> {
        let Read { start: Start { recovered, state, cut }, txns } = read;
        let history = self.history(recovered.floor, &txns);
        Start { recovered, state: Arc::new(Recorded::remembered(state, history)), cut }
    }

    /// Another store over the files, of which only what is synced is there.
    fn synced(&self, window: usize) -> Result<Read, String> {
        let copy = Cuttable::new(self.platter.copy());
        let store = Store::open(copy, self.settings(window)).map_err(told)?;
        let recovery = store.recover().map_err(told)?;
        read(&store, &recovery)
    }

    fn durable(&self) -> Option<&Durable> {
        let measure = || {
            let Read { start: Start { recovered, .. }, txns } = self.synced(usize::MAX).ok()?;
            let history = self.history(recovered.floor, &txns);
            Some(Durable { history, accepted: recovered.accepted, current: recovered.current })
        };
        self.durable.get_or_init(measure).as_ref()
    }

    /// The files are other ones than they were.
    fn changed(&mut self) {
        self.durable.take();
    }

    /// Takes down what the files hold now, and what is still to be appended to them.
    fn hold(&mut self, read: &Read) -> Result<(), String> {
        let (label, last) = (read.start.recovered.floor, read.start.recovered.last);
        let at_label = if label == last {
            Some(read.start.state.clone())
        } else {
            self.store().state_at(label).map_err(told)?
        };
        let history = self.history(label, &[]);
        let base = Arc::new(Recorded::remembered(at_label.unwrap_or_default(), history));
        let mut txns = read.txns.clone();
        let waiting = self.threads().log_orders.iter();
        txns.extend(waiting.filter_map(|order| match order {
            LogOrder::Append(_, zxid, txn) => Some((*zxid, txn.clone())),
            LogOrder::Truncate(..) | LogOrder::SyncRecovered(_) | LogOrder::Install(..) => None,
        }));
        self.handed = Handed { label, base, txns };
        Ok(())
    }

    fn boot(&mut self, window: usize) -> Result<Start<Txn, Arc<Subject>>, String> {
        self.cache.lie(self.lies);
        self.cache.set_sector(SECTORS[usize::try_from(self.seed / 4 % 3).expect("below 3")]);
        let store = Store::open(self.cache.clone(), self.settings(window)).map_err(told)?;
        let mut recovery = store.recover().map_err(told)?;
        let read = read(&store, &recovery)?;
        let log = store.log(&mut recovery);
        self.threads = Some(Threads::new(store, log));
        self.changed();
        self.hold(&read)?;
        Ok(self.loaded(read))
    }

    fn reread(&mut self) -> Result<Start<Txn, Arc<Subject>>, String> {
        let recovery = self.store().recover().map_err(told)?;
        let read = read(self.store(), &recovery)?;
        self.hold(&read)?;
        Ok(self.loaded(read))
    }

    /// Has the thread work until it has done this.
    fn carry_out(&mut self, ticket: Ticket, thread: usize) -> Result<Finished, String> {
        self.changed();
        let threads = self.threads();
        loop {
            if let Some(finished) = threads.done.remove(&ticket) {
                return Ok(finished);
            }
            let went_on = match thread {
                LOG => threads.log()?,
                EPOCHS => threads.epochs()?,
                // A state that is written is installed by the log's thread.
                _ => threads.slow()? || threads.log()?,
            };
            if !went_on {
                return Err(format!("{ticket:?} is nothing that a disk was asked for"));
            }
        }
    }

    /// The threads work on side by side until the power goes, or nothing is left to do.
    fn work_until_cut(&mut self, dice: &mut Dice) {
        let operations = match dice.throw(4) {
            0 => 0,
            1 => dice.throw(4),
            2 => dice.throw(12),
            _ => 1_000,
        };
        self.cache.cut_after(operations as u64);
        let Some(threads) = &mut self.threads else { return };
        let mut idle = 0;
        while idle < 12 && !self.cache.is_cut() {
            // What fails, fails for want of power; whatever else it is shows at the next start.
            let went_on = match dice.throw(3) {
                LOG => threads.log(),
                EPOCHS => threads.epochs(),
                _ => threads.slow(),
            };
            idle = if matches!(went_on, Ok(true)) { 0 } else { idle + 1 };
        }
    }
}

impl Storage<Subject> for Files {
    fn start(&mut self, window: usize) -> Loaded<Subject> {
        self.boot(window).map_err(refused)
    }

    fn reload(&mut self, _: usize) -> Loaded<Subject> {
        self.threads().forget_own_snapshots();
        self.changed();
        // The order to load is behind all others of the log.
        while self.threads().log().map_err(failed)? {}
        self.reread().map_err(refused)
    }

    fn rest(&self, window: usize) -> Loaded<Subject> {
        self.synced(window).map(|read| self.loaded(read)).map_err(refused)
    }

    fn append(&mut self, ticket: Ticket, zxid: Zxid, txn: Txn) {
        self.handed.txns.push((zxid, txn.clone()));
        self.threads().log_orders.push_back(LogOrder::Append(ticket, zxid, txn));
        self.due[LOG].push_back(ticket);
    }

    fn truncate(&mut self, ticket: Ticket, last: Zxid) {
        self.threads().forget_own_snapshots();
        self.threads().log_orders.push_back(LogOrder::Truncate(ticket, last));
        self.due[LOG].push_back(ticket);
        self.flux.insert(ticket);
    }

    fn sync_log(&mut self, ticket: Ticket) {
        self.threads().log_orders.push_back(LogOrder::SyncRecovered(ticket));
        self.due[LOG].push_back(ticket);
    }

    fn save_accepted(&mut self, ticket: Ticket, epoch: Epoch) {
        self.threads().epoch_orders.push_back(EpochOrder::Accepted(ticket, epoch));
        self.due[EPOCHS].push_back(ticket);
    }

    fn save_current(&mut self, ticket: Ticket, epoch: Epoch) {
        self.threads().epoch_orders.push_back(EpochOrder::Current(ticket, epoch));
        self.due[EPOCHS].push_back(ticket);
    }

    fn save_snapshot(&mut self, ticket: Ticket, label: Zxid, state: Subject) {
        self.histories.insert(label, state.history().map(<[Entry]>::to_vec).unwrap_or_default());
        let (body, digest) = body(&mut { state }.machine);
        let order = SlowOrder::Snapshot(Snapshot { ticket: Some(ticket), label, body, digest });
        self.threads().forget_own_snapshots();
        self.threads().slow_orders.push_back(order);
        self.due[SLOW].push_back(ticket);
        self.flux.insert(ticket);
    }

    fn locate(&mut self, ticket: Ticket, zxid: Zxid) {
        self.threads().slow_orders.push_back(SlowOrder::Locate(ticket, zxid));
        self.due[SLOW].push_back(ticket);
    }

    fn may_finish(&self) -> Vec<Ticket> {
        let mut tickets: Vec<_> = self.due.iter().filter_map(|due| due.front().copied()).collect();
        tickets.sort_unstable();
        tickets
    }

    fn finish(&mut self, ticket: Ticket) -> Result<Finished, Fault> {
        let thread = self.due.iter().position(|due| due.front() == Some(&ticket));
        let thread = thread.ok_or_else(|| failed(format!("{ticket:?} does not end yet")))?;
        self.due[thread].pop_front();
        let finished = self.carry_out(ticket, thread).map_err(failed)?;
        if self.flux.remove(&ticket) {
            self.reread().map_err(refused)?;
        }
        if self.threads().log_orders.is_empty() {
            self.loose = false;
        }
        // What nobody waits for is done some time.
        if Dice::new(self.seed ^ u64::from(ticket.0)).throw(4) == 0 {
            self.threads().write_own_snapshots().map_err(failed)?;
        }
        Ok(finished)
    }

    fn crash(&mut self, keep: Keep) -> Result<(), Fault> {
        let Keep { log, accepted, current, snapshot } = keep;
        let small = u64::from(accepted) << 8 | u64::from(current) << 4 | u64::from(snapshot);
        let mut dice = Dice::new(self.seed ^ log.rotate_left(20) ^ small);
        self.work_until_cut(&mut dice);
        // The process is gone, and its locks with it.
        self.threads = None;
        (self.due, self.flux) = (Default::default(), BTreeSet::new());
        self.loose = dice.throw(3) == 0;
        if self.loose {
            self.cache.revive();
        } else {
            self.cache.cut(&mut dice).map_err(|error| failed(told(error)))?;
            self.cache = Cuttable::new(self.platter.clone());
        }
        self.changed();
        Ok(())
    }

    fn slice(&mut self, after: Zxid, through: Zxid) -> Option<Vec<(Zxid, Txn)>> {
        self.changed();
        self.threads().append_all().ok()?;
        let slice = self.store().transactions(after, through).ok()?;
        let within = |zxid: &Zxid| *zxid > after && *zxid <= through;
        let handed = self.handed.txns.iter().filter(|(zxid, _)| within(zxid)).count();
        let whole = self.handed.label <= after && slice.len() == handed && handed > 0;
        (whole && slice.last().is_some_and(|(zxid, _)| *zxid == through)).then_some(slice)
    }

    fn in_flux(&self) -> bool {
        !self.flux.is_empty()
    }

    fn is_synced(&self) -> bool {
        !self.loose
    }

    fn epochs(&self) -> (Epoch, Epoch) {
        self.durable().map_or((Epoch(0), Epoch(0)), |durable| (durable.accepted, durable.current))
    }

    fn last(&self) -> Zxid {
        self.handed.txns.last().map_or(self.handed.label, |(zxid, _)| *zxid)
    }

    fn durable_history(&self) -> Option<Vec<Entry>> {
        self.durable().map(|durable| durable.history.clone())
    }

    fn logged_history(&self) -> Vec<Entry> {
        self.history(self.handed.label, &self.handed.txns)
    }

    fn stretch(&self, through: Zxid) -> Stretch<Txn> {
        let txns = self.handed.txns.iter().filter(|(zxid, _)| *zxid <= through).cloned().collect();
        Stretch { after: self.handed.label, txns }
    }

    fn replayed(&self, through: Zxid) -> Arc<Subject> {
        let mut state = Arc::clone(&self.handed.base);
        let machine = Arc::make_mut(&mut state);
        for (zxid, txn) in self.handed.txns.iter().take_while(|(zxid, _)| *zxid <= through) {
            machine.apply(*zxid, txn, &mut <Tree as Machine>::Watches::default(), &mut |_, _| {});
        }
        state
    }

    fn serves(&mut self, state: &mut Arc<Subject>) {
        let history = state.history().unwrap_or_default();
        let (length, label) = (history.len(), state.last_processed());
        if length < self.next_save || self.in_flux() {
            return;
        }
        let first = take(&mut self.next_save) == 0;
        let (least, most) = SAVED_BEHIND;
        let mut dice = Dice::new(self.seed ^ self.server.0 << 32 ^ length as u64);
        self.next_save = length + least + dice.throw(most - least);
        if !first && label.counter() > 0 {
            self.histories.insert(label, history.to_vec());
            let (body, digest) = body(&mut Arc::make_mut(state).machine);
            let order = SlowOrder::Snapshot(Snapshot { ticket: None, label, body, digest });
            self.threads().slow_orders.push_back(order);
        }
    }
}
