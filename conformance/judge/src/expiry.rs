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
        let reign = self.0.get(&replica.id);
        let heard = reign.and_then(|reign| reign.heard.get(&session).copied().or(reign.whole.then_some(0)));
        // One whose opening is not applied yet is nobody's loss.
        let timeout_ms = replica.tree.session_timeout(session);
        let (Some(reign), Some(heard), Some(timeout_ms)) = (reign, heard, timeout_ms) else {
            return report.untested("S-3");
        };
        let silent = reign.ticks - heard;
        let spans = u32::try_from(timeout_ms).unwrap_or_default().div_ceil(replica.config.tick_ms.max(1));
        report.verdict("S-3", expired_in_silence(silent, spans), replica.id, at_us, || {
            format!(
                "session {session} is expired after {silent} ticks in silence, and its timeout spans {spans}"
            )
        });
    }
}
