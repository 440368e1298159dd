//! Hand-made histories: one in which all is well, and for each promise some in which it is broken.

use super::{PROMISES, Verdict, judge};
use crate::history::{Answer, Entry, FORMAT, Header, History, Op, Reply, Request, Seen, What};

/// A history in the making. Time goes on by itself; session `n` is client `n`'s.
struct Made {
    entries: Vec<Entry>,
    now: u64,
    strict: bool,
}

fn seen(czxid: i64, mzxid: i64, version: i32) -> Seen {
    Seen { czxid, mzxid, version, pzxid: czxid, ..Seen::default() }
}

fn get(path: &str, watch: bool) -> Request {
    Request::Get { path: path.to_owned(), watch }
}

fn list(watch: bool) -> Request {
    Request::List { path: "/l".to_owned(), watch }
}

fn set(path: &str, value: &str) -> Request {
    Request::Set { path: path.to_owned(), value: value.to_owned(), version: None }
}

fn lock(value: &str) -> Request {
    Request::Lock { path: "/lock".to_owned(), value: value.to_owned() }
}

fn append(value: &str) -> Request {
    Request::Append { path: "/l/n-".to_owned(), value: value.to_owned() }
}

fn delete(path: &str) -> Request {
    Request::Delete { path: path.to_owned() }
}

fn data(value: &str, stat: Seen) -> Answer {
    Answer::Data { value: value.to_owned(), stat }
}

fn path(path: &str) -> Answer {
    Answer::Path(path.to_owned())
}

fn names(names: &[&str], pzxid: i64, cversion: i32) -> Answer {
    let stat = Seen { czxid: 2, mzxid: 2, pzxid, cversion, ..Seen::default() };
    Answer::Names { names: names.iter().map(|&name| name.to_owned()).collect(), stat }
}

impl Made {
    /// A register and a folder.
    fn new() -> Self {
        let mut made = Self { entries: Vec::new(), now: 0, strict: true };
        for (zxid, name) in [(1, "/r"), (2, "/l")] {
            let create = Request::Create { path: name.to_owned(), value: format!("first of {name}") };
            made = made.op(0, create, zxid, path(name));
        }
        made
    }

    fn enter(mut self, client: i64, what: What) -> Self {
        self.now += 10;
        let client_name = if client >= 90 { format!("final-{client}") } else { format!("client-{client}") };
        self.entries.push(Entry { at: self.now, client: client_name, session: client, what });
        self
    }

    fn reply(self, client: i64, sent: u64, request: Request, zxid: i64, code: i32, answer: Answer) -> Self {
        let reply = Reply { at: self.now + 10, zxid, code, answer };
        self.enter(client, What::Op(Op { sent, request, reply: Some(reply) }))
    }

    /// Sent when the one before had come.
    fn op(self, client: i64, request: Request, zxid: i64, answer: Answer) -> Self {
        let sent = self.now + 5;
        self.reply(client, sent, request, zxid, 0, answer)
    }

    fn fails(self, client: i64, request: Request, zxid: i64, code: i32) -> Self {
        let sent = self.now + 5;
        self.reply(client, sent, request, zxid, code, Answer::Empty)
    }

    fn lost(self, client: i64, request: Request) -> Self {
        let sent = self.now + 5;
        self.enter(client, What::Op(Op { sent, request, reply: None }))
    }

    fn set(self, client: i64, value: &str, zxid: i64, version: i32) -> Self {
        self.op(client, set("/r", value), zxid, Answer::Stat(seen(1, zxid, version)))
    }

    fn sync(self, client: i64, zxid: i64) -> Self {
        self.op(client, Request::Sync, zxid, Answer::Empty)
    }

    fn event(self, client: i64, kind: i32, path: &str, zxid: i64) -> Self {
        self.enter(client, What::Event { zxid, kind, path: path.to_owned() })
    }

    fn judge(self) -> Verdict {
        let header =
            Header { format: FORMAT.to_owned(), seed: 0, nemesis: "none".to_owned(), strict: self.strict };
        judge(&History { header, entries: self.entries })
    }

