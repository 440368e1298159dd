//! Where results, errors and events are written.

use std::{
    io::{ErrorKind, Write},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Sender, SyncSender, TrySendError},
    },
};

use client::{Connection, Notice};
use jiff::tz::TimeZone;
use serde_json::json;

use crate::{
    command::Command,
    execute::Trouble,
    json,
    parse::Problem,
    shown::Shown,
    text::{self, Lines},
};

/// Both outputs of the process, and what events become.
#[derive(Debug)]
pub(crate) struct Screen {
    json: bool,
    zone: TimeZone,
    /// Whether events are printed.
    print_watches: AtomicBool,
    /// Nobody reads any more.
    broken: AtomicBool,
    /// What was to be read could not be written.
    lost: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    now: Connection,
    /// Whether the session had a server before.
    greeted: bool,
    /// Who takes events at the moment.
    route: Route,
}

/// Who takes events.
#[derive(Debug)]
enum Route {
    /// Standard output.
    Direct,
    /// The line that is being edited, which makes room for them.
    Editor(SyncSender<String>),
    /// `watch`.
    Tail(Sender<Notice>),
}

impl Screen {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            json,
            zone: TimeZone::system(),
            print_watches: AtomicBool::new(true),
            broken: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            state: Mutex::new(State { now: Connection::Connecting, greeted: false, route: Route::Direct }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody reads the output any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Whether a result could not be written, though somebody may read it.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Whether events are printed.
    pub(crate) fn prints_watches(&self) -> bool {
        self.print_watches.load(Ordering::Relaxed)
    }

    pub(crate) fn print_watches(&self, on: bool) {
        self.print_watches.store(on, Ordering::Relaxed);
    }

    /// Events go to the line that is being edited, until [`Self::directly`].
    pub(crate) fn through_editor(&self, editor: SyncSender<String>) {
        self.state().route = Route::Editor(editor);
    }

    /// Events go to `watch`, until [`Self::directly`].
    pub(crate) fn through_tail(&self, tail: Sender<Notice>) {
        self.state().route = Route::Tail(tail);
    }

    /// Events go to standard output.
    pub(crate) fn directly(&self) {
        self.state().route = Route::Direct;
    }

    /// Another session begins.
    pub(crate) fn greet(&self) {
        let mut state = self.state();
        (state.now, state.greeted) = (Connection::Connecting, false);
    }

    /// Takes what a client tells.
    pub(crate) fn notice(&self, notice: Notice) {
        let mut state = self.state();
        if let Notice::Connection(connection) = notice {
            let first = connection.is_up() && !state.greeted;
            state.greeted |= first;
            state.now = connection;
            // That there is a session is told by what comes of it; only later changes are news.
            if first {
                return;
            }
        }
        let text = self.event_text(&notice, state.now);
        match &state.route {
            // Whoever no longer listens has ended.
            Route::Tail(tail) => drop(tail.send(notice)),
            Route::Editor(_) | Route::Direct if !self.prints_watches() => {}
            Route::Editor(editor) => match editor.try_send(text) {
                Ok(()) => {}
                Err(TrySendError::Full(text) | TrySendError::Disconnected(text)) => self.write_out(&text),
            },
            Route::Direct => self.write_out(&text),
        }
    }

    fn event_text(&self, notice: &Notice, now: Connection) -> String {
        if self.json { format!("{}\n", json::event(notice, now)) } else { text::watcher(notice, now) }
    }

    /// One event of `watch`.
    pub(crate) fn tail(&self, notice: &Notice) {
        let now = self.state().now;
        let line = if self.json { format!("{}\n", json::event(notice, now)) } else { text::tail(notice) };
        self.write_out(&line);
    }

    /// Shows a result.
    pub(crate) fn show(&self, shown: &Shown) {
        if let Shown::Aside(text) = shown {
            return self.aside(text);
        }
        let Lines { out, err } = if self.json {
            match json::value(shown) {
                Some(value) => Lines { out: format!("{value}\n"), ..Lines::default() },
                None => text::lines(shown, &self.zone),
            }
        } else {
            text::lines(shown, &self.zone)
        };
        self.write_out(&out);
        write_err(&err);
    }

    /// Tells why a command did not do what it should.
    pub(crate) fn trouble(&self, trouble: &Trouble, command: &Command) {
        let lines = match (trouble, self.json) {
            (Trouble::Failed(failed), true) => format!("{}\n", failed.value(command)),
            (Trouble::Refused(message), true) => {
                format!("{}\n", json!({"error": "Refused", "message": message}))
            }
            (Trouble::NotConnected, true) => {
                format!(
                    "{}\n",
                    json!({"error": "NotConnected", "message": NOT_CONNECTED, "advice": CONNECTS})
                )
            }
            (Trouble::NotConnected, false) => message_and_advice(NOT_CONNECTED, Some(CONNECTS.to_owned())),
            (Trouble::Failed(failed), false) => message_and_advice(&failed.message(), failed.advice(command)),
            (Trouble::Refused(message), false) => format!("{message}\n"),
        };
        write_err(&lines);
    }

    /// Tells why words are no command.
    pub(crate) fn problem(&self, problem: &Problem) {
        let Problem { message, advice } = problem;
        write_err(&if self.json {
            format!("{}\n", json!({"error": "Usage", "message": message, "advice": advice}))
        } else {
            message_and_advice(message, advice.clone())
        });
    }

    /// Something on the side.
    pub(crate) fn aside(&self, text: &str) {
        write_err(&if self.json { format!("{}\n", json!({"note": text})) } else { format!("{text}\n") });
    }

    fn write_out(&self, text: &str) {
        if text.is_empty() {
            return;
        }
        let mut out = std::io::stdout().lock();
        if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            if error.kind() != ErrorKind::BrokenPipe {
                write_err(&format!("cannot write the result: {error}\n"));
                self.lost.store(true, Ordering::Relaxed);
            }
            self.broken.store(true, Ordering::Relaxed);
        }
    }
}

/// What is said where there is no session, as ZooKeeper says it, and what to do then.
const NOT_CONNECTED: &str = "Not connected";
const CONNECTS: &str = "`connect` starts a session";

fn message_and_advice(message: &str, advice: Option<String>) -> String {
    match advice {
        Some(advice) => format!("{message}\n  {advice}\n"),
        None => format!("{message}\n"),
    }
}

fn write_err(text: &str) {
    // There is nowhere left to tell of it.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
