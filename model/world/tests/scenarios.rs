//! Scenarios as text, over the real actors: each is played, judged by every rule after each step, and told.

use world::script::{End, Judge, play};

#[test]
fn scenarios_come_about_as_told() {
    insta::glob!("scripts/*.txt", |path| {
        let text = std::fs::read_to_string(path).expect("it was found there");
        let told = play(&text, Judge::All).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(told.end, End::Whole, "{}\n{}", path.display(), told.transcript);
        insta::assert_snapshot!(told.transcript);
        // Actors with a flaw are judged by histories only; sound ones come through that as well.
        let told = play(&text, Judge::Histories).expect("it did read");
        assert_eq!(told.end, End::Whole, "{}\n{}", path.display(), told.transcript);
    });
}

#[test]
fn a_script_that_does_not_read_names_its_line() {
    for (text, line, why) in [
        ("", 0, "no ensemble"),
        ("# told\npropose 1", 2, "name the ensemble"),
        ("ensemble 1 2 3\nensemble 1", 2, "already"),
        ("ensemble 1 2 3\nfrobnicate", 2, "frobnicate is no step"),
        ("ensemble 1 2 3 leader=4", 1, "one of them"),
        ("ensemble 1 2 3\ndeliver 1 2", 2, "FROM->TO"),
        ("ensemble 1 2 3\npropose 1 2", 2, "2 is too much"),
        ("ensemble 1 2 3\ncrash 1 log=77", 2, "fewer operations"),
        ("ensemble 1 2 3\ntimer 1 lunch", 2, "lunch is no timer"),
    ] {
        let error = play(text, Judge::All).expect_err(text);
        assert_eq!(error.line, line, "{error}");
        assert!(error.why.contains(why), "{error}");
    }
}

#[test]
fn a_line_that_does_not_come_about_ends_the_script_there() {
    for (step, why) in [
        ("propose 1", "cannot happen"),
        ("propose 4", "no server 4"),
        ("deliver 3->1", "nothing to read"),
        ("notice 1 3", "no cut link"),
        ("expect looking 1", "server 1 is not"),
        ("expect state 1 = 1:1", "server 1 has nothing"),
        ("propose 3\ndeliver 3->1 COMMIT", "PROPOSAL 1:1"),
        ("crash 3\ndemand serving 3", "server 3 is not"),
    ] {
        let told = play(&format!("ensemble 1 2 3 leader=3\n{step}\nexpect looking 2"), Judge::All);
        let told = told.expect("it reads");
        assert!(matches!(&told.end, End::Unmet(found) if found.contains(why)), "{}", told.transcript);
    }
}
