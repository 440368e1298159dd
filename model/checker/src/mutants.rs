//! Mutants: the same source with one known flaw, each of which the rules must catch.
//!
//! A flaw is a patch, so that the source that ships has no flawed branch. It is applied to a scratch copy of `spec` and
//! `model`, which is built without the second engine and searches the rows where the flaw shows. A flaw in replication
//! must break a rule about histories, with the rules about single steps off; a flaw of progress must lead into a trap,
//! or put a situation out of reach that a sound actor gets into. Where no search of a minute reaches so far, a scenario
//! does, judged in the same way. One patch is no flaw but what other servers do, beside which every rule must hold.

mod built;

use std::{fs, path::Path, time::Instant};

use anyhow::ensure;
use comfy_table::{Table, presets::UTF8_BORDERS_ONLY};
use serde::Serialize;

use checker::page::Page;

use self::built::{Built, Report, Simulated, Units};
use crate::{
    caught::{self, Caught, Line},
    play::Played,
};

/// Which mutants to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Mutants {
    /// Only these.
    ids: Vec<String>,
    /// Catches those that the simulator is known to catch by its seeds instead of by a search.
    #[arg(long)]
    simulate: bool,
    /// One JSON object a mutant on standard output, instead of a table.
    #[arg(long)]
    json: bool,
    /// Writes what has caught each to `model/checker/mutants.md`, mutant by mutant; the others stay there as they are.
    #[arg(long, conflicts_with = "simulate")]
    record: bool,
}

/// A flaw, and the search that shows it.
struct Mutant {
    id: &'static str,
    /// What it does wrong.
    flaw: &'static str,
    /// How it is found.
    shown: Shown,
}

enum Shown {
    /// By searching a row of the budget `mutants`, with these changes to it, as for `zabcheck check`.
    By(&'static [&'static str]),
    /// By two such searches, each of them.
    Twice(&'static [&'static str], &'static [&'static str]),
    /// By a scenario of `model/world/tests/scripts`: a rule about histories breaks, or a server that a sound actor
    /// brings to serve does not come to. For flaws that no search of a minute reaches.
    In(&'static str),
    /// By a test of `model/protocol`, which fails: where other servers say what no sound one says, or for what no rule
    /// about histories forbids. The program of tests, `lib` for those beside the source, and the test's name in it.
    Under(&'static str, &'static str),
    /// It is no flaw: other servers do so, and ours must hold every rule beside them. A search as for [`Shown::By`] is
    /// exhausted, with the rules about single steps on.
    Allowed(&'static [&'static str]),
}

use Shown::{Allowed, By, In, Twice, Under};

/// What the simulator catches, within so many seeds from the first one on.
const SIMULATED: &[(&str, u64)] = &[
    ("3526", 300),
    ("ack-before-fsync", 300),
    ("commit-without-quorum", 100),
    ("inform-before-commit", 100),
    ("moved-without-owner-check", 300),
    ("observer-acks-count", 100),
    ("observer-elected", 100),
    ("observer-told-early", 100),
];

/// In a search for broken histories, steps that fail by themselves do not count.
const HISTORIES: &str = "--histories-only";

