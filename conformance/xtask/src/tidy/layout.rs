//! Where things lie, and how long a file gets.

use super::Fault;

/// The folders that hold sources.
pub(super) const FLOORS: &[&str] = &["spec", "model", "impl", "conformance"];

/// The other entries at the top. Dot files and dot folders are free.
const TOP: &[&str] = &["Cargo.toml", "Cargo.lock", "README.md", "CHANGELOG.md", "LICENSE"];

/// What running leaves behind; not part of the project.
const LEFTOVERS: &[&str] = &["target", "zabkeeper-data"];

/// A file beyond this many lines has more than one subject.
const LINES_MAX: usize = 900;

/// Entries that do not belong at the top, and those that are missing there.
pub(super) fn check_top(entries: &[String]) -> Vec<Fault> {
    let known = |name: &str| {
        name.starts_with('.') || [FLOORS, TOP, LEFTOVERS].iter().any(|list| list.contains(&name))
    };
    let strays = entries.iter().filter(|name| !known(name));
    let missing = FLOORS.iter().chain(TOP).filter(|name| !entries.iter().any(|entry| entry == *name));
    strays
        .map(|name| Fault::new(name, "does not belong at the top"))
        .chain(missing.map(|name| Fault::new(*name, "is missing")))
        .collect()
}

/// A file that is too long.
pub(super) fn check_length(path: &str, text: &str) -> Option<Fault> {
    let lines = text.lines().count();
    (lines > LINES_MAX)
        .then(|| Fault::new(path, format!("{lines} lines; a file has one subject, and {LINES_MAX} at most")))
}

/// A manifest that leaves the lints of the workspace.
pub(super) fn check_manifest(path: &str, text: &str) -> Option<Fault> {
    let lints = text
        .split("\n[")
        .any(|section| section.starts_with("lints]") && section.contains("workspace = true"));
    (!lints).then(|| Fault::new(path, "does not take the lints of the workspace"))
}

/// The sources of programs whose tests are not built: `test = false` stands in their section of the manifest, for what
/// they do stands in a library, and to link a program twice takes the gate a minute.
pub(super) fn untested_programs(manifest: &str) -> Vec<&str> {
    let untested =
        |section: &&str| section.starts_with("[bin]]") && section.lines().any(|line| line == "test = false");
    manifest
        .split("\n[")
        .filter(untested)
        .filter_map(|section| {
            section.lines().find_map(|line| line.strip_prefix("path = \"")?.strip_suffix('"'))
        })
        .collect()
}

/// A program whose tests are not built, and that has some, or has modules which could have.
pub(super) fn check_untested(path: &str, text: &str) -> Option<Fault> {
    let has = text.lines().any(|line| line.starts_with("mod ") || line.trim() == "#[cfg(test)]");
    has.then(|| {
        Fault::new(path, "its manifest has `test = false`: modules and tests belong into its library")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(extra: &[&str], without: &str) -> Vec<String> {
        let all = [FLOORS, TOP, extra].concat();
        all.into_iter().filter(|name| *name != without).map(str::to_owned).collect()
    }

    #[test]
    fn strays_at_the_top_are_faults_and_dot_files_are_not() {
        assert!(check_top(&top(&[".ci", "target"], "")).is_empty());
        assert_eq!(
            check_top(&top(&["notes.txt"], "")),
            [Fault::new("notes.txt", "does not belong at the top")]
        );
        assert_eq!(check_top(&top(&[], "LICENSE")), [Fault::new("LICENSE", "is missing")]);
    }

    #[test]
    fn a_long_file_is_a_fault() {
        assert!(check_length("a.rs", &"\n".repeat(LINES_MAX)).is_none());
        assert!(check_length("a.rs", &"\n".repeat(LINES_MAX + 1)).is_some());
    }

    #[test]
    fn a_program_whose_tests_are_not_built_has_none() {
        let manifest = "[package]\n\n[[bin]]\nname = \"a\"\npath = \"src/main.rs\"\ntest = false\n\n[[bin]]\n\
            name = \"b\"\npath = \"src/bin/b.rs\"\n\n[lints]\nworkspace = true\n";
        assert_eq!(untested_programs(manifest), ["src/main.rs"]);
        assert!(check_untested("main.rs", "use a::run;\n\nfn main() {}\n").is_none());
        assert!(check_untested("main.rs", "mod parts;\n\nfn main() {}\n").is_some());
        assert!(check_untested("main.rs", "fn main() {}\n\n#[cfg(test)]\nmod tests {}\n").is_some());
    }

    #[test]
    fn a_manifest_takes_the_lints_of_the_workspace() {
        assert!(
            check_manifest("Cargo.toml", "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n").is_none()
        );
        assert!(check_manifest("Cargo.toml", "[package]\nversion.workspace = true\n").is_some());
        assert!(check_manifest("Cargo.toml", "[package]\n[lints]\n[x]\nworkspace = true\n").is_some());
    }
}