    /// Exactly this promise is broken.
    #[track_caller]
    fn breaks(self, rule: &str) {
        let verdict = self.judge();
        assert!(!verdict.broken.is_empty(), "{rule} is not seen to be broken");
        assert!(verdict.broken.iter().all(|broken| broken.rule == rule), "{:#?}", verdict.broken);
    }

    #[track_caller]
    fn well(self) -> Verdict {
        let verdict = self.judge();
        assert!(verdict.broken.is_empty(), "{:#?}", verdict.broken);
        verdict
    }
}

#[test]
fn what_is_well_is_found_well_and_every_promise_is_held_against_it() {
    let made = Made::new()
        .enter(1, What::Connected { server: 1, timeout_ms: 3_000 })
        .op(1, get("/r", true), 2, data("first of /r", seen(1, 1, 0)))
        .op(1, list(true), 2, names(&[], 2, 0))
        .set(2, "a", 3, 1)
        .event(1, 3, "/r", 3)
        .sync(1, 3)
        .op(1, get("/r", false), 3, data("a", seen(1, 3, 1)))
        .op(2, append("x"), 4, path("/l/n-0"))
        .event(1, 4, "/l", 4)
        .op(1, list(false), 4, names(&["n-0"], 4, 1))
        .op(2, delete("/l/n-0"), 5, Answer::Empty)
        .op(1, list(false), 5, names(&[], 5, 2))
        .op(3, lock("mine"), 6, path("/lock"))
        .fails(2, lock("yours"), 7, -110)
        .op(3, Request::Close, 8, Answer::Empty)
        .op(2, lock("yours"), 9, path("/lock"))
        .op(90, get("/r", false), 9, data("a", seen(1, 3, 1)))
        .op(91, get("/r", false), 9, data("a", seen(1, 3, 1)));
    let mut made = made;
    made.now += 1_000_000;
    let mut made = made.sync(1, 9);
    made.now += 5_000_000;
    let verdict = made.enter(1, What::Expired).well();
    let checked = verdict.checks.iter().filter(|(_, count)| **count > 0).map(|(rule, _)| *rule);
    let mut all = PROMISES.to_vec();
    all.sort_unstable();
    assert_eq!(checked.collect::<Vec<_>>(), all);
}

#[test]
fn a_write_of_unknown_outcome_may_stand_or_not() {
    let lost = || Made::new().lost(1, set("/r", "a")).lost(1, append("x")).lost(1, delete("/l/n-1"));
    lost().sync(2, 2).op(2, get("/r", false), 2, data("first of /r", seen(1, 1, 0))).well();
    lost()
        .op(2, get("/r", false), 3, data("a", seen(1, 3, 1)))
        .op(2, list(false), 4, names(&["n-0"], 4, 1))
        .well();
    // A name that nobody can have made.
    lost().op(2, list(false), 5, names(&["n-0", "n-2"], 5, 2)).judge();
    Made::new().op(2, list(false), 5, names(&["n-0"], 5, 1)).judge().broken.first().expect("a stranger");
}

#[test]
fn two_writes_of_one_zxid_are_seen() {
    let made = Made::new();
    let sent = made.now;
    made.reply(1, sent, append("x"), 3, 0, path("/l/n-0"))
        .reply(2, sent, append("y"), 3, 0, path("/l/n-1"))
        .breaks("one write a zxid");
}

#[test]
fn a_write_behind_one_that_came_later_is_seen() {
    Made::new()
        .op(1, append("x"), 9, path("/l/n-0"))
        .op(2, append("y"), 8, path("/l/n-1"))
        .breaks("writes in real time");
    // They overlap: either order is well.
    let made = Made::new();
    let sent = made.now;
    made.reply(1, sent, append("x"), 9, 0, path("/l/n-0"))
        .reply(2, sent, append("y"), 8, 0, path("/l/n-1"))
        .well();
}

#[test]
fn a_sync_that_shows_an_old_state_is_seen_where_it_is_promised() {
    let made = || Made::new().set(1, "a", 3, 1).sync(2, 2);
    made().breaks("sync reads the latest");
    let mut apache = made();
    apache.strict = false;
    assert_eq!(apache.well().told["syncs that showed an old state"], 1);
    // A read without sync may be old.
    Made::new().set(1, "a", 3, 1).op(2, get("/r", false), 2, data("first of /r", seen(1, 1, 0))).well();
}

