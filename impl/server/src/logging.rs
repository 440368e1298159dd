//! Log lines that never hold the server up.
//!
//! Lines go through a bounded queue to a thread that writes them. When the reader of the log is slow, or its pipe is
//! full, lines are dropped and counted; the server goes on. The queue is bounded in bytes too, and so is each line:
//! others choose what stands in lines, and how many there are.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tracing_subscriber::{
    EnvFilter, Layer,
    filter::filter_fn,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::excerpt::REST;

/// What may wait to be written.
const QUEUE: Room = Room { lines: 4096, bytes: 4 << 20 };
/// The same of a file for the audit log: one request may take a line for each of its parts.
const AUDIT_QUEUE: Room = Room { lines: 1 << 17, bytes: 32 << 20 };
/// The bytes of a line behind which it is cut.
const LINE_BYTES_MAX: usize = 16 << 10;
/// How long the end of the process waits for lines to be written.
const FLUSH_MAX: Duration = Duration::from_millis(200);
/// The target of lines of the audit log.
pub(crate) const TARGET: &str = "audit";

/// How much may wait in a queue: neither may be exceeded.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Lines.
    pub lines: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// The way to the log's writer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogPipe {
    lines: SyncSender<Vec<u8>>,
    bytes_max: usize,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    queued: AtomicU64,
    written: AtomicU64,
    dropped: AtomicU64,
    /// Those of lines that are not written yet.
    bytes: AtomicUsize,
}