const MUTANTS: &[Mutant] = &[
    Mutant {
        id: "1154",
        flaw: "a log that ends before the leader's is continued, whatever it ends with",
        shown: By(&["crashes", "--set", "txns=2", HISTORIES]),
    },
    Mutant {
        id: "1156",
        flaw: "one transaction too many is cut",
        shown: By(&["crashes", "--set", "txns=2", HISTORIES]),
    },
    Mutant {
        id: "1208",
        flaw: "a session that is closing is still served",
        shown: By(&["expiry", "--set", "first=[\"set\"]", "--set", "second=[\"create\"]", HISTORIES]),
    },
    Mutant {
        id: "1277",
        flaw: "the counter runs on into the next epoch",
        shown: By(&["crashes", "--set", "counter_max=1", "--set", "txns=2", HISTORIES]),
    },
    Mutant { id: "1419", flaw: "vote order compares ids before epochs", shown: By(&["mixed-votes"]) },
    Mutant {
        id: "1282",
        flaw: "a learner saves the current epoch at UPTODATE, behind its acknowledgement of NEWLEADER (Z-6)",
        shown: By(&["faults", "--set", "elections=4", "--set", "crashes=2", "--set", "breaks=0", HISTORIES]),
    },
    Mutant {
        id: "1653",
        flaw: "a start is refused where the history of an epoch is on disk, and the epoch is not yet (D-7)",
        shown: By(&["slow-crashes"]),
    },
    Mutant {
        id: "1732",
        flaw: "whoever follows goes on voting with the epoch of its election when a new one is established (E-10)",
        shown: By(&["equal-votes"]),
    },
    Mutant {
        id: "1805",
        flaw: "words of servers that have the same leader agree only if rounds and transactions do (E-9)",
        shown: By(&["equal-votes"]),
    },
    Mutant {
        id: "stale-search",
        flaw: "what was found in the log for a learner's end is taken for the end that it has now (Z-13)",
        shown: By(&["slow-searches"]),
    },
    Mutant {
        id: "2099",
        flaw: "history is sent across a hole that a received state has left in the log",
        shown: In("2099-no-history-across-a-hole"),
    },
    Mutant {
        id: "1863",
        flaw: "an answer is matched with its request by the session alone",
        shown: By(&["moves", "--set", "first=[\"set_twice\"]", "--set", "second=[\"multi\"]", HISTORIES]),
    },
    Mutant {
        id: "2307",
        flaw: "a promise is made in memory and told, whatever becomes of it on disk",
        shown: By(&["slow-crashes", HISTORIES]),
    },
    Mutant {
        id: "2355",
        flaw: "a DIFF counts as taken over when its header is read",
        shown: By(&["faults", "--set", "timeouts=0", HISTORIES]),
    },
    Mutant {
        id: "2845",
        flaw: "what is logged and not committed is forgotten at a role change",
        shown: By(&["faults", HISTORIES]),
    },
    Mutant {
        id: "3023",
        flaw: "a learner serves before it has applied what it was synchronised with",
        shown: By(&["faults", HISTORIES]),
    },
    Mutant {
        id: "3104",
        flaw: "NEWLEADER overtakes the snapshot",
        shown: By(&["crashes", "--set", "window=0", "--set", "log_sync=false", HISTORIES]),
    },
    Mutant {
        id: "3109",
        flaw: "a leader waits for its voters as long as it may, whatever they say (E-15)",
        shown: Under("peer", "restarts::an_ensemble_that_starts_at_once_serves_soon"),
    },
    Mutant {
        id: "3127",
        flaw: "the first change of a multi counts as the whole, and the others as done",
        shown: By(&["moves", "--set", "first=[\"multi\"]", "--set", "second=[\"set\"]", HISTORIES]),
    },
    Mutant {
        id: "3144",
        flaw: "a state is sent with another session table than its own",
        shown: By(&[
            "leaders",
            "--set",
            "first=[\"set\"]",
            "--set",
            "second=[\"set\"]",
            "--set",
            "window=0",
            HISTORIES,
        ]),
    },
    Mutant {
        id: "335",
        flaw: "the epoch promised is not kept apart from the epoch joined",
        shown: By(&["crashes", HISTORIES]),
    },
    Mutant {
        id: "3526",
        flaw: "a server without a leader makes a transaction of a session that only reads, in the state that it shares",
        shown: By(&["read-only", HISTORIES]),
    },
    Mutant {
        id: "3642",
        flaw: "a snapshot that is not durable is kept over a role change",
        shown: By(&["crashes", "--set", "window=0", "--set", "log_sync=false", HISTORIES]),
    },
    Mutant {
        id: "3644",
        flaw: "a server that has joined an epoch and lost its data starts as if it were new (D-5)",
        shown: Under("lost", "who_has_joined_an_epoch_and_has_nothing_does_not_start"),
    },
    Mutant {
        id: "3911",
        flaw: "NEWLEADER is acknowledged with its history in memory only",
        shown: By(&["crashes", HISTORIES]),
    },
    Mutant {
        id: "4394",
        flaw: "open proposals are logged and forgotten at NEWLEADER",
        shown: By(&["joining", HISTORIES]),
    },
    Mutant {
        id: "4643",
        flaw: "the current epoch is saved before the history",
        shown: By(&["slow-crashes", "--set", "elections=4", HISTORIES]),
    },
    Mutant {
        id: "4646",
        flaw: "NEWLEADER is acknowledged while its history is being synced",
        shown: By(&["slow-crashes", HISTORIES]),
    },
    Mutant {
        id: "4685",
        flaw: "synchronised proposals are acknowledged one by one, before NEWLEADER",
        shown: By(&["slow-joining", HISTORIES]),
    },
    Mutant {
        id: "4712",
        flaw: "a role ends with appends still under way",
        shown: By(&["slow-faults", HISTORIES]),
    },
    Mutant {
        id: "4925",
        flaw: "transactions of the synchronisation are missing from the window",
        shown: By(&["faults", HISTORIES]),
    },
    Mutant {
        id: "5094",
        flaw: "the state in memory is kept when the log is cut",
        shown: By(&["faults", HISTORIES]),
    },
    Mutant {
        id: "962",
        flaw: "choosing where to start and joining the stream are two steps",
        shown: By(&["joining", HISTORIES]),
    },
    Mutant {
        id: "ack-before-fsync",
        flaw: "a proposal is acknowledged when it is logged",
        shown: Twice(&["slow-crashes", HISTORIES], &["peer-pair", HISTORIES]),
    },
    Mutant {
        id: "ack-before-promise",
        flaw: "a follower acknowledges an epoch before its promise is on disk (Z-4)",
        shown: By(&["slow-crashes", HISTORIES]),
    },
    Mutant {
        id: "ack-current-again",
        flaw: "an epoch promised before is acknowledged as if it were new",
        shown: By(&["fine-faults", HISTORIES]),
    },
    Mutant {
        id: "ack-epoch-without-floor",
        flaw: "the floor of a learner's log is not looked at (Z-17)",
        shown: In("z17-cut-above-the-floor"),
    },
    Mutant {
        id: "acks-not-servers",
        flaw: "acknowledgements of a proposal are counted, and not the servers that hold it",
        shown: By(&[
            "slow-faults",
            "--set",
            "elections=2",
            "--set",
            "crashes=0",
            "--set",
            "timeouts=0",
            HISTORIES,
        ]),
    },
    Mutant {
        id: "acks-of-a-broken-link",
        flaw: "what was acknowledged on a link that broke still counts (Z-8)",
        shown: In("z8-acknowledgements-are-of-a-link"),
    },
    Mutant {
        id: "another-ensembles-client-stays",
        flaw: "who looks for another ensemble keeps the connection, which takes nothing any more (C-14)",
        shown: Under("peer", "requests::who_looks_for_another_ensemble_is_hung_up_on_in_its_turn"),
    },
    Mutant {
        id: "answer-names-an-older-state",
        flaw: "a read names the state before the one that it shows",
        shown: By(&["moves", "--set", "first=[\"close\"]", "--set", "second=[\"watch\"]", HISTORIES]),
    },
    Mutant {
        id: "close-by-halves",
        flaw: "a close leaves a session alone that has ephemerals",
        shown: By(&["moves", "--set", "first=[\"close\"]", "--set", "second=[\"set\"]", HISTORIES]),
    },
    Mutant {
        id: "close-misses-open-creates",
        flaw: "a close names the ephemerals of the state, and not those that are being created",
        shown: By(&["moves", "--set", "first=[\"close\"]", "--set", "second=[\"set\"]", HISTORIES]),
    },
    Mutant {
        id: "commit-by-heads",
        flaw: "servers that hold a proposal are counted where they have weights",
        shown: By(&["weights", HISTORIES]),
    },
    Mutant {
        id: "commit-out-of-order",
        flaw: "everything open is committed with the oldest",
        shown: By(&["crashes", "--set", "txns=2", HISTORIES]),
    },
    Mutant {
        id: "commit-while-joining-dropped",
        flaw: "a COMMIT between NEWLEADER and UPTODATE is dropped",
        shown: In("4394-commit-between-newleader-and-uptodate"),
    },
    Mutant {
        id: "commit-without-quorum",
        flaw: "a proposal is committed on its leader's word alone",
        shown: Twice(&["crashes", HISTORIES], &["peer-pair", HISTORIES]),
    },
    Mutant {
        id: "counter-begins-anew",
        flaw: "behind the last counter of an epoch comes its start (R-4)",
        shown: Under("strangers", "an_epoch_does_not_begin_anew_behind_its_last_counter"),
    },
    Mutant {
        id: "cut-below-the-floor",
        flaw: "a search of the log is believed below the log's floor (Z-13)",
        shown: In("z13-the-floor-is-a-transaction"),
    },
    Mutant {
        id: "cut-copy-starts-empty",
        flaw: "a server is new beside a copy of a snapshot that was cut short (D-3)",
        shown: Under("lib", "recovery::tests::the_newest_snapshot_that_may_be_trusted_wins"),
    },
    Mutant {
        id: "cut-snapshot-passed-over",
        flaw: "a snapshot without its end is passed over where the log goes on behind its label (D-3)",
        shown: Under("lib", "recovery::tests::the_newest_snapshot_that_may_be_trusted_wins"),
    },
    Mutant {
        id: "dead-leader",
        flaw: "a leader is joined on the word of those who follow it, without its own (E-9)",
        shown: By(&["equal-votes"]),
    },
    Mutant {
        id: "digest-forgets-the-parent",
        flaw: "the digest that is told leaves out that a parent's children change",
        shown: By(&["moves", "--set", "first=[\"create\"]", "--set", "second=[\"set\"]", HISTORIES]),
    },
    Mutant {
        id: "digest-of-a-failed-multi",
        flaw: "the digest that is told keeps what a multi that fails had prepared",
        shown: By(&["moves", "--set", "first=[\"multi\"]", "--set", "second=[\"multi\"]", HISTORIES]),
    },
    Mutant {
        id: "elects-who-may-not-lead",
        flaw: "a quorum's vote for a server that this one's list gives no vote is decided on (E-5)",
        shown: Under("lib", "election::tests::nobody_is_elected_who_may_not_lead_here"),
    },
    Mutant {
        id: "epoch-before-history",
        flaw: "the current epoch is handed to the disk before the append's end",
        shown: By(&["slow-faults", "--set", "elections=4", HISTORIES]),
    },
    Mutant {
        id: "epoch-start-of-another",
        flaw: "a learner that has joined may acknowledge the start of any epoch (I-12)",
        shown: Under("strangers", "the_start_of_another_epoch_is_no_acknowledgement"),
    },
    Mutant {
        id: "epoch-start-turned-away",
        flaw: "who has seen the start of an epoch, and no transaction of it, is turned away for what is missing (C-7)",
        shown: Under(
            "peer",
            "sessions::a_client_that_has_seen_the_start_of_an_epoch_goes_on_in_it_and_behind_it",
        ),
    },
    Mutant {
        id: "event-after-data",
        flaw: "watches fire behind the answers that show why",
        shown: By(&["moves", "--set", "first=[\"watch\"]", "--set", "second=[\"set\"]", HISTORIES]),
    },
    Mutant {
        id: "half-of-the-groups",
        flaw: "half of the groups are enough, so that two quorums need not meet",
        shown: By(&["groups", HISTORIES]),
    },
    Mutant {
        id: "held-write-is-forgotten",
        flaw: "what waits behind a sync at its server is not handed on when the sync is through (S-20)",
        shown: By(&["held", "--set", "changes=0"]),
    },
    Mutant {
        id: "inform-before-commit",
        flaw: "an observer is told of a proposal, and not of its commit",
        shown: By(&["observing", HISTORIES]),
    },
    Mutant {
        id: "state-holds-nothing-of-the-stream",
        flaw: "what a leader forwards although the state that it sends holds it ends the link (Z-14)",
        shown: Under("strangers", "what_a_state_holds_may_be_forwarded_too"),
    },
    Mutant {
        id: "cut-is-not-looked-at",
        flaw: "whatever the disk gives behind a truncation is gone on with (Z-14)",
        shown: Under("strangers", "a_log_that_ends_elsewhere_than_it_was_to_be_cut_ends_the_server"),
    },
    Mutant {
        id: "rank-by-the-file",
        flaw: "a server ranks by the epoch in its file, whatever its last transaction tells (D-7)",
        shown: By(&["slow-crashes"]),
    },
    Mutant {
        id: "state-over-a-later-end",
        flaw: "a learner whose log ends in a later epoch is sent the state, and not told to cut (Z-13)",
        shown: Under("strangers", "whoever_goes_beyond_what_is_applied_is_cut_back_to_it_whatever_the_epoch"),
    },
    Mutant {
        id: "weightless-outranks",
        flaw: "a leader gives up for what a voter without weight holds (Z-5)",
        shown: Under("strangers", "a_leader_does_not_give_up_for_a_voter_without_weight"),
    },
    Mutant {
        id: "silence-before-establishment",
        flaw: "who has joined is lost for its silence while others take long to join (Z-10)",
        shown: Under("strangers", "nobody_s_silence_counts_before_there_is_something_to_say"),
    },
    Mutant {
        id: "last-epoch-promised",
        flaw: "the last epoch of all is promised, and there is none above it (Z-4)",
        shown: Under("strangers", "the_last_epoch_of_all_is_not_promised"),
    },
    Mutant {
        id: "last-seen-missing",
        flaw: "a server that is behind takes a client that has seen more",
        shown: By(&["moves-leaders", "--set", "first=[\"set\"]", "--set", "second=[\"set\"]", HISTORIES]),
    },
    Mutant {
        id: "late-forwarding",
        flaw: "a learner joins the stream of proposals with its acknowledgement of NEWLEADER (Z-13)",
        shown: Twice(&["joining"], &["joining", HISTORIES]),
    },
    Mutant {
        id: "last-file-gone",
        flaw: "a log whose last file is gone is taken for whole where a snapshot is newer than that file (D-1)",
        shown: Under("lib", "recovery::tests::what_was_synced_is_never_cut"),
    },
    Mutant {
        id: "later-round-unheard",
        flaw: "during the wait of an election a later round counts only if its vote is better (E-7)",
        shown: By(&["equal-votes"]),
    },
    Mutant {
        id: "leads-without-quorum",
        flaw: "a leader stays when links break or fall silent until no quorum is left (Z-10)",
        shown: By(&["leaders", "--set", "first=[\"set\"]", "--set", "second=[\"set\"]", HISTORIES]),
    },
    Mutant {
        id: "moved-without-owner-check",
        flaw: "whoever has a session's id may write for it",
        shown: By(&["moves", "--set", "first=[\"set\"]", "--set", "second=[\"set_twice\"]", HISTORIES]),
    },
    Mutant {
        id: "no-flaw-acks-one-by-one",
        flaw: "none: Apache's learners acknowledge each synchronised proposal, also before NEWLEADER (Z-8)",
        shown: Allowed(&["slow-joining", "--set", "txns=2", "--set", "elections=2", "--set", "timeouts=2"]),
    },
    Mutant {
        id: "no-way-made",
        flaw: "a leader stays for a server that has promised a later epoch (Z-18)",
        shown: In("z18-making-way"),
    },
    Mutant {
        id: "number-of-an-older-connection",
        flaw: "what a connection had submitted is forgotten with it, and answers a newer one's request of its number",
        shown: Under(
            "peer",
            "sessions::a_number_of_an_older_connection_is_not_answered_under_a_hasty_leader",
        ),
    },
    Mutant {
        id: "older-connection-lives-on",
        flaw: "an older connection is read until the leader has answered a claim: what comes late overtakes (C-4, S-5)",
        shown: Under("peer", "sessions::what_an_older_connection_left_does_not_overtake"),
    },
    Mutant {
        id: "close-behind-a-sync-is-lost",
        flaw: "a close that waits behind a sync goes with its connection (C-8)",
        shown: Under("peer", "sessions::a_close_behind_a_sync_closes_though_the_connection_ends"),
    },
    Mutant {
        id: "close-answered-by-a-write",
        flaw: "a write of another server that has a close's number is told as the answer to the close (C-15)",
        shown: Under("peer", "sessions::a_write_is_no_answer_to_a_close"),
    },
    Mutant {
        id: "number-of-another-server",
        flaw: "what was proposed before a client came answers its request of that number, though older writes than it \
               were acknowledged before (S-11)",
        shown: By(&["restarts", HISTORIES]),
    },
    Mutant {
        id: "closed-session-is-kept",
        flaw: "what a connection had submitted is kept behind the close of its session (C-15)",
        shown: By(&["moves"]),
    },
    Mutant {
        id: "observer-granted-at-once",
        flaw: "a claim at an observer is granted before what was proposed is committed (S-11)",
        shown: By(&["restarts-observed", HISTORIES]),
    },
    Mutant {
        id: "observer-acks-count",
        flaw: "an observer is sent proposals and acknowledges them, and that counts",
        shown: By(&["observing", HISTORIES]),
    },
    Mutant {
        id: "observer-elected",
        flaw: "the vote of an observer, and for it, counts like any other",
        shown: By(&["observer"]),
    },
    Mutant {
        id: "observer-told-early",
        flaw: "an observer is told of an epoch that is not established (Z-20)",
        shown: By(&["observing", HISTORIES]),
    },
    Mutant {
        id: "refused-at-once",
        flaw: "a leader refuses a session without asking whether it still leads",
        shown: By(&[
            "expiry-leaders",
            "--set",
            "moves=1",
            "--set",
            "first=[\"set\"]",
            "--set",
            "second=[\"sync\"]",
            HISTORIES,
        ]),
    },
    Mutant {
        id: "rejoin-without-quorum",
        flaw: "a learner's new link takes the place of the old one, and the quorum is not counted again",
        shown: By(&["new-link", HISTORIES]),
    },
    Mutant {
        id: "reply-before-commit",
        flaw: "a write is answered when it is logged",
        shown: By(&["leaders", "--set", "first=[\"set\"]", "--set", "second=[\"set\"]", HISTORIES]),
    },
    Mutant {
        id: "serve-before-establishment",
        flaw: "a leader serves with the promise of a quorum, before one has joined",
        shown: By(&["crashes", HISTORIES]),
    },
    Mutant {
        id: "set-watches-gap",
        flaw: "a client that comes back has its watches left again, whatever has changed",
        shown: By(&["moves", "--set", "first=[\"watch\"]", "--set", "second=[\"set\"]", HISTORIES]),
    },
    Mutant {
        id: "skip-state-summary",
        flaw: "a leader goes on that is told of more than it has (Z-5)",
        shown: By(&["fine-faults", HISTORIES]),
    },
    Mutant {
        id: "stale-deadline",
        flaw: "a new leader gives sessions what the old one had left them",
        shown: By(&["expiry-leaders", "--set", "first=[\"set\"]", "--set", "second=[\"set\"]", HISTORIES]),
    },
    Mutant {
        id: "stale-epoch-ack",
        flaw: "an acknowledgement counts in the leader's epoch, whatever its own; learners acknowledge one by one",
        shown: By(&["slow-faults", "--set", "txns=2", HISTORIES]),
    },
    Mutant {
        id: "state-unasked",
        flaw: "a whole state is said to be what comes next, whoever sends it, and whenever (Z-14)",
        shown: Under("strangers", "no_packet_stops_a_server"),
    },
    Mutant {
        id: "sweep-overlooks-open-creates",
        flaw: "a container goes that has a child being created",
        shown: By(&["sweeps", HISTORIES]),
    },
    Mutant {
        id: "sweep-without-a-second-look",
        flaw: "what was found due is deleted later, whatever has become of it",
        shown: By(&["sweeps", HISTORIES]),
    },
    Mutant {
        id: "sync-at-once",
        flaw: "a leader answers a sync without asking whether it still leads",
        shown: By(&["leaders", "--set", "first=[\"sync\"]", "--set", "second=[\"set\"]", HISTORIES]),
    },
    Mutant {
        id: "read-only-lives-on",
        flaw: "who only reads stays connected when a leader is found (C-19)",
        shown: By(&["read-only"]),
    },
    Mutant {
        id: "read-only-refuses-the-living",
        flaw: "a server without a leader refuses sessions of the ensemble, whose clients take them for expired (C-19)",
        shown: By(&["read-only"]),
    },
    Mutant {
        id: "read-only-goes-on-anywhere",
        flaw: "who goes without writing goes on at servers that are behind what it has seen in the same epoch (C-7)",
        shown: Under("peer", "read_only::who_was_shown_an_end_that_is_cut_is_taken_in_a_later_epoch"),
    },
    Mutant {
        id: "read-only-shut-out",
        flaw: "who was shown the end of a log that is cut later is turned away by everybody (C-19)",
        shown: By(&["read-only-cut", HISTORIES]),
    },
    Mutant {
        id: "reads-for-everybody",
        flaw: "who has not proved what is demanded may read (C-17)",
        shown: By(&["demanded"]),
    },
    Mutant {
        id: "proof-forgotten",
        flaw: "what a mechanism of several steps proves does not count (C-18)",
        shown: By(&["demanded"]),
    },
    Mutant {
        id: "sync-overtaken",
        flaw: "the sync of a learner without extensions passes the barrier, and commits overtake its answer (S-16)",
        shown: By(&["plain"]),
    },
    Mutant {
        id: "touch-lost",
        flaw: "what was heard of a session is forgotten with its connection (C-3)",
        shown: Under("peer", "sessions::a_touch_outlives_its_connection"),
    },
    Mutant {
        id: "touch-unheard",
        flaw: "a leader does not hear which sessions its learners were told of (C-3)",
        shown: By(&[
            "expiry",
            "--set",
            "pings=1",
            "--set",
            "first=[\"set\"]",
            "--set",
            "second=[\"create\"]",
            HISTORIES,
        ]),
    },
    Mutant {
        id: "trunc-at-an-epochs-start",
        flaw: "a log that ends with the start of an epoch is cut, where there is no transaction to cut behind (Z-13)",
        shown: Under("strangers", "a_log_that_ends_with_the_start_of_an_epoch_is_not_cut"),
    },
    Mutant {
        id: "vote-before-sync",
        flaw: "a vote is given before what recovery read is synced",
        shown: By(&["slow-crashes", HISTORIES]),
    },
    Mutant {
        id: "vote-of-the-promise",
        flaw: "between Zab and the election, a vote comes to name the epoch promised, not the one joined",
        shown: By(&["peer-pair", HISTORIES]),
    },
    Mutant {
        id: "vote-without-data",
        flaw: "a server whose data are missing takes part as one with an empty log (E-5)",
        shown: Under("lost", "who_has_no_data_elects_nobody"),
    },
    Mutant {
        id: "waits-over-a-change",
        flaw: "with its role a server forgets the clients that wait for an answer, and keeps their connections (S-20)",
        shown: By(&["leaders", "--set", "first=[\"set\"]", "--set", "second=[\"set\"]"]),
    },
    Mutant {
        id: "way-for-the-last-epoch",
        flaw: "a leader makes way for a promise that no leader can come behind (Z-4)",
        shown: Under("strangers", "a_leader_stays_where_no_other_could_come"),
    },
    Mutant {
        id: "weightless-leads",
        flaw: "the vote for a server whose vote has no weight ranks like any other",
        shown: By(&["weightless"]),
    },
    Mutant {
        id: "what-closes-is-still-seen",
        flaw: "a write is prepared against nodes that go with a close which is not applied yet",
        shown: By(&["succession", HISTORIES]),
    },
];