#[test]
fn a_session_that_goes_back_is_seen() {
    Made::new()
        .set(1, "a", 3, 1)
        .op(2, get("/r", false), 3, data("a", seen(1, 3, 1)))
        .op(2, get("/r", false), 2, data("first of /r", seen(1, 1, 0)))
        .breaks("sessions never go back");
}

#[test]
fn a_session_that_does_not_see_its_own_write_is_seen() {
    // It names the state behind the write, and shows the one before it.
    Made::new()
        .set(1, "a", 3, 1)
        .op(1, get("/r", false), 3, data("first of /r", seen(1, 1, 0)))
        .breaks("registers are linearizable");
}

#[test]
fn a_session_that_dies_of_short_silence_is_seen() {
    let made = |between, silence| {
        let mut made = Made::new().enter(1, What::Connected { server: 1, timeout_ms: 3_000 }).sync(1, 2);
        made.now += between;
        let mut made = made.sync(1, 2);
        made.now += silence;
        made.enter(1, What::Expired)
    };
    made(1_000_000, 1_000_000).breaks("sessions outlive short silence");
    made(1_000_000, 4_000_000).well();
    // The leader may have heard of the first contact only, and counted from there.
    made(2_400_000, 1_000_000).well();
}

#[test]
fn an_answer_against_the_protocol_is_seen() {
    Made::new()
        .enter(1, What::Wrong("a reply to request 2 where 1 was due".to_owned()))
        .breaks("answers in the order of asking");
}

#[test]
fn registers_that_lose_repeat_or_mix_up_sets_are_seen() {
    let rule = "registers are linearizable";
    let two = || Made::new().set(1, "a", 3, 1).set(1, "b", 4, 2);
    two().well();
    // A read at 4 that shows the state of 3.
    two().op(2, get("/r", false), 4, data("a", seen(1, 3, 1))).breaks(rule);
    // Two sets of one version, and a version that nobody made.
    Made::new().set(1, "a", 3, 1).set(1, "b", 4, 1).breaks(rule);
    Made::new().set(1, "a", 3, 2).breaks(rule);
    // A state that a read names before it came to be.
    two().op(2, get("/r", false), 3, data("b", seen(1, 4, 2))).breaks(rule);
}

#[test]
fn answers_that_a_request_cannot_have_are_seen() {
    let rule = "answers are such as the request may have";
    let create = || Request::Create { path: "/l/up".to_owned(), value: "up".to_owned() };
    let any = || Made::new().set(1, "a", 3, 1);
    let cas = Request::Set { path: "/r".to_owned(), value: "c".to_owned(), version: Some(0) };
    for (request, code) in [
        (get("/r", false), -102),
        (get("/r", false), -1),
        (get("/r", false), -110),
        (list(false), -103),
        (set("/r", "b"), -5),
        // It asked for no version.
        (set("/r", "b"), -103),
        (append("x"), -110),
        (create(), -108),
        (delete("/r"), -111),
        (Request::Sync, -101),
        (Request::Close, -101),
        // Client libraries' own, for a connection that broke.
        (create(), -4),
    ] {
        any().fails(2, request, 4, code).breaks(rule);
    }
    any().fails(2, cas, 4, -103).well();
    // Its session is over, or elsewhere.
    for (request, code) in [(get("/r", false), -112), (set("/r", "b"), -118), (Request::Close, -112)] {
        any().fails(2, request, 4, code).well();
    }
}

#[test]
fn a_folder_that_is_lost_is_seen() {
    let rule = "nodes are there from create to delete";
    let up = Request::Create { path: "/l/up".to_owned(), value: "up".to_owned() };
    let held = Request::Lock { path: "/l/held".to_owned(), value: "held".to_owned() };
    for request in [list(false), append("x"), up, held] {
        Made::new().fails(1, request.clone(), 3, -101).breaks(rule);
        if request.writes() {
            let mut apache = Made::new().fails(1, request, 3, -101);
            apache.strict = false;
            apache.breaks(rule);
        }
    }
    // By servers that let reads race with commits: the session had seen it.
    let mut apache = Made::new().op(1, list(false), 2, names(&[], 2, 0)).fails(1, list(false), 2, -101);
    apache.strict = false;
    apache.breaks(rule);
    Made::new().enter(90, What::Lost("/l".to_owned())).breaks(rule);
}