impl LogPipe {
    /// Starts a thread that writes to `sink`, behind which so much may wait.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn to(sink: impl Write + Send + 'static, room: Room) -> io::Result<Self> {
        let (lines, queue) = sync_channel(room.lines);
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        thread::Builder::new()
            .name("log-lines".to_owned())
            .spawn(move || write_lines(queue, sink, &shared))?;
        Ok(Self { lines, bytes_max: room.bytes, counts })
    }

    /// Lines that were dropped so far.
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// Waits until what was logged is written, or a fifth of a second has passed.
    pub fn flush(&self) {
        let deadline = Instant::now() + FLUSH_MAX;
        while self.counts.written.load(Ordering::Acquire) < self.counts.queued.load(Ordering::Acquire)
            && Instant::now() < deadline
        {
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn push(&self, line: &[u8]) {
        let line = cut(line);
        let bytes = line.len();
        self.counts.queued.fetch_add(1, Ordering::AcqRel);
        let fits =
            self.counts.bytes.fetch_add(bytes, Ordering::AcqRel) <= self.bytes_max.saturating_sub(bytes);
        if !fits || self.lines.try_send(line).is_err() {
            self.counts.bytes.fetch_sub(bytes, Ordering::AcqRel);
            self.counts.queued.fetch_sub(1, Ordering::AcqRel);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The line, or its beginning, up to a whole character.
fn cut(line: &[u8]) -> Vec<u8> {
    let Some(front) = line.get(..LINE_BYTES_MAX).filter(|front| front.len() < line.len()) else {
        return line.to_vec();
    };
    let whole = front.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    format!("{whole}{REST}\n").into_bytes()
}

/// One event's writer.
#[derive(Debug)]
pub struct Line<'a>(&'a LogPipe);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogPipe {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line(self)
    }
}

fn write_lines(queue: Receiver<Vec<u8>>, mut sink: impl Write, counts: &Counts) {
    let mut told = 0;
    for line in queue {
        // A reader that is gone, or a disk that is full, is no reason to stop.
        if sink.write_all(&line).is_err() {
            counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
        let dropped = counts.dropped.load(Ordering::Relaxed);
        let missing = dropped - told;
        if missing > 0 {
            // Where the last line broke off, this one begins anew. It is tried again with the next.
            let notice =
                format!("\n{missing} log lines were dropped: they came too fast, or could not be written\n");
            if sink.write_all(notice.as_bytes()).is_ok() {
                told = dropped;
            }
        }
        let _ = sink.flush();
        counts.bytes.fetch_sub(line.len(), Ordering::AcqRel);
        counts.written.fetch_add(1, Ordering::AcqRel);
    }
}

/// Where lines go.
#[derive(Clone, Debug)]
pub struct Pipes {
    /// All of them, or all others.
    pub log: LogPipe,
    /// Those of the audit log, if it has a file of its own.
    pub audit: Option<LogPipe>,
}

impl Pipes {
    /// As [`LogPipe::flush`].
    pub fn flush(&self) {
        self.log.flush();
        if let Some(audit) = &self.audit {
            audit.flush();
        }
    }
}

/// As [`init_with`], with no file for the audit log.
///
/// # Errors
/// If no thread can be started.
pub fn init() -> io::Result<LogPipe> {
    Ok(init_with(None)?.log)
}

/// Sends everything that is traced through a pipe to standard error, and ends the process on a panic. `RUST_LOG` chooses
/// what; info and above unless it says otherwise. The audit log goes to this file, if one is given, whatever is chosen.
///
/// # Errors
/// If no thread can be started, or the file cannot be opened.
pub fn init_with(audit_file: Option<&Path>) -> io::Result<Pipes> {
    let log = LogPipe::to(io::stderr(), QUEUE)?;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let audit = audit_file.map(|path| LogPipe::to(open(path)?, AUDIT_QUEUE)).transpose()?;
    match audit.clone() {
        None => {
            tracing_subscriber::fmt()
                .with_env_filter(filter)
                .with_writer(log.clone())
                .with_ansi(false)
                .init();
        }
        Some(audit) => {
            let others = fmt::layer().with_writer(log.clone()).with_ansi(false).with_filter(filter);
            let own = fmt::layer().with_writer(audit).with_ansi(false).with_target(false);
            tracing_subscriber::registry()
                .with(others.with_filter(filter_fn(|line| line.target() != TARGET)))
                .with(own.with_filter(filter_fn(|line| line.target() == TARGET)))
                .init();
        }
    }
    let pipes = Pipes { log, audit };
    let for_panics = pipes.clone();
    std::panic::set_hook(Box::new(move |panic| {
        for_panics.log.push(format!("{panic}\n").as_bytes());
        for_panics.flush();
        // A failed assertion is a fault of ours: a server that went on without the thread would only seem to live.
        std::process::exit(1);
    }));
    Ok(pipes)
}

/// Whether lines could be put behind what is in this file, or into a new one. Makes none.
///
/// # Errors
/// If they could not.
pub fn can_append(path: &Path) -> io::Result<()> {
    match File::options().append(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            rustix::fs::access(folder.unwrap_or(Path::new(".")), rustix::fs::Access::WRITE_OK)?;
            Ok(())
        }
        outcome => outcome.map(drop),
    }
}

/// Opens a file for lines to be put behind what is there.
fn open(path: &Path) -> io::Result<File> {
    let file = File::options().append(true).create(true).open(path);
    file.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{
            Arc, Mutex,
            mpsc::{Receiver, channel},
        },
    };

    use super::{LINE_BYTES_MAX, LogPipe, QUEUE, Room, can_append};

    /// A pipe whose reader reads nothing until it is told to.
    struct Stuck {
        go: Receiver<()>,
        seen: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Stuck {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _ = self.go.recv();
            self.seen.lock().expect("unpoisoned").extend_from_slice(line);
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_file_that_lines_can_go_to_is_not_made_ahead() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("audit.log");
        can_append(&file).expect("it can be made");
        assert!(!file.exists());
        assert!(can_append(folder.path()).is_err(), "a folder takes no lines");
        assert!(can_append(&folder.path().join("nowhere/audit.log")).is_err());
    }

    #[test]
    fn a_full_pipe_drops_lines_and_says_how_many() {
        let (go, wait) = channel();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let pipe = LogPipe::to(Stuck { go: wait, seen: Arc::clone(&seen) }, QUEUE).expect("a thread");
        let lines = QUEUE.lines + 100;
        for _ in 0..lines {
            pipe.push(b"line\n");
        }
        let dropped = pipe.dropped();
        assert!((98..=100).contains(&dropped), "{dropped}");
        drop(go);
        pipe.flush();
        let text = String::from_utf8(seen.lock().expect("unpoisoned").clone()).expect("text");
        assert!(text.contains("log lines were dropped"), "{}", &text[..200]);
    }
    #[test]
    fn a_pipe_is_full_of_few_long_lines_too() {
        let (go, wait) = channel();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let room = Room { lines: 100, bytes: 4000 };
        let pipe = LogPipe::to(Stuck { go: wait, seen: Arc::clone(&seen) }, room).expect("a thread");
        let line = [&[b'x'; 999][..], b"\n"].concat();
        for _ in 0..10 {
            pipe.push(&line);
        }
        assert_eq!(pipe.dropped(), 6);
        drop(go);
        pipe.flush();
        pipe.push(b"there is room again\n");
        pipe.flush();
        let text = String::from_utf8(seen.lock().expect("unpoisoned").clone()).expect("text");
        assert_eq!(text.matches('x').count(), 4 * 999);
        assert!(
            text.contains("\n6 log lines were dropped") && text.ends_with("there is room again\n"),
            "{text}"
        );
        assert_eq!(pipe.dropped(), 6);
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_ends() {
        let (go, wait) = channel();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let pipe = LogPipe::to(Stuck { go: wait, seen: Arc::clone(&seen) }, QUEUE).expect("a thread");
        let longest = "x".repeat(LINE_BYTES_MAX - 1) + "\n";
        pipe.push(longest.as_bytes());
        pipe.push(format!("x{}\n", "é".repeat(LINE_BYTES_MAX)).as_bytes());
        drop(go);
        pipe.flush();
        let text = String::from_utf8(seen.lock().expect("unpoisoned").clone()).expect("text");
        assert_eq!(text, format!("{longest}x{}…\n", "é".repeat(LINE_BYTES_MAX / 2 - 1)));
    }
}
