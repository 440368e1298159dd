//! What people read who step through states: words, of every model.

use std::{collections::BTreeSet, fmt::Debug};

use checker::{
    election,
    engine::{Model, twin::Twin},
    peer,
    rows::{Budget, Setup},
    session, zab,
};
use stateright::{Model as _, Path};

/// So many steps are taken, each time another of those that are possible.
const STEPS: usize = 60;

/// Names of types, as they stand in what is printed for programmers.
const FOREIGN: [&str; 8] =
    [" Host {", " Peer {", " Vote {", " Client {", " Record {", " Budget {", " Link {", " Keep {"];

/// Steps through a model; all that is told on the way, and in the end the picture of it.
fn told<M: Model + Clone + Debug>(model: M) -> Vec<String> {
    let twin = Twin::new(model);
    let first = twin.init_states().remove(0);
    let (mut state, mut run) = (first.clone(), Vec::new());
    let mut told = vec![format!("{state:?}")];
    for number in 0..STEPS {
        let mut actions = Vec::new();
        twin.actions(&state, &mut actions);
        if actions.is_empty() {
            break;
        }
        let action = actions.swap_remove(number * 7 % actions.len());
        told.push(twin.format_action(&action));
        told.extend(twin.format_step(&state, action.clone()));
        state = twin.next_state(&state, action.clone()).expect("each step leads somewhere");
        run.push(action);
    }
    let path = Path::from_actions(&twin, first, &run).expect("it was just taken");
    told.push(twin.as_svg(path).expect("a run is drawn"));
    told
}

fn of_row(setup: Setup) -> Vec<String> {
    match setup {
        Setup::Zab(bounds) => told(zab::Zab::new(bounds)),
        Setup::Election(config) => told(election::Election::new(config)),
        Setup::Session(bounds) => told(session::Session::new(bounds)),
        Setup::Peer(bounds) => told(peer::Peer::new(bounds)),
    }
}

#[test]
fn every_row_is_told_in_words() {
    let mut carrying = BTreeSet::new();
    for row in Budget::Quick.rows() {
        let model = row.setup.model();
        let told = of_row(row.setup);
        assert!(told.len() > 4, "{} ends after {} texts", row.name, told.len());
        let picture = told.last().expect("it was pushed");
        let steps = picture.matches("svg-event-label").count();
        assert_eq!(steps * 2 + 2, told.len(), "{} is not drawn step by step", row.name);
        assert!(picture.contains("<circle"), "{} marks nobody", row.name);
        if picture.contains("marker-end") {
            carrying.insert(model);
        }
        for text in told {
            let foreign = FOREIGN.iter().find(|foreign| text.contains(**foreign));
            assert!(foreign.is_none(), "{} tells {foreign:?} in\n{text}", row.name);
        }
    }
    assert_eq!(carrying.len(), 4, "messages are drawn of {carrying:?} alone");
}
