//! A small search, all of whose steps are taken by a server; and the disk that is watched.

use std::{thread, time::Duration};

use checker::session::{Bounds, Deed, Session};
use replay::{drive, drive::Outcome, expected::Covers, graph::Graph, place::Place, walks, watched::Watched};
use storage::{Disk, File, RealDisk};

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
    let (planned, left) = walks::cover(&graph);
    assert!(left.is_empty(), "{} steps cannot be reached", left.len());
    let folder = tempfile::tempdir()?;
    let place = Place::new(folder.path(), 15)?;
    let mut taken = vec![false; graph.edges.len()];
    for (number, walk) in planned.iter().enumerate() {
        let outcomes = drive::run(&graph, walk, &place)
            .map_err(|(step, why)| why.context(format!("walk {number}, step {step}")))?;
        for (edge, outcome) in walk.steps.iter().zip(outcomes) {
            taken[*edge as usize] |= outcome == Outcome::Same;
        }
    }
    assert!(taken.len() > 100 && taken.iter().all(|taken| *taken));
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
