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

/// The Apache ZooKeeper that ours is measured beside, and the package of Python's index whose jars hold it.
const APACHE: &str = "3.9.5";
const PYSPARK: &str = "4.3.0";

/// What it needs of the jars there, by the beginnings of their names.
const APACHE_JARS: &[&str] =
    &["zookeeper", "slf4j-api", "log4j-", "metrics-core", "snappy-java", "netty-", "audience-annotations"];

/// The Curator among those jars, and what it needs of them besides.
const CURATOR: &str = "5.9.0";
const CURATOR_JARS: &[&str] = &["curator-", "guava-", "failureaccess-"];

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

/// Apache ZooKeeper, to stand beside ours.
#[derive(Debug)]
pub(crate) struct Apache {
    /// With its version.
    pub(crate) name: String,
    /// As `java -cp` takes it.
    pub(crate) classpath: String,
}

/// The newest Apache ZooKeeper that can be had: the one in pyspark's jars, else Debian's.
pub(crate) fn apache() -> Result<Apache> {
    debian(&[("default-jre-headless", "/usr/bin/java")])?;
    match newest_apache() {
        Ok(jars) => {
            let jars = jars.to_str().context("the cache folder has no plain name")?;
            Ok(Apache { name: format!("Apache ZooKeeper {APACHE}"), classpath: format!("{jars}/*") })
        }
        Err(error) => {
            eprintln!("Apache ZooKeeper {APACHE} cannot be had, Debian's takes its place: {error:#}");
            let jar = "/usr/share/java/zookeeper.jar";
            debian(&[("libzookeeper-java", jar)])?;
            let version = Path::new(jar).canonicalize()?;
            let version = version.file_stem().and_then(|name| name.to_str()).unwrap_or("zookeeper");
            Ok(Apache { name: version.replace("zookeeper-", "Apache ZooKeeper "), classpath: jar.to_owned() })
        }
    }
}

/// Two versions of Apache ZooKeeper, Debian's and the newest, each with the logger that tells what it does:
/// `VERSION=CLASSPATH`.
pub(crate) fn apaches() -> Result<[String; 2]> {
    let jars = [
        ("libzookeeper-java", "/usr/share/java/zookeeper.jar"),
        ("libslf4j-java", "/usr/share/java/slf4j-log4j12.jar"),
        ("liblog4j1.2-java", "/usr/share/java/log4j-1.2.jar"),
    ];
    debian(&[("default-jre-headless", "/usr/bin/java")])?;
    debian(&jars)?;
    let version = Call::new("dpkg-query", &["-W", "-f", "${Version}", jars[0].0]).output()?;
    let version = version.split('-').next().unwrap_or_default();
    let newest = newest_apache()?;
    let newest = newest.to_str().context("the cache folder has no plain name")?;
    let classpath = jars.map(|(_, jar)| jar).join(":");
    Ok([format!("{version}={classpath}"), format!("{APACHE}={newest}/*")])
}

/// The newest Apache ZooKeeper that is judged: `VERSION=CLASSPATH`.
pub(crate) fn newest() -> Result<String> {
    debian(&[("default-jre-headless", "/usr/bin/java")])?;
    let jars = newest_apache()?;
    Ok(format!("{APACHE}={}/*", jars.to_str().context("the cache folder has no plain name")?))
}

/// The folder with the jars of Apache ZooKeeper and what they need.
fn newest_apache() -> Result<PathBuf> {
    pysparks(&format!("zookeeper-{APACHE}"), APACHE_JARS, &format!("zookeeper-{APACHE}.jar"))
}

/// A folder of the cache with those of pyspark's jars whose names begin so, `proof` among them.
fn pysparks(folder: &str, jars: &[&str], proof: &str) -> Result<PathBuf> {
    let home = Path::new(CACHE).join(folder);
    if !home.exists() {
        let fresh = Path::new(CACHE).join(format!("{folder}.new"));
        if fresh.exists() {
            fs::remove_dir_all(&fresh)?;
        }
        fs::create_dir_all(&fresh)?;
        let folder = fresh.to_str().context("the cache folder has no plain name")?;
        let package = format!("pyspark=={PYSPARK}");
        let download = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"];
        Call::new("python3", &download)
            .args(["--no-binary", ":all:", "--dest", folder, &package])
            .within(PATIENCE)
            .call()?;
        let archive = format!("{folder}/pyspark-{PYSPARK}.tar.gz");
        let unpack = ["-xzf", &archive, "-C", folder, "--strip-components=3", "--wildcards"];
        let jars = jars.iter().map(|name| format!("*/deps/jars/{name}*.jar"));
        Call::new("tar", &unpack).args(jars).call()?;
        fs::remove_file(archive)?;
        ensure!(fresh.join(proof).exists(), "pyspark {PYSPARK} does not hold {proof}");
        // In place only once it is whole.
        fs::rename(&fresh, &home)?;
    }
    Ok(home.canonicalize()?)
}

/// Where downloads are kept.
pub(crate) fn cache() -> Result<String> {
    fs::create_dir_all(CACHE)?;
    let cache = Path::new(CACHE).canonicalize()?;
    Ok(cache.to_str().context("the cache folder has no plain name")?.to_owned())
}

/// Java's compiler.
pub(crate) fn javac() -> Result<()> {
    debian(&[("default-jdk-headless", "/usr/bin/javac")])
}

/// Two versions of Curator, the one in pyspark's jars and Debian's: `VERSION=CLASSPATH`.
pub(crate) fn curators() -> Result<[String; 2]> {
    let newest =
        pysparks(&format!("curator-{CURATOR}"), CURATOR_JARS, &format!("curator-recipes-{CURATOR}.jar"))?;
    let newest = newest.to_str().context("the cache folder has no plain name")?;
    let jars = [
        ("libcurator-client-java", "/usr/share/java/curator-client.jar"),
        ("libcurator-framework-java", "/usr/share/java/curator-framework.jar"),
        ("libcurator-recipes-java", "/usr/share/java/curator-recipes.jar"),
        ("libguava-java", "/usr/share/java/guava.jar"),
    ];
    debian(&jars)?;
    let version = Call::new("dpkg-query", &["-W", "-f", "${Version}", jars[0].0]).output()?;
    let version = version.split('-').next().unwrap_or_default();
    let classpath = jars.map(|(_, jar)| jar).join(":");
    Ok([format!("{CURATOR}={newest}/*"), format!("{version}={classpath}")])
}

/// The C client, with threads and without, and a compiler.
pub(crate) fn c_client() -> Result<()> {
    let single = format!("/usr/lib/{}-linux-gnu/libzookeeper_st.so.2", std::env::consts::ARCH);
    debian(&[
        ("gcc", "/usr/bin/gcc"),
        ("libc6-dev", "/usr/include/stdio.h"),
        ("libzookeeper-mt-dev", "/usr/include/zookeeper/zookeeper.h"),
        ("libzookeeper-st2", &single),
    ])
}

/// Node and its package manager.
pub(crate) fn node() -> Result<()> {
    let there = |program| Call::new(program, &["--version"]).succeeds();
    if there("node") && there("npm") { Ok(()) } else { apt(&["nodejs", "npm"]) }
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
