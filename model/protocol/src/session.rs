//! The leader's table of sessions: who owns each, when it expires, and which are on their way out.
//!
//! Only a leader expires sessions (rule C-3), and it measures time in ticks that the caller announces: a session
//! that is touched gets as many ticks as its timeout spans, rounded up, and one more, since the tick under way has
//! been running for some time. So no clock of a learner decides, a pause of the leader lengthens and never shortens,
//! and the table holds no absolute time: two leaders that have the same promises to keep have equal tables.
mod password;

use alloc::{collections::BTreeMap, vec::Vec};

use serde::{Deserialize, Serialize};
use spec::{ErrorCode, ServerId, SessionId};

pub use password::password;

/// The sessions that a leader answers for.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Sessions {
    /// The unit of expiry in milliseconds, at least 1.
    tick_ms: u32,
    table: BTreeMap<SessionId, Session>,
}

#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
struct Session {
    /// The server whose connection has the session; none until a client of this reign has claimed it.
    owner: Option<ServerId>,
    /// Ticks until it expires, if nothing touches it.
    left: u32,
    /// Its closeSession is proposed: nothing else of it is admitted (rule C-6).
    closing: bool,
}

impl Sessions {
    /// The table at the start of a reign: every known session has its full timeout, in milliseconds, before it
    /// (rule C-3), and no owner.
    pub fn new(tick_ms: u32, known: Vec<(SessionId, i32)>) -> Self {
        let mut sessions = Self { tick_ms: tick_ms.max(1), table: BTreeMap::new() };
        for (session, timeout_ms) in known {
            sessions.insert(session, timeout_ms, None);
        }
        sessions
    }

    /// Whether the session is in the table, closing or not.
    pub fn knows(&self, session: SessionId) -> bool {
        self.table.contains_key(&session)
    }

    /// A session is created on this server.
    pub fn open(&mut self, session: SessionId, timeout_ms: i32, owner: ServerId) {
        self.insert(session, timeout_ms, Some(owner));
    }

    /// Something was heard of the session, whose timeout is given in milliseconds. One that is closing stays so.
    pub fn touch(&mut self, session: SessionId, timeout_ms: i32) {
        let ticks = self.ticks(timeout_ms);
        if let Some(entry) = self.table.get_mut(&session) {
            entry.left = ticks;
        }
    }

