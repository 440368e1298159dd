//! Listens to what a server says and notes: what claims durability, what was found wrong, what is worth having met.

use std::collections::BTreeSet;

use protocol::{Message, Note, io::SyncKind};
use spec::{
    Epoch, Zxid,
    history::{Breach, Claim},
};

use crate::Sight;

/// What was heard in one step.
#[derive(Debug)]
pub(crate) struct Watcher<'a> {
    pub(crate) sights: &'a mut BTreeSet<Sight>,
    /// What the step says that claims durability.
    pub(crate) claims: Vec<Claim>,
    /// What the step finds wrong with others.
    pub(crate) breaches: Vec<Breach>,
    /// The epoch that the step establishes.
    pub(crate) established: Option<Epoch>,
    /// Whether the server comes to look for a leader.
    pub(crate) looked: bool,
    /// Whether something came that is for nobody.
    pub(crate) stray: bool,
    /// Proposals without their COMMIT in this synchronisation.
    open: usize,
    /// The last DIFF header.
    diff: Option<Zxid>,
}

impl<'a> Watcher<'a> {
    pub(crate) fn new(sights: &'a mut BTreeSet<Sight>) -> Self {
        let (claims, breaches) = (Vec::new(), Vec::new());
        Self { sights, claims, breaches, established: None, looked: false, stray: false, open: 0, diff: None }
    }

    pub(crate) fn message<T>(&mut self, message: &Message<T>) {
        self.claims.extend(message.claim());
        match message {
            Message::AckEpoch { current: None, .. } => {
                self.sights.insert(Sight::AckEpochAgain);
            }
            Message::NewLeader { .. } if self.open > 0 => {
                self.sights.insert(Sight::JoinerWithOutstanding);
            }
            Message::Diff { last } => (self.diff, self.open) = (Some(*last), 0),
            Message::Trunc { .. } => self.open = 0,
            Message::Proposal { .. } => self.open += 1,
            Message::Commit { .. } => self.open = self.open.saturating_sub(1),
            Message::FollowerInfo { .. }
            | Message::ObserverInfo { .. }
            | Message::LeaderInfo { .. }
            | Message::AckEpoch { .. }
            | Message::NewLeader { .. }
            | Message::Ack { .. }
            | Message::Inform { .. }
            | Message::UpToDate => {}
        }
    }

    /// A whole state is sent.
    pub(crate) fn snapshot(&mut self) {
        self.open = 0;
    }

    /// A vote for the server itself is given.
    pub(crate) fn vote(&mut self, current: Epoch, last: Option<Zxid>) {
        self.claims.push(Claim::Vote { current, last: last.unwrap_or(Zxid::ZERO) });
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "a note that is no sight and no breach is only told")]
    pub(crate) fn note(&mut self, note: Note) {
        match note {
            Note::Dropped { violation, .. } => self.breaches.push(violation.breach()),
            Note::Synchronising { last, how, .. } => self.synchronising(last, how),
            Note::Established { epoch } => self.established = Some(epoch),
            Note::Stray { .. } => self.stray = true,
            Note::CounterUsedUp { .. } => {
                self.sights.insert(Sight::OverflowStepDown);
            }
            Note::CameBack { .. } => {
                self.sights.insert(Sight::StepDownForNewLink);
            }
            _ => {}
        }
    }

    fn synchronising(&mut self, last: Zxid, how: SyncKind) {
        let sight = match how {
            SyncKind::Diff if self.diff.is_some_and(|to| to > last) => Sight::DiffWithContent,
            SyncKind::Diff => return,
            SyncKind::DiffFromLog => Sight::DiffFromLog,
            SyncKind::Trunc => Sight::Trunc,
            SyncKind::Snap => Sight::Snap,
        };
        self.sights.insert(sight);
    }
}