#[test]
fn refusals_are_transactions_of_their_own() {
    let cas = |value: &str, version| Request::Set {
        path: "/r".to_owned(),
        value: value.to_owned(),
        version: Some(version),
    };
    let epoch = |epoch: i64, counter: i64| epoch << 32 | counter;
    // A leader that was deposed unawares refuses the right version out of the state that it has.
    let base = || {
        let first = Made::new().set(1, "a", epoch(1, 1), 1);
        first.set(1, "b", epoch(2, 1), 2)
    };
    base().fails(2, cas("c", 2), epoch(1, 2), -103).breaks("writes in real time");
    base().fails(2, delete("/f"), epoch(1, 2), -101).breaks("writes in real time");
    base().fails(2, cas("c", 1), epoch(2, 2), -103).well();
    // It may not be the zxid of another one either.
    let made = Made::new();
    let sent = made.now;
    let made = made.reply(1, sent, set("/r", "a"), 3, 0, Answer::Stat(seen(1, 3, 1)));
    made.reply(2, sent, cas("b", 0), 3, -103, Answer::Empty).breaks("one write a zxid");
}

#[test]
fn conditions_that_are_not_heeded_are_seen() {
    let rule = "registers are linearizable";
    let cas = |version| Request::Set { path: "/r".to_owned(), value: "c".to_owned(), version: Some(version) };
    let base = || Made::new().set(1, "a", 3, 1);
    base().op(2, cas(1), 4, Answer::Stat(seen(1, 4, 2))).well();
    base().op(2, cas(0), 4, Answer::Stat(seen(1, 4, 2))).breaks(rule);
    let after = |made: Made| made.op(1, get("/r", false), 4, data("a", seen(1, 3, 1)));
    after(base().fails(2, cas(0), 4, -103)).well();
    after(base().fails(2, cas(1), 4, -103)).breaks(rule);
}

#[test]
fn values_of_nobody_and_of_writes_that_failed_are_seen() {
    let rule = "values come from writes";
    let read = |made: Made, value: &str| made.op(2, get("/l/n-0", false), 9, data(value, seen(3, 3, 0)));
    let made = || Made::new().op(1, append("x"), 3, path("/l/n-0"));
    read(made(), "x").well();
    read(made(), "y").breaks(rule);
    read(made().fails(1, lock("z"), 4, -101), "z").breaks(rule);
}

#[test]
fn nodes_that_are_lost_or_come_back_are_seen() {
    let rule = "nodes are there from create to delete";
    let made = || Made::new().op(1, append("x"), 3, path("/l/n-0"));
    made().fails(2, get("/l/n-0", false), 4, -101).breaks(rule);
    let gone = || made().op(1, delete("/l/n-0"), 4, Answer::Empty);
    gone().fails(2, get("/l/n-0", false), 4, -101).well();
    gone().op(2, get("/l/n-0", false), 4, data("x", seen(3, 3, 0))).breaks(rule);
    gone().op(2, delete("/l/n-0"), 5, Answer::Empty).breaks(rule);
    let cas = Request::Set { path: "/l/n-0".to_owned(), value: "y".to_owned(), version: Some(1) };
    gone().fails(2, cas, 5, -103).breaks(rule);
    made().lost(2, delete("/l/n-0")).fails(2, get("/l/n-0", false), 4, -101).well();
}

