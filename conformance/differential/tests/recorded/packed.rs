//! Snapshots of Apache ZooKeeper in each of the ways that it packs them in.

use anyhow::{Context, Result, ensure};
use differential::{FileRecording, V3_8, V3_9, golden, unhex};
use spec::Machine;
use storage::{Config, RealDisk, Recovery, Store};

#[test]
fn packed_snapshots_hold_what_the_plain_one_holds() -> Result<()> {
    for version in [V3_8, V3_9] {
        let files = golden::<FileRecording>(version, "packed")?.files;
        let opened: Vec<Recovery> =
            files.iter().map(|file| open(&file.file, &unhex(&file.hex)?)).collect::<Result<_>>()?;
        let ends: Vec<_> =
            files.iter().map(|file| file.file.rsplit('.').next().unwrap_or_default()).collect();
        ensure!(matches!(ends[..], [_, "gz", "snappy"]), "{version}: {ends:?}");
        let [plain, packed @ ..] = &opened[..] else { anyhow::bail!("nothing is recorded") };
        for recovery in packed {
            ensure!(recovery.tree == plain.tree, "{version}: the trees differ");
            ensure!(recovery.recovered == plain.recovered, "{version}: {:?}", recovery.recovered);
        }
        let tree = &plain.tree;
        ensure!(tree.data("/even").flatten().is_some_and(|data| data.len() > 32 << 10), "it is one block");
        ensure!(tree.ephemeral_count() == 1 && tree.sessions().len() == 1, "it is too simple");
    }
    Ok(())
}

#[test]
fn no_beginning_of_a_packed_snapshot_is_taken_for_one() -> Result<()> {
    for version in [V3_8, V3_9] {
        for file in golden::<FileRecording>(version, "packed")?.files {
            let bytes = unhex(&file.hex)?;
            let mut cuts: Vec<usize> = (0..bytes.len()).step_by(1 + bytes.len() / 40).collect();
            cuts.push(bytes.len() - 1);
            for cut in cuts {
                let error = open(&file.file, &bytes[..cut]).err().context("it opened")?.to_string();
                ensure!(error.contains("lacks its end, and there is nothing else"), "cut at {cut}: {error}");
            }
        }
    }
    Ok(())
}

/// Starts on a folder with this snapshot alone.
fn open(name: &str, bytes: &[u8]) -> Result<Recovery> {
    let dir = tempfile::tempdir()?;
    let version = dir.path().join("version-2");
    std::fs::create_dir(&version)?;
    std::fs::write(version.join(name), bytes)?;
    for epoch in ["acceptedEpoch", "currentEpoch"] {
        std::fs::write(version.join(epoch), "1")?;
    }
    let store = Store::open(RealDisk::default(), Config::new(dir.path().into()))?;
    Ok(store.recover()?)
}
