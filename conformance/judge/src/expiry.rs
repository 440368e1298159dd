//! How long leaders have heard nothing of sessions, in their own ticks (S-3).

use std::collections::BTreeMap;

use protocol::{
    Role, Timer,
    peer::{Input, Packet},
};
use spec::{Machine, ServerId, SessionId, session::expired_in_silence};
use tree::Tree;

use crate::{replica::Replica, report::Report};

/// One server's time as leader.
#[derive(Debug, Default)]
struct Reign {
    ticks: u32,
    /// At which tick a session was last heard of.
    heard: BTreeMap<SessionId, u32>,
    /// It is known from its first tick on.
    whole: bool,
}

/// Every leader there is.
#[derive(Debug, Default)]
pub(crate) struct Expiry(BTreeMap<ServerId, Reign>);

impl Expiry {
    /// A server has taken a step, or goes on from a checkpoint, of which `whole` is false: whether it leads.
    pub(crate) fn note_leader(&mut self, replica: &Replica, whole: bool) {
        let leads =
            matches!(replica.peer.zab().role(), Some((Role::Leading, _))) && replica.peer.is_serving();
        if leads {
            self.0.entry(replica.id).or_insert_with(|| Reign { whole, ..Reign::default() });
        } else {
            self.0.remove(&replica.id);
        }
    }

    /// A server is gone.
    pub(crate) fn forget(&mut self, server: ServerId) {
        self.0.remove(&server);
    }

    /// A server is about to be told something.
    pub(crate) fn told(&mut self, replica: &Replica, input: &Input<Tree>) {
        let Some(reign) = self.0.get_mut(&replica.id) else { return };
        let now = reign.ticks;
        match input {
            Input::Timer { timer: Timer::Expiry, .. } => reign.ticks += 1,
            Input::Packet { packet: Packet::Ping { touched, .. }, .. } => {
                reign.heard.extend(touched.iter().map(|(session, _)| (*session, now)));
            }
            Input::Packet { packet: Packet::Revalidate { session, .. }, .. } => {
                reign.heard.insert(*session, now);
            }
            Input::ClientRequest { client, .. } => {
                reign.heard.extend(replica.peer.session_of(*client).map(|session| (session, now)));
            }
            _ => {}
        }
    }

    /// A leader has let a client go on with its session, or proposes to open it.
    pub(crate) fn granted(&mut self, leader: ServerId, session: SessionId) {
        if let Some(reign) = self.0.get_mut(&leader) {
            reign.heard.insert(session, reign.ticks);
        }
    }

    /// A leader has found a session expired.
    pub(crate) fn expired(&self, replica: &Replica, session: SessionId, report: &mut Report, at_us: u64) {
        // One whose opening is not applied yet is nobody's loss.
        let Some(timeout_ms) = replica.tree.session_timeout(session) else { return report.untested("S-3") };
        let spans = u32::try_from(timeout_ms).unwrap_or_default().div_ceil(replica.config.tick_ms.max(1));
        self.judge(replica.id, session, spans, report, at_us);
    }

    /// Whether that leader has heard nothing of a session for so many ticks.
    fn judge(&self, leader: ServerId, session: SessionId, spans: u32, report: &mut Report, at_us: u64) {
        let reign = self.0.get(&leader);
        let heard = reign.and_then(|reign| reign.heard.get(&session).copied().or(reign.whole.then_some(0)));
        let (Some(reign), Some(heard)) = (reign, heard) else { return report.untested("S-3") };
        let silent = reign.ticks - heard;
        report.verdict("S-3", expired_in_silence(silent, spans), leader, at_us, || {
            format!(
                "session {session} is expired after {silent} ticks in silence, and its timeout spans {spans}"
            )
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEADER: ServerId = ServerId(2);
    const SESSION: SessionId = SessionId(7);

    /// What a leader has broken, tested and left open that expires a session of three ticks in its tick of this number.
    fn judged(ticks: u32, heard: Option<u32>, whole: bool) -> (usize, usize, usize) {
        let mut expiry = Expiry(BTreeMap::from([(LEADER, Reign { whole, ..Reign::default() })]));
        let mut report = Report::default();
        for tick in 0..ticks {
            if heard == Some(tick) {
                expiry.granted(LEADER, SESSION);
            }
            expiry.0.get_mut(&LEADER).expect("it leads").ticks += 1;
        }
        expiry.judge(LEADER, SESSION, 3, &mut report, 0);
        (report.breaches_count, report.tested.len(), report.untested.len())
    }

    #[test]
    fn a_session_expires_behind_its_timeout_of_silence() {
        assert_eq!(judged(3, None, true), (1, 0, 0), "its last tick is not over");
        assert_eq!(judged(4, None, true), (0, 1, 0));
        assert_eq!(judged(5, Some(2), true), (1, 0, 0), "no sooner behind the last that was heard");
        assert_eq!(judged(6, Some(2), true), (0, 1, 0));
        assert_eq!(judged(4, None, false), (0, 0, 1), "who knows when it was heard of");
    }
}