#[test]
fn locks_of_two_holders_and_ephemerals_beside_their_sessions_are_seen() {
    let rule = "ephemerals live as their sessions do";
    let held = || Made::new().op(1, lock("x"), 3, path("/lock"));
    let owned = |czxid, owner| Seen { owner, ..seen(czxid, czxid, 0) };
    // Two holders, the first of which is heard of later.
    held().op(2, lock("y"), 4, path("/lock")).op(1, append("z"), 5, path("/l/n-0")).breaks(rule);
    held().op(2, lock("y"), 4, path("/lock")).well();
    // Gone while its session lives.
    held().fails(2, get("/lock", false), 4, -101).op(1, append("z"), 5, path("/l/n-0")).breaks(rule);
    // There beyond its session.
    let closed = || held().op(1, Request::Close, 4, Answer::Empty);
    closed().fails(2, get("/lock", false), 4, -101).well();
    closed().op(2, get("/lock", false), 4, data("x", owned(3, 1))).breaks(rule);
    closed().enter(2, What::Stays("/lock".to_owned())).breaks(rule);
    // Of another session than the one that made it.
    held().op(2, get("/lock", false), 4, data("x", owned(3, 2))).breaks(rule);
}

#[test]
fn lists_that_miss_changes_or_mix_them_up_are_seen() {
    let rule = "lists are linearizable";
    let made =
        || Made::new().op(1, append("x"), 3, path("/l/n-0")).op(2, list(false), 3, names(&["n-0"], 3, 1));
    made().well();
    // The counter does not move with an acknowledged change, or moves without a change.
    let verdict = made()
        .op(1, append("y"), 4, path("/l/n-1"))
        .op(2, list(false), 4, names(&["n-0", "n-1"], 3, 1))
        .judge();
    assert!(verdict.broken.iter().any(|broken| broken.rule == rule), "{:?}", verdict.broken);
    made().op(2, list(false), 3, names(&["n-0"], 3, 2)).breaks(rule);
    // A name that nobody made.
    let verdict = made().op(2, list(false), 5, names(&["n-0", "n-7"], 5, 2)).judge();
    assert!(verdict.broken.iter().any(|broken| broken.rule == rule), "{:?}", verdict.broken);
}

#[test]
fn events_that_come_late_or_never_are_seen() {
    let rule = "events come before what they tell of";
    let armed =
        || Made::new().op(1, get("/r", true), 2, data("first of /r", seen(1, 1, 0))).set(2, "a", 3, 1);
    let read = |made: Made| made.op(1, get("/r", false), 3, data("a", seen(1, 3, 1)));
    read(armed().event(1, 3, "/r", 3)).well();
    read(armed()).breaks(rule);
    // Any reply behind the change will do, and another connection is no excuse.
    armed().enter(1, What::Broken).sync(1, 3).breaks(rule);
    Made::new()
        .op(1, list(true), 2, names(&[], 2, 0))
        .op(2, append("x"), 3, path("/l/n-0"))
        .sync(1, 3)
        .breaks(rule);
}

#[test]
fn watches_that_are_left_again_tell_what_was_missed() {
    let rule = "events come before what they tell of";
    let again = |exist: bool| Request::SetWatches {
        relative: 2,
        data: if exist { Vec::new() } else { vec!["/r".to_owned()] },
        exist: if exist { vec!["/f".to_owned()] } else { Vec::new() },
        child: Vec::new(),
    };
    let broken = || {
        let made = Made::new().op(1, get("/r", true), 2, data("first of /r", seen(1, 1, 0)));
        made.enter(1, What::Broken).set(2, "a", 3, 1)
    };
    broken().op(1, again(false), 3, Answer::Empty).breaks(rule);
    broken().event(1, 3, "/r", 3).op(1, again(false), 3, Answer::Empty).well();
    // What came and went meanwhile leaves no trace; what came and stayed does.
    let raise = Request::Create { path: "/f".to_owned(), value: "f".to_owned() };
    let flag = || {
        let made = Made::new().fails(1, Request::Exists { path: "/f".to_owned() }, 2, -101);
        made.enter(1, What::Broken).op(2, raise.clone(), 3, path("/f"))
    };
    flag().op(1, again(true), 3, Answer::Empty).breaks(rule);
    flag().op(2, delete("/f"), 4, Answer::Empty).op(1, again(true), 4, Answer::Empty).well();
}

#[test]
fn events_twice_or_for_nothing_are_seen() {
    let armed = || Made::new().op(1, get("/r", true), 2, data("first of /r", seen(1, 1, 0)));
    armed()
        .set(2, "a", 3, 1)
        .event(1, 3, "/r", 3)
        .event(1, 3, "/r", 3)
        .breaks("events come once, to those who asked");
    armed().event(1, 3, "/r", 3).breaks("events tell of changes");
    // The change that it names was seen already when the watch was left.
    armed().set(2, "a", 3, 1).event(1, 3, "/r", 1).breaks("events tell of changes");
}

