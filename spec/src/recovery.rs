//! What is on disk: what a server may claim of it, and what must be left after a crash.

use crate::{
    Epoch, Zxid,
    history::{Claim, Entry, Part, Phase, Record, ServerView},
    rule::{About, Check, Rule, Verdict},
};

/// The rules of this module.
pub const RULES: &[Rule] = &[
    Rule {
        id: "R-1",
        statement: "on disk, the epochs promised and joined never go back",
        source: "ZooKeeper `QuorumPeer.setAcceptedEpoch`, `setCurrentEpoch`",
        about: About::Local,
        check: Check::Step(epochs_grow),
    },
    Rule {
        id: "R-1-order",
        statement: "on disk, no epoch is joined that was not promised",
        source: "ZooKeeper `QuorumPeer.loadDataBase`",
        about: About::Local,
        check: Check::Server(joined_after_promised),
    },
    Rule {
        id: "R-2",
        statement: "everything committed is durable on every server of some quorum, as if all crashed now",
        source: "Zab paper, section 4; the reason for acknowledging",
        about: About::Histories,
        check: Check::Quorum(committed_is_durable),
    },
    Rule {
        id: "R-3",
        statement: "a promise or an acknowledgement is sent only when what it claims is durable",
        source: "Zab paper, section 5; Remix section 5.4",
        about: About::Local,
        check: Check::Claim(claims_are_durable),
    },
    Rule {
        id: "R-4",
        statement: "the durable history has no gap inside an epoch",
        source: "ZooKeeper issues 2099, 3642, 4882",
        about: About::Local,
        check: Check::Server(history_is_contiguous),
    },
    Rule {
        id: "R-5",
        statement: "every disk that a run can leave behind lets the server start again",
        source: "ZooKeeper issues 1653, 2307, 2354",
        about: About::Local,
        check: Check::Server(disk_recovers),
    },
    Rule {
        id: "R-6",
        statement: "votes and ACKEPOCH report the durable history, no more and no less",
        source: "ZooKeeper issues 2845, 2355, 4712",
        about: About::Local,
        check: Check::Claim(reports_are_exact),
    },
    Rule {
        id: "R-7",
        statement: "the state is what the logged transactions make of an empty one, in order, each once",
        source: "ZooKeeper issues 3642, 4837, 5094",
        about: About::Local,
        check: Check::Server(state_is_replay),
    },
    Rule {
        id: "R-7-serving",
        statement: "a server that serves shows what it has delivered, neither more nor less",
        source: "Zab paper, section 2",
        about: About::Local,
        check: Check::Server(served_state_is_delivered),
    },
    Rule {
        id: "R-8",
        statement: "the window in memory is a run of the server's history without a gap, up to the last transaction processed",
        source: "ZooKeeper issues 4925, 2846",
        about: About::Local,
        check: Check::Server(window_is_slice),
    },
    Rule {
        id: "R-8-committed",
        statement: "while a server serves, its window holds only committed transactions",
        source: "ZooKeeper issue 4925",
        about: About::Local,
        check: Check::ServerAndRecord(served_window_is_committed),
    },
];

/// R-1, a step.
pub fn epochs_grow(before: &ServerView, after: &ServerView, _: &Record) -> Verdict {
    let change =
        before.accepted.durable != after.accepted.durable || before.current.durable != after.current.durable;
    Verdict::of(change, || {
        before.accepted.durable <= after.accepted.durable && before.current.durable <= after.current.durable
    })
}

/// R-1, a state.
pub fn joined_after_promised(server: &ServerView) -> Verdict {
    Verdict::of(server.current.durable.0 > 0, || server.accepted.durable >= server.current.durable)
}

/// R-2, of one server; a quorum must agree.
pub fn committed_is_durable(server: &ServerView, record: &Record) -> Verdict {
    Verdict::of(!record.committed().is_empty(), || server.durable.starts_with(record.committed()))
}

/// the table of what must be durable before what is said.
pub fn claims_are_durable(server: &ServerView, claim: Claim) -> Verdict {
    let (accepted, current) = (server.accepted, server.current);
    match claim {
        Claim::LeaderInfo(epoch) => Verdict::of(true, || accepted.durable >= epoch),
        Claim::AckEpoch { current: Some(_), .. } => Verdict::of(true, || accepted.durable >= accepted.memory),
        Claim::AckEpoch { current: None, .. } | Claim::Vote { .. } => Verdict::Silent,
        Claim::NewLeader(epoch) => Verdict::of(true, || current.durable >= epoch),
        Claim::Ack(zxid) if zxid.counter() == 0 => Verdict::of(true, || {
            let joins = !matches!(server.part, Part::Following(_, Phase::Broadcast));
            current.durable >= zxid.epoch() && (!joins || server.processed <= last(&server.durable))
        }),
        Claim::Ack(zxid) => Verdict::of(true, || server.durable.iter().any(|entry| entry.zxid == zxid)),
    }
}

///
pub fn history_is_contiguous(server: &ServerView) -> Verdict {
    let durable = &server.durable;
    Verdict::of(!durable.is_empty(), || {
        durable[0].zxid.follows(Zxid::ZERO) && durable.is_sorted_by(|one, next| next.zxid.follows(one.zxid))
    })
}

///
pub fn disk_recovers(server: &ServerView) -> Verdict {
    Verdict::of(true, || server.recovers)
}

/// A vote that says more than the disk loses transactions; one that says less brings foreign ones back.
pub fn reports_are_exact(server: &ServerView, claim: Claim) -> Verdict {
    match claim {
        Claim::AckEpoch { current, last: reported } => Verdict::of(true, || {
            current.is_none_or(|epoch| epoch == joined(server)) && reported == last(&server.durable)
        }),
        Claim::Vote { current, last: reported } => {
            Verdict::of(true, || current == joined(server) && reported == last(&server.durable))
        }
        Claim::LeaderInfo(_) | Claim::NewLeader(_) | Claim::Ack(_) => Verdict::Silent,
    }
}

/// The last epoch that the disk shows to be joined: whoever holds a transaction of an epoch has joined it (D-7).
pub fn joined(server: &ServerView) -> Epoch {
    server.current.durable.max(last(&server.durable).epoch())
}

///
pub fn state_is_replay(server: &ServerView) -> Verdict {
    Verdict::of(server.part != Part::Down, || server.state == server.replayed)
}

/// R-7, for those who serve.
pub fn served_state_is_delivered(server: &ServerView) -> Verdict {
    Verdict::of(server.serving, || {
        server.processed == last(&server.delivered) && server.logged.starts_with(&server.delivered)
    })
}

///
pub fn window_is_slice(server: &ServerView) -> Verdict {
    let window = &server.window;
    Verdict::of(server.part != Part::Down && !window.is_empty(), || {
        let ends_at_processed = last(window) == server.processed;
        ends_at_processed && server.logged.windows(window.len()).any(|slice| slice == window.as_slice())
    })
}

/// R-8, for those who serve.
pub fn served_window_is_committed(server: &ServerView, record: &Record) -> Verdict {
    Verdict::of(server.serving && !server.window.is_empty(), || {
        server.window.iter().all(|entry| record.committed().contains(entry))
    })
}

/// The last transaction of a sequence, as votes report it.
fn last(sequence: &[Entry]) -> Zxid {
    sequence.last().map_or(Zxid::ZERO, |entry| entry.zxid)
}
