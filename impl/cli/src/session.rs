//! The session that commands use, and signals that reach it.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use client::{Client, Connection, Options};
use tokio::{
    runtime::Builder,
    signal::unix::{Signal, SignalKind, signal},
};

use crate::screen::Screen;

/// The session of now, if there is one.
#[derive(Debug)]
pub(crate) struct Session {
    screen: Arc<Screen>,
    client: Mutex<Option<Arc<Client>>>,
    interrupted: AtomicBool,
    /// A signal ends the process, with a code of its own.
    dying: AtomicBool,
}

/// What Ctrl-C does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum OnInterrupt {
    /// It closes the session and ends the process.
    End,
    /// It ends what is under way.
    Stop,
}

impl Session {
    pub(crate) fn new(screen: Arc<Screen>) -> Self {
        Self {
            screen,
            client: Mutex::new(None),
            interrupted: AtomicBool::new(false),
            dying: AtomicBool::new(false),
        }
    }

    /// Closes the session of before, and starts one.
    pub(crate) fn start(&self, wish: &Options) {
        self.end();
        self.screen.greet();
        let screen = Arc::clone(&self.screen);
        let client = Client::start(wish.clone(), move |notice| screen.notice(notice));
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(client));
    }

    /// The client, also one whose session is over.
    pub(crate) fn client(&self) -> Option<Arc<Client>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How it stands to its servers.
    pub(crate) fn connection(&self) -> Connection {
        self.client().map_or(Connection::Closed, |client| client.connection())
    }

    /// Closes the session, if there is one.
    pub(crate) fn end(&self) {
        if let Some(client) = self.client() {
            client.close();
        }
    }

    /// Whether Ctrl-C came since [`Self::begin`].
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Whether a signal is ending the process: what fails by that is no news.
    pub(crate) fn is_dying(&self) -> bool {
        self.dying.load(Ordering::Relaxed)
    }

    /// A command begins.
    pub(crate) fn begin(&self) {
        self.interrupted.store(false, Ordering::Relaxed);
        if let Some(client) = self.client() {
            client.resume();
        }
    }

    /// Takes signals from now on, on a thread of its own: what must be closed is closed, whatever the main thread waits
    /// for.
    pub(crate) fn take_signals(self: &Arc<Self>, on_interrupt: OnInterrupt) {
        let taken = Builder::new_current_thread().enable_io().build().and_then(|runtime| {
            let guard = runtime.enter();
            let signals = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
            drop(guard);
            Ok((runtime, signals))
        });
        match taken {
            Ok((runtime, (interrupt, terminate))) => {
                let session = Arc::clone(self);
                std::thread::spawn(move || {
                    runtime.block_on(session.signals(interrupt, terminate, on_interrupt));
                });
            }
            Err(error) => {
                let text = format!(
                    "signals cannot be taken: {error}; they end this at once, the session with its timeout"
                );
                self.screen.aside(&text);
            }
        }
    }

    async fn signals(&self, mut interrupt: Signal, mut terminate: Signal, on_interrupt: OnInterrupt) {
        loop {
            tokio::select! {
                _ = interrupt.recv() => match on_interrupt {
                    OnInterrupt::End => self.die(130),
                    OnInterrupt::Stop => {
                        self.interrupted.store(true, Ordering::Relaxed);
                        if let Some(client) = self.client() {
                            client.interrupt();
                        }
                    }
                },
                _ = terminate.recv() => self.die(143),
            }
        }
    }

    fn die(&self, code: i32) {
        self.dying.store(true, Ordering::Relaxed);
        self.screen.print_watches(false);
        self.end();
        std::process::exit(code);
    }
}
