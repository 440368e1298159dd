//! The models join where they should, and the comparison notices where they would not.

use checker::{
    election,
    joins::{Further, Join, Joins},
    rows::{Row, Setup},
    run::{Mode, run},
    session,
    zab::{Bounds, Tier},
};

fn row(name: &'static str, setup: Setup) -> Row {
    Row { name, setup, expects: &[], traps: false }
}

/// Elections without a second round.
fn elections() -> Row {
    let votes = vec![(1, 1), (1, 1), (1, 2)];
    let config = election::Config { votes, rounds: 1, breaks: 1, ..election::Config::default() };
    row("elections", Setup::Election(config))
}

fn oracle(elections: u8) -> Bounds {
    Bounds { elections, txns: 1, refusals: true, waiting: true, timeouts: 1, ..Bounds::default() }
}

/// An election, a transaction, and a change of the leader.
fn changes() -> Row {
    row("changes", Setup::Zab(Bounds { tier: Tier::Coarse, timeouts: 1, ..Bounds::default() }))
}

fn session(changes: u8) -> Row {
    let deeds = vec![session::Deed::Set];
    let bounds =
        session::Bounds { first: deeds.clone(), second: deeds, changes, ..session::Bounds::default() };
    row("sets", Setup::Session(bounds))
}

fn compare(rows: &[Row], oracle: &Bounds) -> Vec<Join> {
    let mut joins = Joins::default();
    for row in rows {
        let report = run("test", row, Mode::default(), &mut |_| {}, Some(&mut joins));
        assert!(report.exhausted, "{}: {:?}", row.name, report.broken);
    }
    for further in Further::beside(rows, oracle) {
        joins.take(further.search(&mut |_| {}).expect("rules hold"));
    }
    joins.compare()
}

fn missing(joins: &[Join], name: &str) -> usize {
    let join = joins.iter().find(|join| join.name == name).expect("a join of that name");
    assert!(!join.reached.is_empty(), "{name} compares nothing");
    join.missing.len()
}

#[test]
fn what_is_reached_is_allowed() {
    for join in compare(&[elections(), changes(), session(1)], &oracle(3)) {
        assert_eq!(join.missing, Vec::<String>::new(), "{}", join.name);
        assert!(!join.reached.is_empty(), "{} compares nothing", join.name);
    }
}

#[test]
fn an_oracle_that_allows_too_little_is_noticed() {
    // Without an election nobody leads.
    let joins = compare(&[elections(), changes(), session(0)], &oracle(0));
    assert!(missing(&joins, "election-zab") > 0);
    // Without a change of the leader nobody ends to serve, and no deposed leader goes on.
    assert!(missing(&joins, "zab-session") > 0);
    assert!(missing(&joins, "zab-clients") > 0);
}
