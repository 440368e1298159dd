//! A server that is killed at a chosen step of its work on disk: `fused-server ZOO.CFG [STEP]`.
//!
//! A step is two changes that one thread makes to the disk one behind the other, such as `sync spare.log > rename
//! spare.log`. The process aborts between the two when it comes to STEP for the first time: what was written stays, as
//! with any kill. Each step is told on standard error when it is met first, so that a judge can go through all of them.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    env, io,
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use server::Config;
use storage::{Disk, File, RealDisk};

thread_local! {
    /// The last change that this thread has made.
    static LAST: RefCell<String> = RefCell::new("start".to_owned());
}

/// What ends the process.
#[derive(Debug)]
struct Fuse {
    step: Option<String>,
    met: Mutex<BTreeSet<String>>,
}

impl Fuse {
    /// Told before each change.
    fn before(&self, change: &str, path: &Path) {
        let change = format!("{change} {}", kind(path));
        let step = LAST.with_borrow_mut(|last| {
            let step = format!("{last} > {change}");
            *last = change;
            step
        });
        if self.step.as_ref() == Some(&step) {
            eprintln!("dies at: {step}");
            std::process::abort();
        }
        if self.met.lock().unwrap_or_else(PoisonError::into_inner).insert(step.clone()) {
            eprintln!("step: {step}");
        }
    }
}

/// A file's name without its number.
fn kind(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match name.split_once('.') {
        Some((kind @ ("log" | "snapshot" | "received"), _)) => format!("{kind}.N"),
        _ => name.into_owned(),
    }
}

/// The system's disk behind a fuse.
#[derive(Clone, Debug)]
struct FusedDisk {
    disk: RealDisk,
    fuse: Arc<Fuse>,
}

/// A file of it.
#[derive(Debug)]
struct FusedFile {
    file: <RealDisk as Disk>::File,
    path: Box<Path>,
    fuse: Arc<Fuse>,
}

impl FusedDisk {
    fn wrap(&self, path: &Path, file: <RealDisk as Disk>::File) -> FusedFile {
        FusedFile { file, path: path.into(), fuse: Arc::clone(&self.fuse) }
    }
}

impl Disk for FusedDisk {
    type File = FusedFile;
    type Lock = <RealDisk as Disk>::Lock;

    fn open(&self, path: &Path) -> io::Result<FusedFile> {
        Ok(self.wrap(path, self.disk.open(path)?))
    }

    fn open_write(&self, path: &Path) -> io::Result<FusedFile> {
        Ok(self.wrap(path, self.disk.open_write(path)?))
    }

    fn create(&self, path: &Path) -> io::Result<FusedFile> {
        self.fuse.before("create", path);
        Ok(self.wrap(path, self.disk.create(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fuse.before("rename", from);
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.fuse.before("remove", path);
        self.disk.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.fuse.before("sync folder", dir);
        self.disk.sync_dir(dir)
    }

    fn lock(&self, dir: &Path) -> io::Result<Option<Self::Lock>> {
        self.disk.lock(dir)
    }
}

impl File for FusedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let what = if bytes.iter().all(|byte| *byte == 0) { "zero" } else { "write" };
        self.fuse.before(what, &self.path);
        self.file.write_at(bytes, offset)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.fuse.before("shorten", &self.path);
        self.file.set_len(length)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn sync(&self) -> io::Result<()> {
        self.fuse.before("sync", &self.path);
        self.file.sync()
    }
}

fn main() -> Result<ExitCode> {
    let mut arguments = env::args().skip(1);
    let config = arguments.next().context("usage: fused-server ZOO.CFG [STEP]")?;
    let fuse = Fuse { step: arguments.next(), met: Mutex::default() };
    let log = server::logging::init()?;
    let config = Config::load(Path::new(&config))?;
    let disk = FusedDisk { disk: RealDisk::default(), fuse: Arc::new(fuse) };
    let code = server::run(config, disk, Some(log), std::future::pending())?;
    Ok(ExitCode::from(code as u8))
}
