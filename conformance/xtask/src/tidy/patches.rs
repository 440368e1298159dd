//! Patches: each is a flaw that a check has to catch, and one that does not apply any more shows it in nothing.

use anyhow::Result;

use super::Fault;
use crate::run::Call;

/// Whether a patch fits the sources as they are.
pub(super) fn check(path: &str) -> Result<Option<Fault>> {
    let fits = Call::new("git", &["apply", "--check", path]).quiet().verdict()?;
    Ok((!fits).then(|| Fault::new(path, "does not apply; make it anew against what it patches now")))
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_patch_of_what_is_not_there_is_a_fault() {
        let flaw = std::env::temp_dir().join(format!("zabkeeper-tidy-{}.patch", std::process::id()));
        let patch = "--- a/no-such-file\n+++ b/no-such-file\n@@ -1 +1 @@\n-one\n+two\n";
        std::fs::write(&flaw, patch).expect("a file");
        let fault = check(&flaw.to_string_lossy()).expect("git runs");
        std::fs::remove_file(&flaw).expect("it was written");
        assert!(fault.is_some_and(|fault| fault.what.contains("does not apply")));
    }
}