    /// A client goes on with the session on this server, which owns it from now on (rule C-5). Returns whether the
    /// session is to be had.
    pub fn revalidate(&mut self, session: SessionId, timeout_ms: i32, owner: ServerId) -> bool {
        let ticks = self.ticks(timeout_ms);
        match self.table.get_mut(&session) {
            Some(entry) if !entry.closing => {
                entry.owner = Some(owner);
                entry.left = ticks;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Whether a request of this session, which came in by way of this server, may be carried out.
    ///
    /// # Errors
    /// [`ErrorCode::SessionExpired`] if the session is closing or gone, [`ErrorCode::SessionMoved`] if another
    /// server has it.
    pub fn admit(&self, session: SessionId, from: ServerId) -> Result<(), ErrorCode> {
        match self.table.get(&session) {
            None => Err(ErrorCode::SessionExpired),
            Some(entry) if entry.closing => Err(ErrorCode::SessionExpired),
            Some(entry) if entry.owner != Some(from) => Err(ErrorCode::SessionMoved),
            Some(_) => Ok(()),
        }
    }

    /// The session's closeSession is being proposed.
    pub fn mark_closing(&mut self, session: SessionId) {
        if let Some(entry) = self.table.get_mut(&session) {
            entry.closing = true;
        }
    }

    /// The session's closeSession is applied.
    pub fn remove(&mut self, session: SessionId) {
        self.table.remove(&session);
    }

    /// A tick has passed. Returns the sessions that expire with it, in the order of ids, each marked as closing.
    pub fn tick(&mut self) -> Vec<SessionId> {
        let mut expired = Vec::new();
        for (&session, entry) in self.table.iter_mut().filter(|(_, entry)| !entry.closing) {
            entry.left = entry.left.saturating_sub(1);
            if entry.left == 0 {
                entry.closing = true;
                expired.push(session);
            }
        }
        expired
    }

    /// The ticks until each session expires if nothing touches it, to look at. None is told of one on its way out.
    pub fn left(&self) -> impl Iterator<Item = (SessionId, u32)> {
        self.table.iter().filter(|(_, entry)| !entry.closing).map(|(session, entry)| (*session, entry.left))
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    fn insert(&mut self, session: SessionId, timeout_ms: i32, owner: Option<ServerId>) {
        let left = self.ticks(timeout_ms);
        self.table.insert(session, Session { owner, left, closing: false });
    }

    /// The announcements of a tick that are surely at least this timeout apart from now, at least two.
    fn ticks(&self, timeout_ms: i32) -> u32 {
        u32::try_from(timeout_ms).unwrap_or(0).max(1).div_ceil(self.tick_ms).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use alloc::{vec, vec::Vec};

    use spec::{ErrorCode, ServerId, SessionId};

    use super::Sessions;

    const A: ServerId = ServerId(1);
    const B: ServerId = ServerId(2);
    const S: SessionId = SessionId(7);

    fn ticks_until_expiry(sessions: &mut Sessions) -> usize {
        (1..100).find(|_| sessions.tick() == vec![S]).expect("the session never expires")
    }

    #[test]
    fn a_session_outlives_its_timeout_by_at_most_two_ticks() {
        // With k announcements at least k - 1 whole ticks have passed since the touch.
        for (timeout, expected) in [(1, 2), (99, 2), (100, 2), (101, 3), (200, 3), (201, 4), (0, 2), (-5, 2)]
        {
            let mut sessions = Sessions::new(100, vec![(S, timeout)]);
            assert_eq!(ticks_until_expiry(&mut sessions), expected, "timeout {timeout}");
        }
    }

    #[test]
    fn a_touch_starts_the_whole_timeout_anew_until_the_mark() {
        let mut sessions = Sessions::new(100, vec![(S, 200)]);
        assert_eq!(sessions.tick(), Vec::new());
        assert_eq!(sessions.tick(), Vec::new());
        sessions.touch(S, 200);
        assert_eq!(ticks_until_expiry(&mut sessions), 3);
        sessions.touch(S, 200);
        assert_eq!(sessions.admit(S, A), Err(ErrorCode::SessionExpired), "a mark is never taken back");
        assert!((0..10).all(|_| sessions.tick().is_empty()), "a session expires once");
    }

    #[test]
    fn an_owner_is_made_by_creation_and_moved_by_revalidation_only() {
        let mut sessions = Sessions::new(100, vec![(S, 200)]);
        assert_eq!(sessions.admit(S, A), Err(ErrorCode::SessionMoved), "a new reign knows no owner");
        assert!(sessions.revalidate(S, 200, A));
        assert_eq!(sessions.admit(S, A), Ok(()));
        sessions.touch(S, 200);
        assert!(sessions.revalidate(S, 200, B));
        assert_eq!(sessions.admit(S, A), Err(ErrorCode::SessionMoved));
        assert_eq!(sessions.admit(S, B), Ok(()));
        let other = SessionId(8);
        sessions.open(other, 200, A);
        assert_eq!(sessions.admit(other, A), Ok(()));
        assert_eq!(sessions.admit(SessionId(9), A), Err(ErrorCode::SessionExpired));
    }

    #[test]
    fn a_closing_session_is_not_to_be_had() {
        let mut sessions = Sessions::new(100, vec![(S, 200)]);
        assert!(sessions.revalidate(S, 200, A));
        sessions.mark_closing(S);
        assert!(!sessions.revalidate(S, 200, A));
        assert_eq!(sessions.admit(S, A), Err(ErrorCode::SessionExpired));
        sessions.remove(S);
        assert!(sessions.is_empty());
        assert!(!sessions.revalidate(S, 200, A));
    }
}
