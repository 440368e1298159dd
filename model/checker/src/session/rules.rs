//! What a search has put to the test, and the situations that it should meet.

use spec::{
    rule::Verdict,
    session::{closed_keep_nothing, closed_own_nothing, owners_are_open, tables_agree},
};

use super::{parts::HostView, record::RecordView};
use crate::engine::{self, Broken};

/// The situations that a search should meet, beside a test of each rule.
const SITUATIONS: &[&str] = &[
    "moved",
    "refused",
    "late-write-refused",
    "behind-turned-away",
    "expired",
    "expired-with-ephemeral",
    "close-with-open-create",
    "event",
    "event-after-return",
    "multi-done",
    "multi-failed",
    "two-leaders",
    "sync-at-a-deposed-leader",
    "open-write-survives",
    "open-write-vanishes",
    "leader-changed",
    "answer-of-another-connection",
    "swept",
    "sweep-came-late",
    "write-behind-a-sync",
    "unproved-refused",
    "write-behind-an-open-close",
    "held-behind-a-sync",
];

/// The rules that the model asks.
const RULES: &[&str] = &[
    "S-1", "S-2", "S-3", "S-4", "S-5", "S-7", "S-8", "S-9", "S-10", "S-11", "S-12", "S-13", "S-14", "S-15",
    "S-16", "S-18", "S-19", "C-4", "C-15", "C-17", "C-18", "R-7",
];

/// What was met: a bit for each situation, then one for each rule that was put to the test.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Judged {
    bits: u64,
}

impl Judged {
    /// A situation was met.
    pub(super) fn met(&mut self, situation: &str) {
        self.bits |= bit(situation);
    }

    /// A rule was put to the test, and holds.
    pub(super) fn tested(&mut self, rule: &str) {
        self.bits |= bit(rule);
    }

    /// The witnesses, as the engine has them.
    pub fn bits(self) -> u64 {
        self.bits
    }
}

/// The names of all witnesses, in the order of their bits.
pub(super) fn witnesses() -> Vec<&'static str> {
    SITUATIONS.iter().chain(RULES).copied().collect()
}

fn bit(name: &str) -> u64 {
    let place = SITUATIONS.iter().chain(RULES).position(|known| *known == name);
    1 << place.expect("every witness is listed")
}

/// Takes a verdict down.
///
/// # Errors
/// The rule is broken.
pub(super) fn holds(
    rule: &'static str,
    verdict: Verdict,
    judged: &mut Judged,
    why: impl FnOnce() -> String,
) -> Result<(), Broken> {
    match verdict {
        Verdict::Silent => Ok(()),
        Verdict::Holds => {
            judged.tested(rule);
            Ok(())
        }
        Verdict::Broken => Err(broken(rule, why())),
    }
}

/// That this rule is broken.
pub(super) fn broken(rule: &'static str, why: String) -> Broken {
    Broken::new(rule, why)
}

/// Judges a server by itself.
pub(super) fn judge_host(view: &HostView) -> engine::Verdict {
    let mut judged = Judged::default();
    let owners = view.owners.iter().copied().collect();
    let table = view.state.sessions.iter().map(|(session, _)| *session).collect();
    let why = || format!("{:?} own, of {:?}", view.owners, view.state.sessions);
    let result = holds("S-1", owners_are_open(&owners, &table), &mut judged, why);
    engine::Verdict { broken: result.err(), witnesses: judged.bits() }
}

/// Judges a server that serves by the committed order.
pub(super) fn judge_host_and_record(host: &HostView, record: &RecordView) -> engine::Verdict {
    let mut judged = Judged::default();
    let result = compare(host, record, &mut judged);
    engine::Verdict { broken: result.err(), witnesses: judged.bits() }
}

fn compare(host: &HostView, record: &RecordView, judged: &mut Judged) -> Result<(), Broken> {
    let Some(state) = record.states.iter().find(|state| state.last == host.state.last) else {
        return Err(broken("S-13", format!("a server serves the state at {}", host.state.last)));
    };
    let why = || format!("a server holds {host:?}, and what is committed makes {state:?}");
    holds("S-4", tables_agree(&host.state.sessions, &state.sessions), judged, why)?;
    holds("R-7", Verdict::of(true, || host.state.digest == state.digest), judged, why)?;
    let closed = record.closed.iter().filter(|(_, zxid)| *zxid <= host.state.last);
    let closed = closed.map(|(session, _)| *session).collect();
    let owners = host.owners.iter().copied().collect();
    holds("S-2", closed_own_nothing(&owners, &closed), judged, why)?;
    let kept = host.kept.iter().copied().collect();
    holds("C-15", closed_keep_nothing(&kept, &closed), judged, why)
}

/// Judges two servers that serve beside each other.
pub(super) fn judge_hosts(one: &HostView, other: &HostView) -> engine::Verdict {
    let mut judged = Judged::default();
    if one.leads && other.leads {
        judged.met("two-leaders");
    }
    engine::Verdict { broken: None, witnesses: judged.bits() }
}
