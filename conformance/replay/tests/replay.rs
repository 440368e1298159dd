//! A small search, all of whose steps are taken by a server; and the disk that is watched.

use std::{thread, time::Duration};

use checker::{
    peer::{self, Peer},
    session::{Bounds, Deed, Session},
    zab::{self, Zab},
};
use replay::{
    drive,
    drive::Outcome,
    expected::Covers,
    graph::{Graph, LATE},
    oracles,
    place::Place,
    walks,
    watched::Watched,
};
use spec::{Epoch, SessionId, Zxid};
use storage::{Disk, File, RealDisk, Store};
use tree::{Tree, Txn, TxnBody};
use world::Left;

#[test]
fn a_server_takes_every_step_of_a_small_search() -> anyhow::Result<()> {
    let deeds = vec![Deed::Sync];
    let mut graph = Graph::default();
    graph.add(&Session::new(Bounds {
        first: deeds.clone(),
        second: deeds,
        moves: 0,
        ..Bounds::default()
    }))?;
    let taken = all_walks(&graph, 15)?;
    assert!(taken.len() > 100 && taken.iter().all(|taken| *taken));
    Ok(())
}

#[test]
fn a_server_with_a_slow_disk_comes_to_serve_as_the_model_says() -> anyhow::Result<()> {
    let mut graph = Graph::default();
    graph.add_peers(&Peer::new(peer::Bounds {
        servers: 2,
        eager: false,
        looks: 2,
        connections: 0,
        writes: 0,
        ..peer::Bounds::default()
    }))?;
    let taken = all_walks(&graph, 14)?;
    assert!(taken.len() > 20 && taken.iter().all(|taken| *taken), "{} steps", taken.len());
    Ok(())
}

#[test]
fn a_server_takes_the_steps_of_one_whose_leader_an_oracle_names() -> anyhow::Result<()> {
    let mut graph = Graph::default();
    // The first voter decides with any other one; a break brings a learner back, with a link that is not missed yet.
    let bounds = zab::Bounds {
        groups: vec![vec![2, 1, 1]],
        elections: 1,
        timeouts: 0,
        breaks: 1,
        window: 0,
        ..zab::Bounds::default()
    };
    let parts = oracles::add(&mut graph, &Zab::new(bounds))?;
    let late = parts.iter().filter(|part| **part == Err(LATE)).count();
    let taken = parts.iter().filter(|part| part.is_ok()).count();
    assert_eq!(late + taken, parts.len());
    assert!(taken > 2 * late && late > 0, "{taken} of {} steps", parts.len());
    let taken = all_walks(&graph, 12)?;
    assert!(taken.len() > 100 && taken.iter().all(|taken| *taken), "{} steps", taken.len());
    Ok(())
}

/// Which steps were taken as the model says.
fn all_walks(graph: &Graph, worker: u8) -> anyhow::Result<Vec<bool>> {
    let mut reached = vec![false; graph.edges.len()];
    let planned = walks::cover(graph, &mut reached);
    let left = reached.iter().filter(|reached| !**reached).count();
    assert_eq!(left, 0, "some steps cannot be reached");
    assert!(walks::cover(graph, &mut reached).is_empty(), "all is taken");
    let folder = tempfile::tempdir()?;
    let place = Place::new(folder.path(), worker)?;
    let mut taken = vec![false; graph.edges.len()];
    for (number, walk) in planned.iter().enumerate() {
        let outcomes = drive::run(graph, walk, &place)
            .map_err(|(step, why)| why.context(format!("walk {number}, step {step}")))?;
        for (edge, outcome) in walk.steps.iter().zip(outcomes) {
            taken[*edge as usize] |= outcome == Outcome::Same;
        }
    }
    Ok(taken)
}

#[test]
fn a_start_reads_what_stands_before_the_first_torn_record() -> anyhow::Result<()> {
    let record = |counter| {
        let body = TxnBody::Error { code: -101 };
        let txn = Txn { session: SessionId(7), cxid: 1, time: 5, body, digest: None };
        Some((Zxid::new(Epoch(1), counter), txn))
    };
    let later = |counter| record(counter).map(|(_, txn)| (Zxid::new(Epoch(2), counter), txn));
    let folder = tempfile::tempdir()?;
    let place = Place::new(folder.path(), 13)?;
    for (log, last) in [
        (vec![record(1), record(2), record(3)], 3),
        (vec![record(1), None, record(3)], 1),
        (vec![record(1), record(2), None, None, record(5)], 2),
        // What is torn was of an epoch before.
        (vec![record(1), None, None, later(1)], 1),
        (vec![record(1), None, None, later(2)], 1),
    ] {
        let snapshot = Some((Zxid::ZERO, std::sync::Arc::new(Tree::default())));
        place.restore(&Left { snapshot, log, accepted: Epoch(2), current: Epoch(1) })?;
        let found = Store::open(RealDisk::default(), storage::Config::new(place.data()))?.recover()?;
        assert_eq!(found.recovered.last, Zxid::new(Epoch(1), last));
        assert_eq!((found.recovered.accepted, found.recovered.current), (Epoch(2), Epoch(1)));
    }
    Ok(())
}

#[test]
fn what_is_written_is_not_synced_until_it_is() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let disk = Watched::new(RealDisk::default());
    let path = folder.path().join("log.1");
    let file = disk.create(&path)?;
    file.write_at(b"one", 0)?;
    assert!(disk.unsynced(Covers::Batch).is_some_and(|why| why.contains("written")));
    assert_eq!(disk.unsynced(Covers::Current), None);
    file.sync()?;
    assert!(disk.unsynced(Covers::Batch).is_some_and(|why| why.contains("folder")));
    disk.sync_dir(folder.path())?;
    assert_eq!(disk.unsynced(Covers::Batch), None);
    disk.rename(&path, &folder.path().join("log.2"))?;
    assert!(disk.unsynced(Covers::Batch).is_some());
    disk.sync_dir(folder.path())?;
    assert_eq!(disk.unsynced(Covers::Batch), None);
    disk.doubt(folder.path())?;
    assert!(disk.unsynced(Covers::Batch).is_some_and(|why| why.contains("written")));
    disk.open_write(&folder.path().join("log.2"))?.sync()?;
    assert_eq!(disk.unsynced(Covers::Batch), None);
    Ok(())
}

#[test]
fn no_sync_ends_while_the_disk_is_held() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let disk = Watched::new(RealDisk::default());
    let file = disk.create(&folder.path().join("log.1"))?;
    disk.hold(true);
    let log = thread::Builder::new().name("log".to_owned()).spawn(move || file.sync())?;
    while !disk.is_waiting(Covers::Batch) {
        thread::sleep(Duration::from_millis(1));
    }
    assert!(!disk.is_waiting(Covers::Accepted) && !log.is_finished());
    disk.hold(false);
    log.join().expect("no panic")?;

    Ok(())
}
