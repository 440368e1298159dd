//! Commands one after the other, and what is the shell's own among them.

use std::{
    io::IsTerminal,
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, channel},
    },
    time::Duration,
};

use client::{Client, Connection, Failure, Notice, Options};
use spec::ErrorCode;
use tree::{WatchChoice, WatchMode};

use crate::{
    command::{Asked, Command},
    execute::{Trouble, at, execute},
    line, parse,
    parse::Problem,
    screen::Screen,
    session::Session,
    shown::Shown,
    verbs,
    words::Failed,
};

/// What ends well, what a server refuses, and what cannot be read.
pub(crate) const DONE: u8 = 0;
pub(crate) const FAILED: u8 = 1;
pub(crate) const USAGE: u8 = 2;

/// How many commands `history` lists beside itself.
const HISTORY: usize = 10;
/// How long the start of a session waits for a server, so that the next prompt can show one.
const GREETING: Duration = Duration::from_secs(2);
/// How long a command waits for a server without a word.
const SILENCE: Duration = Duration::from_secs(1);
/// How often `watch` looks whether it shall end.
const LOOK: Duration = Duration::from_millis(100);

/// Whether another command may follow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Next {
    Goes,
    Ends,
}

/// A shell with its session and its past.
#[derive(Debug)]
pub(crate) struct Shell {
    pub(crate) screen: Arc<Screen>,
    pub(crate) session: Arc<Session>,
    /// How a session is asked for.
    pub(crate) wish: Options,
    history: Vec<String>,
    /// The exit code that the last command deserves.
    pub(crate) code: u8,
}

impl Shell {
    pub(crate) fn new(screen: Arc<Screen>, session: Arc<Session>, wish: Options) -> Self {
        Self { screen, session, wish, history: Vec::new(), code: DONE }
    }

    /// How many commands were given.
    pub(crate) fn count(&self) -> usize {
        self.history.len()
    }

    /// Does a line that may be no text.
    pub(crate) fn bytes(&mut self, line: &[u8]) -> Next {
        let Ok(text) = str::from_utf8(line) else {
            let message = format!("no UTF-8: {}", String::from_utf8_lossy(line).trim_end());
            let advice = "`set -b` takes data as base64".to_owned();
            self.screen.problem(&Problem { message, advice: Some(advice) });
            self.code = USAGE;
            return Next::Goes;
        };
        self.line(text)
    }

    /// Does a line; an empty one is none.
    pub(crate) fn line(&mut self, line: &str) -> Next {
        let line = line.trim();
        if line.is_empty() {
            return Next::Goes;
        }
        self.history.push(line.to_owned());
        self.again(line)
    }

    fn again(&mut self, line: &str) -> Next {
        let words = line::words(line).map_err(|message| Problem { message, advice: None });
        match words.and_then(|words| parse::command(&words)) {
            Ok(asked) => self.run(asked),
            Err(problem) => {
                self.screen.problem(&problem);
                self.code = USAGE;
                Next::Goes
            }
        }
    }

    /// Does a command.
    pub(crate) fn run(&mut self, asked: Asked) -> Next {
        let Asked { command, warnings } = asked;
        for warning in &warnings {
            self.screen.aside(warning);
        }
        self.session.begin();
        let done = match &command {
            Command::Quit => return Next::Ends,
            Command::Redo(number) => return self.redo(*number),
            Command::History => {
                let from = self.history.len().saturating_sub(HISTORY + 1);
                let last = self.history.iter().enumerate().skip(from);
                self.screen.show(&Shown::History(last.map(|(at, line)| (at, listed(line))).collect()));
                Ok(())
            }
            Command::PrintWatches(None) => {
                self.screen.show(&Shown::PrintWatches(self.screen.prints_watches()));
                Ok(())
            }
            Command::PrintWatches(Some(on)) => {
                self.screen.print_watches(*on);
                Ok(())
            }
            Command::Version => {
                self.screen.show(&Shown::Version(format!("3.9.5-zabkeeper-{}", env!("CARGO_PKG_VERSION"))));
                Ok(())
            }
            Command::Help(about) => {
                let verb = about.as_deref().and_then(verbs::find);
                self.screen.show(&Shown::Text(verb.map_or_else(verbs::list, verbs::Verb::help)));
                Ok(())
            }
            Command::Connect(servers) => {
                if let Some(servers) = servers {
                    self.wish.servers = servers.clone();
                }
                self.start();
                Ok(())
            }
            Command::Close => {
                self.session.end();
                Ok(())
            }
            Command::Watch { path, mode } => {
                self.connected().and_then(|client| self.tail(&client, path, *mode))
            }
            Command::List { .. }
            | Command::Get { .. }
            | Command::Set { .. }
            | Command::Create { .. }
            | Command::Delete { .. }
            | Command::DeleteAll { .. }
            | Command::Stat { .. }
            | Command::GetAcl { .. }
            | Command::SetAcl { .. }
            | Command::AddAuth { .. }
            | Command::Sync { .. }
            | Command::AddWatch { .. }
            | Command::RemoveWatches { .. }
            | Command::ListQuota { .. }
            | Command::SetQuota { .. }
            | Command::DelQuota { .. }
            | Command::CountBelow { .. }
            | Command::Ephemerals { .. }
            | Command::WhoAmI
            | Command::Config { .. }
            | Command::Reconfig { .. } => {
                let screen = &self.screen;
                self.connected().and_then(|client| {
                    execute(&command, &client, &mut |shown| {
                        screen.show(&shown);
                        if screen.is_broken() {
                            // Nobody reads the rest.
                            client.interrupt();
                        }
                    })
                })
            }
        };
        self.code = match done {
            Ok(()) | Err(_) if self.screen.is_lost() => FAILED,
            // What nobody reads is not asked for.
            Ok(()) | Err(_) if self.screen.is_broken() => DONE,
            Ok(()) => DONE,
            Err(_) if self.session.is_dying() => FAILED,
            Err(trouble) => {
                self.tell(trouble, &command);
                FAILED
            }
        };
        if self.screen.is_broken() { Next::Ends } else { Next::Goes }
    }

