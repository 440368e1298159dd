//! What the tests of stock clients need, put in place when it is missing.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::run::Call;

/// The version of kazoo that is run.
const KAZOO: &str = "2.11.0";

/// How long one installation may take.
const PATIENCE: Duration = Duration::from_mins(8);

/// Where downloads are kept, by name and version.
const CACHE: &str = ".cache";

/// The folder that holds kazoo, for `PYTHONPATH`.
pub(crate) fn kazoo() -> Result<PathBuf> {
    let home = Path::new(CACHE).join(format!("kazoo-{KAZOO}"));
    if !home.exists() {
        if !Call::new("python3", &["-m", "pip", "--version"]).succeeds() {
            apt(&["python3", "python3-pip"])?;
        }
        let fresh = Path::new(CACHE).join(format!("kazoo-{KAZOO}.new"));
        if fresh.exists() {
            fs::remove_dir_all(&fresh)?;
        }
        fs::create_dir_all(&fresh)?;
        let folder = fresh.to_str().context("the cache folder has no plain name")?;
        let package = format!("kazoo=={KAZOO}");
        let arguments =
            ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", folder, &package];
        Call::new("python3", &arguments).within(PATIENCE).call()?;
        // In place only once it is whole.
        fs::rename(&fresh, &home)?;
    }
    Ok(home.canonicalize()?)
}

/// Debian's packages, unless the files that they bring are there.
pub(crate) fn debian(packages: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&str> =
        packages.iter().filter(|(_, file)| !Path::new(file).exists()).map(|(package, _)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    apt(&missing)?;
    for (package, file) in packages {
        ensure!(Path::new(file).exists(), "Debian's {package} brought no {file}");
    }
    Ok(())
}

fn apt(packages: &[&str]) -> Result<()> {
    let root = Call::new("id", &["-u"]).output()?.trim() == "0";
    let apt = |arguments: &[&str]| {
        let call = if root { Call::new("apt-get", &[]) } else { Call::new("sudo", &["-n", "apt-get"]) };
        call.args(["-qq", "-y", "-o", "DPkg::Lock::Timeout=120"])
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .within(PATIENCE)
            .call()
    };
    let wanted = [&["install", "--no-install-recommends"], packages].concat();
    // The lists may be missing or stale: fetch them, and where that is refused try with those at hand.
    if let Err(error) = apt(&["update"]) {
        eprintln!("package lists are as they were: {error:#}");
    }
    apt(&wanted).with_context(|| format!("please install {}", packages.join(" ")))
}