/// What came of a mutant. Written as JSON, one object a line.
#[derive(Debug, Serialize)]
struct Verdict {
    id: &'static str,
    caught: bool,
    rule: Option<String>,
    depth: usize,
    states: usize,
    /// Build and search.
    seconds: f64,
}

impl Verdict {
    fn line(&self, flaw: &str, rule: &str, page: &Page) -> Line {
        let (steps, states) = (self.depth, self.states);
        Line { flaw: flaw.to_owned(), rule: rule.to_owned(), steps, states, found: page.origin().to_owned() }
    }
}

impl Mutants {
    pub(crate) fn run(self) -> anyhow::Result<u8> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
        let unlisted = unlisted(&root)?;
        ensure!(unlisted.is_empty(), "patches without an entry in the table: {}", unlisted.join(", "));
        for id in &self.ids {
            ensure!(MUTANTS.iter().any(|mutant| mutant.id == id), "there is no mutant {id}");
        }
        let seeds = |mutant: &Mutant| {
            SIMULATED.iter().find(|(id, _)| *id == mutant.id && self.simulate).map(|(_, seeds)| *seeds)
        };
        let chosen = |mutant: &&Mutant| {
            let named = self.ids.is_empty() || self.ids.iter().any(|id| id == mutant.id);
            named && (!self.simulate || seeds(mutant).is_some())
        };
        let page = self.record.then(|| Page::open(caught::PAGE, &["spec", "model"])).transpose()?;
        let mut recorded = Caught::read(&root)?;
        recorded.0.retain(|id, _| MUTANTS.iter().any(|mutant| mutant.id == *id));
        let (mut survivors, mut unfit, mut otherwise) = (0, Vec::new(), Vec::new());
        let mut table = Table::new();
        table
            .load_preset(UTF8_BORDERS_ONLY)
            .set_header(["mutant", "flaw", "rule", "depth", "states", "seconds"]);
        let units = Units::of(MUTANTS.iter().filter(chosen).count());
        for mutant in MUTANTS.iter().filter(chosen) {
            // One that is out of date does not hide what becomes of the others.
            let verdict = match mutant.judge(&root, units, seeds(mutant)) {
                Ok(verdict) => verdict,
                Err(error) => {
                    eprintln!("{}: {error:#}", mutant.id);
                    unfit.push(mutant.id);
                    continue;
                }
            };
            survivors += usize::from(!verdict.caught);
            if let (Some(page), Some(rule)) = (&page, &verdict.rule) {
                recorded.0.insert(mutant.id.to_owned(), verdict.line(mutant.flaw, rule, page));
                recorded.write(page)?;
            } else if let Some(rule) = verdict.rule.as_deref().filter(|_| !self.simulate) {
                let other = recorded.otherwise(mutant.id, rule);
                otherwise.extend(other.map(|other| format!("{} by {rule}, not {other}", mutant.id)));
            }
            if self.json {
                println!("{}", serde_json::to_string(&verdict)?);
            } else {
                eprintln!("{}: {}", mutant.id, verdict.rule.as_deref().unwrap_or("survives"));
                table.add_row([
                    mutant.id.to_owned(),
                    mutant.flaw.to_owned(),
                    verdict.rule.unwrap_or_else(|| "SURVIVES".to_owned()),
                    verdict.depth.to_string(),
                    verdict.states.to_string(),
                    format!("{:.1}", verdict.seconds),
                ]);
            }
        }
        if !self.json {
            println!("{table}");
        }
        ensure!(unfit.is_empty(), "not judged: {}", unfit.join(", "));
        ensure!(
            otherwise.is_empty(),
            "caught otherwise than {} says, which `--record` writes anew if it is right: {}",
            caught::PAGE,
            otherwise.join("; ")
        );
        Ok(u8::from(survivors > 0))
    }
}