    /// Starts a session in the place of the one before, and waits a moment for a server.
    pub(crate) fn start(&self) {
        self.session.start(&self.wish);
        match self.session.client().map(|client| client.ready(GREETING)) {
            Some(Err(Failure::Unreachable(why))) => self
                .screen
                .aside(&format!("no server yet: {why}; trying on, `connect HOST:PORT` tries another")),
            Some(Err(failure @ Failure::Unproved(_))) => self.screen.aside(&failure.to_string()),
            Some(Ok(()) | Err(_)) | None => {}
        }
    }

    /// The client, unless its session is over.
    fn connected(&self) -> Result<Arc<Client>, Trouble> {
        // What an expired session says of a request is more than that there is none.
        let client = self.session.client().filter(|client| client.connection() != Connection::Closed);
        let client = client.ok_or(Trouble::NotConnected)?;
        if client.connection() == Connection::Connecting
            && let Err(Failure::Unreachable(why)) = client.ready(SILENCE)
            && self.wish.timeout > SILENCE
            && client.waits()
        {
            let most = self.wish.timeout.as_millis();
            self.screen.aside(&format!(
                "no server yet: {why}; waiting for one, {most} ms at most (Ctrl-C gives up)"
            ));
        }
        Ok(client)
    }

    /// Tells why a command did not do what it should; of a missing node, whether that is because the chroot is.
    fn tell(&self, mut trouble: Trouble, command: &Command) {
        if let Trouble::Failed(failed) = &mut trouble
            && failed.failure.code() == Some(ErrorCode::NoNode)
            && let Some(client) = self.session.client()
            && client.lacks_chroot(SILENCE)
        {
            failed.missing_chroot = Some(client.servers().chroot().to_owned());
        }
        self.screen.trouble(&trouble, command);
    }

    fn redo(&mut self, number: usize) -> Next {
        // Itself is the last of the history.
        let line = self.history.get(number).filter(|_| number + 1 < self.history.len());
        let problem = match line {
            None => ("Command index out of range", Some("`history` lists the commands".to_owned())),
            Some(line) if line.split_whitespace().next() == Some("redo") => ("No redoing redos", None),
            Some(line) => {
                let line = line.clone();
                if let Some(last) = self.history.last_mut() {
                    last.clone_from(&line);
                }
                return self.again(&line);
            }
        };
        let (message, advice) = problem;
        self.screen.problem(&Problem { message: message.to_owned(), advice });
        self.code = USAGE;
        Next::Goes
    }

    /// Prints events until it is told to end.
    fn tail(&self, client: &Client, path: &str, mode: WatchMode) -> Result<(), Trouble> {
        let which = match mode {
            WatchMode::Persistent => WatchChoice::Persistent,
            WatchMode::Recursive => WatchChoice::Recursive,
        };
        let left_before = client.watches(path, which);
        let (sender, events) = channel();
        self.screen.through_tail(sender);
        let outcome = client.watch(path, mode).map_err(at(path)).and_then(|()| {
            if std::io::stderr().is_terminal() {
                let below = if mode == WatchMode::Recursive { "all below" } else { "its children" };
                self.screen.aside(&format!("watching {path} and {below}; Ctrl-C ends it"));
            }
            loop {
                if self.session.is_interrupted() || self.screen.is_broken() {
                    return Ok(());
                }
                let notice = match events.recv_timeout(LOOK) {
                    Ok(notice) => notice,
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                };
                self.screen.tail(&notice);
                if let Notice::Connection(connection) = notice
                    && connection.is_over()
                    && let Some(failure) = client.over()
                {
                    return Err(Trouble::Failed(Failed::new(failure, path)));
                }
            }
        });
        if !left_before {
            client.resume();
            // One that was not left, or that went with its session, is not there to be taken back.
            let _ = client.remove_watches(path, which, true);
        }
        self.screen.directly();
        outcome
    }
}

/// A line as `history` lists it: a proof is not for whoever looks at the screen later.
fn listed(line: &str) -> String {
    let words = line::words(line);
    // A quote that is not closed may stand before a proof.
    let mut rough = line.split(|letter: char| letter.is_whitespace() || matches!(letter, '"' | '\''));
    match words.as_deref() {
        Ok([verb, scheme, ..]) if verb == "addauth" => format!("addauth {scheme} ***"),
        Err(_) if rough.find(|word| !word.is_empty()) == Some("addauth") => "addauth ***".to_owned(),
        Ok(_) | Err(_) => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_lists_no_proof() {
        assert_eq!(listed("addauth digest 'ann:my secret'"), "addauth digest ***");
        assert_eq!(listed("set /a 'addauth digest x'"), "set /a 'addauth digest x'");
        assert_eq!(listed("addauth"), "addauth");
        assert_eq!(listed("\"addauth\" digest ann:secret"), "addauth digest ***");
        assert_eq!(listed("addauth digest 'ann:secret"), "addauth ***");
    }
}
