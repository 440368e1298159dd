//! Which mutants a change has to face: one that touches the files it touches, and one more, in turn.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result};

use crate::run::Call;

/// The patches, one a mutant.
const PATCHES: &str = "model/checker/mutants";

/// How many are run besides those of the files touched.
const ROTATING: usize = 1;

/// More than this many are left to the full run: each is a build of its own.
const TOUCHED_MAX: usize = 1;

/// A mutant: its name and the files that it patches.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Mutant {
    id: String,
    files: BTreeSet<String>,
}

/// The mutants for this commit.
pub(crate) fn chosen() -> Result<Vec<String>> {
    let mutants = read(Path::new(PATCHES))?;
    Ok(choose(&mutants, &touched(), turn()))
}

/// A number that each commit has of its own: what is done in turn begins there.
pub(crate) fn turn() -> usize {
    rotation(&git(&["rev-parse", "HEAD"]).unwrap_or_default())
}

fn read(folder: &Path) -> Result<Vec<Mutant>> {
    let mut mutants = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("no mutants in {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "patch") {
            let id = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            mutants.push(Mutant { id, files: patched(&fs::read_to_string(&path)?) });
        }
    }
    mutants.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(mutants)
}

/// The files that a patch changes.
fn patched(patch: &str) -> BTreeSet<String> {
    let file = |line: &str| {
        let name = line.strip_prefix("+++ ")?.split('\t').next()?.trim();
        Some(name.strip_prefix("b/").unwrap_or(name).to_owned())
    };
    patch.lines().filter_map(file).collect()
}

/// The files that this commit, and what is not committed yet, change. A clone without history says nothing of its
/// commit; then only the rotation chooses.
fn touched() -> BTreeSet<String> {
    let base = ["origin/main", "origin/HEAD"]
        .iter()
        .find_map(|branch| git(&["merge-base", "HEAD", branch]))
        .filter(|base| git(&["rev-parse", "HEAD"]).as_ref() != Some(base))
        .or_else(|| git(&["rev-parse", "--verify", "--quiet", "HEAD~1"]))
        .unwrap_or_else(|| "HEAD".to_owned());
    git(&["diff", "--name-only", &base]).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn git(arguments: &[&str]) -> Option<String> {
    let answer = Call::new("git", arguments).quiet().output().ok()?;
    Some(answer.trim().to_owned()).filter(|answer| !answer.is_empty())
}

fn choose(mutants: &[Mutant], touched: &BTreeSet<String>, start: usize) -> Vec<String> {
    let turned = mutants.iter().cycle().skip(if mutants.is_empty() { 0 } else { start % mutants.len() });
    let turned: Vec<&Mutant> = turned.take(mutants.len()).collect();
    let (of_files, others): (Vec<&Mutant>, Vec<&Mutant>) =
        turned.into_iter().partition(|mutant| !mutant.files.is_disjoint(touched));
    of_files
        .into_iter()
        .take(TOUCHED_MAX)
        .chain(others.into_iter().take(ROTATING))
        .map(|m| m.id.clone())
        .collect()
}

/// A number from a commit's name.
fn rotation(commit: &str) -> usize {
    usize::from_str_radix(commit.get(..6).unwrap_or("0"), 16).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutant(id: &str, file: &str) -> Mutant {
        Mutant { id: id.to_owned(), files: BTreeSet::from([file.to_owned()]) }
    }

    fn catalogue() -> Vec<Mutant> {
        ["a", "b", "c", "d", "e", "f"].iter().map(|id| mutant(id, &format!("model/{id}.rs"))).collect()
    }

    #[test]
    fn a_mutant_of_touched_files_comes_first_and_another_one_in_turn() {
        let touched = BTreeSet::from(["model/e.rs".to_owned()]);
        assert_eq!(choose(&catalogue(), &touched, 0), ["e", "a"]);
        assert_eq!(choose(&catalogue(), &touched, 2), ["e", "c"]);
    }

    #[test]
    fn without_history_the_rotation_alone_chooses() {
        assert_eq!(choose(&catalogue(), &BTreeSet::new(), 0), ["a"]);
        assert!(choose(&[], &BTreeSet::new(), 0x12_3456).is_empty());
    }

    #[test]
    fn a_commit_gives_a_number_by_its_name() {
        assert_eq!(rotation("00000a77"), 10);
        assert_eq!([rotation(""), rotation("not a commit")], [0, 0]);
    }

    #[test]
    fn every_mutant_has_its_turn() {
        let turns = (0..6).flat_map(|n| choose(&catalogue(), &BTreeSet::new(), n));
        assert_eq!(turns.collect::<BTreeSet<_>>().len(), 6);
    }

    #[test]
    fn a_patch_names_its_files() {
        let patch =
            "--- a/model/protocol/src/zab.rs\n+++ b/model/protocol/src/zab.rs\t2026\n@@ -1 +1 @@\n-a\n+b\n";
        assert_eq!(patched(patch), BTreeSet::from(["model/protocol/src/zab.rs".to_owned()]));
    }
}