#[test]
fn events_of_another_kind_than_the_change_are_seen() {
    let rule = "events tell of changes";
    let set_data = || {
        let armed = Made::new().op(1, get("/r", true), 2, data("first of /r", seen(1, 1, 0)));
        armed.set(2, "a", 3, 1)
    };
    set_data().event(1, 3, "/r", 3).well();
    for kind in [1, 2] {
        set_data().event(1, kind, "/r", 3).breaks(rule);
    }
    let exists = || Request::Exists { path: "/f".to_owned() };
    let raise = Request::Create { path: "/f".to_owned(), value: "f".to_owned() };
    let raised = || Made::new().fails(1, exists(), 2, -101).op(2, raise.clone(), 3, path("/f"));
    raised().event(1, 1, "/f", 3).well();
    raised().event(1, 3, "/f", 3).breaks(rule);
    let lowered = || raised().event(1, 1, "/f", 3).op(1, exists(), 3, Answer::Stat(seen(3, 3, 0)));
    let lowered = || lowered().op(2, delete("/f"), 4, Answer::Empty);
    lowered().event(1, 2, "/f", 4).well();
    lowered().event(1, 3, "/f", 4).breaks(rule);
    // A watch that is left again is told of the state: that it came, though it was set since.
    let again = Request::SetWatches {
        relative: 2,
        data: Vec::new(),
        exist: vec!["/f".to_owned()],
        child: Vec::new(),
    };
    let left_again = |kind| {
        let made = raised().enter(1, What::Broken).op(2, set("/f", "g"), 4, Answer::Stat(seen(3, 4, 1)));
        let made = made.enter(1, What::Connected { server: 1, timeout_ms: 3_000 }).event(1, kind, "/f", 4);
        made.op(1, again.clone(), 4, Answer::Empty)
    };
    left_again(1).well();
    left_again(2).breaks(rule);
}

#[test]
fn servers_that_differ_are_seen() {
    let verdict = Made::new()
        .lost(1, set("/r", "a"))
        .op(90, get("/r", false), 3, data("a", seen(1, 3, 1)))
        .op(91, get("/r", false), 3, data("first of /r", seen(1, 1, 0)))
        .judge();
    assert!(
        verdict.broken.iter().any(|broken| broken.rule == "servers end up equal"),
        "{:?}",
        verdict.broken
    );
}

#[test]
fn reads_that_race_with_commits_are_well_where_servers_let_them() {
    let race = || {
        Made::new().op(2, get("/r", false), 2, data("first of /r", seen(1, 1, 0))).set(1, "a", 3, 1).op(
            2,
            get("/r", false),
            3,
            data("first of /r", seen(1, 1, 0)),
        )
    };
    race().breaks("registers are linearizable");
    let gone = || {
        let made = Made::new().op(1, lock("x"), 3, path("/lock"));
        let made = made.op(2, get("/lock", false), 3, data("x", Seen { owner: 1, ..seen(3, 3, 0) }));
        made.op(1, delete("/lock"), 4, Answer::Empty).fails(2, get("/lock", false), 5, -101)
    };
    let mut apache = gone();
    apache.strict = false;
    apache.well();
    let mut apache = race();
    apache.strict = false;
    apache.well();
}

#[test]
fn a_saved_history_is_read_back() {
    let file = std::env::temp_dir().join(format!("zabkeeper-history-{}.jsonl", std::process::id()));
    let made = Made::new().set(1, "a", 3, 1).event(1, 3, "/r", 3).lost(2, Request::Close);
    let header = Header { format: FORMAT.to_owned(), seed: 7, nemesis: "kill".to_owned(), strict: true };
    let history = History { header, entries: made.entries };
    history.save(&file).expect("saved");
    assert_eq!(History::load(&file).expect("read"), history);
    std::fs::write(&file, "{}\n").expect("written");
    assert!(History::load(&file).is_err());
    std::fs::remove_file(file).expect("gone");
}
