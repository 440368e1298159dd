//! One server of the run, over all its lives.

use std::collections::{BTreeMap, BTreeSet};

use recording::{LinkMark, Record, TreeMark};
use spec::{Epoch, ServerId, Zxid};

use crate::{
    load::{Front, Source},
    replica::{Disk, Replica},
};

/// One server over all its lives.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, not one state")]
pub(crate) struct Server {
    pub(crate) id: ServerId,
    pub(crate) source: Source,
    pub(crate) replica: Option<Replica>,
    /// What its disk holds, while it is down.
    pub(crate) disk: Disk,
    /// It has started, or its recording is over.
    pub(crate) begun: bool,
    /// Nothing of it is known from some point on.
    pub(crate) lost: bool,
    /// Which of its lives this is.
    pub(crate) life: u32,
    /// This life has ended in order: everything that it sent is recorded.
    pub(crate) ended: bool,
    /// Lives whose end is not recorded.
    pub(crate) torn: BTreeSet<u32>,
    /// Its current epoch as far as each of these lives is known, and as it was found behind it; none if it was not started
    /// again.
    pub(crate) unseen: Vec<(Epoch, Option<Epoch>)>,
    /// The end of its last life is lost: on its disk may be more than is known.
    pub(crate) open_end: bool,
    pub(crate) links: BTreeMap<ServerId, usize>,
    /// A leader whose recording has lost its end told it that this is committed, and it has not logged so far yet.
    pub(crate) promised: Option<(ServerId, Zxid)>,
    pub(crate) mark: Option<LinkMark>,
    /// The state that the next input brings: what was recorded of it, and the configuration node to set.
    pub(crate) replaced: Option<TreeMark>,
    pub(crate) adorn: Option<(Vec<u8>, i64)>,
}

impl Server {
    /// Of this recording.
    pub(crate) fn new(source: Source) -> Self {
        Self {
            id: source.id,
            source,
            replica: None,
            disk: Disk::default(),
            begun: false,
            lost: false,
            life: 0,
            ended: false,
            torn: BTreeSet::new(),
            unseen: Vec::new(),
            open_end: false,
            links: BTreeMap::new(),
            promised: None,
            mark: None,
            replaced: None,
            adorn: None,
        }
    }

    /// Behind the last record of a life the server is down, for all that is known.
    pub(crate) fn retire(&mut self) {
        let over = match self.source.front() {
            Front::Record(record) => matches!(record, Record::Boot(_)),
            Front::End => true,
            Front::Gap => false,
        };
        if let Some(replica) = self.replica.take_if(|_| over) {
            self.disk = replica.disk;
            self.open_end = !self.ended;
            self.end_life();
        }
    }

    /// A link of it is down, and what came on it and was kept for later is forgotten.
    pub(crate) fn unlink(&mut self, peer: ServerId) {
        self.links.remove(&peer);
        self.promised.take_if(|(leader, _)| *leader == peer);
    }

    /// It starts, and finds this current epoch.
    pub(crate) fn found(&mut self, current: Epoch) {
        if let Some((_, to)) = self.unseen.last_mut() {
            to.get_or_insert(current);
        }
    }

    /// A life of it is over.
    pub(crate) fn end_life(&mut self) {
        if !self.ended {
            self.torn.insert(self.life);
            self.unseen.push((self.disk.current, None));
        }
        self.life += 1;
        self.ended = false;
        self.links.clear();
        self.promised = None;
    }
}

/// Whether the end of some recording that is lost may have told that its server leads this epoch: a leader's current epoch
/// is durable before it is established (rules Z-5 and R-3).
pub(crate) fn may_have_led_unseen(servers: &[Server], epoch: Epoch) -> bool {
    let spans = |(from, to): &(Epoch, Option<Epoch>)| *from <= epoch && to.is_none_or(|to| epoch <= to);
    servers.iter().any(|server| server.unseen.iter().any(spans))
}