fn unlisted(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root.join("model/checker/mutants"))? {
        let path = entry?.path();
        let id = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if !MUTANTS.iter().any(|mutant| mutant.id == id) {
            names.push(id.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

impl Mutant {
    /// Whether it is caught: by so many seeds of the simulator, or else as its entry says.
    fn judge(&self, root: &Path, units: Units, seeds: Option<u64>) -> anyhow::Result<Verdict> {
        let started = Instant::now();
        let scratch = Built::of(root, units)?;
        scratch.apply(&root.join("model/checker/mutants").join(format!("{}.patch", self.id)))?;
        if let Some(seeds) = seeds {
            let Simulated { broken, played } = scratch.simulate(&scratch.build()?, seeds)?;
            let seconds = started.elapsed().as_secs_f64();
            let played = usize::try_from(played)?;
            return Ok(Verdict {
                id: self.id,
                caught: broken.is_some(),
                rule: broken,
                depth: 0,
                states: played,
                seconds,
            });
        }
        let (rule, depth, states) = match self.shown {
            By(search) => scratch.catch(search)?,
            Twice(first, second) => {
                let (first, second) = (scratch.catch(first)?, scratch.catch(second)?);
                let both = first.0.zip(second.0).map(|(one, other)| format!("{one}; {other}"));
                (both, first.1, first.2 + second.2)
            }
            Allowed(search) => {
                let reports = scratch.search(&scratch.build()?, search)?;
                let holds = |report: &Report| report.exhausted && report.broken.is_none();
                let holds = !reports.is_empty() && reports.iter().all(holds);
                let states = reports.iter().map(|report| report.distinct).sum();
                (holds.then(|| "none: every rule holds".to_owned()), 0, states)
            }
            In(scenario) => {
                let Played { steps, broken, unmet } = scratch.play(&scratch.build()?, scenario)?;
                (broken.or(unmet), steps, steps)
            }
            Under(program, test) => {
                (scratch.fails(program, test)?.then(|| format!("test {test} of {program} fails")), 0, 0)
            }
        };
        let seconds = started.elapsed().as_secs_f64();
        Ok(Verdict { id: self.id, caught: rule.is_some(), rule, depth, states, seconds })
    }
}
