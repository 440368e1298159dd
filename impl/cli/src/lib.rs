//! `zabkeeper cli`: a command line for ZooKeeper, with the verbs, flags and outputs of zkCli.sh.
//!
//! Words become a `Command` (`line`, `flags`, `parse`), commands ask a server (`execute`) and yield what is to
//! be `Shown`, which becomes text as zkCli.sh writes it (`text`, `words`) or JSON (`json`). All of that is
//! pure but the asking. `shell` holds the session and the past of a row of commands, `interactive` a person's line.

mod acl;
mod command;
mod complete;
mod execute;
mod flags;
mod interactive;
mod invocation;
mod json;
mod line;
mod parse;
mod path;
mod quota;
mod screen;
mod secure;
mod session;
mod shell;
mod shown;
mod strangers;
mod suggest;
mod text;
mod verbs;
mod words;

use std::{
    io::{BufRead, IsTerminal},
    sync::Arc,
};

use invocation::Invocation;
use screen::Screen;
use session::{OnInterrupt, Session};
use shell::{DONE, FAILED, Next, Shell, USAGE};
use shown::Shown;

pub use suggest::closest;
pub use verbs::HELP;

/// Runs what these arguments say, and returns the exit code: 0 if all is well, 1 if a server said no or was not
/// reached, 2 if a command cannot be read.
pub fn run(arguments: &[String]) -> u8 {
    let (wish, json, words, stop_on_error, notes) = match invocation::parse(arguments) {
        Ok(Invocation::Help) => {
            Screen::new(false).show(&Shown::Text(HELP.to_owned()));
            return DONE;
        }
        Ok(Invocation::Run { wish, json, words, stop_on_error, notes }) => {
            (wish, json, words, stop_on_error, notes)
        }
        Err(problem) => {
            Screen::new(false).problem(&problem);
            return USAGE;
        }
    };
    let screen = Arc::new(Screen::new(json));
    for note in &notes {
        screen.aside(note);
    }
    let session = Arc::new(Session::new(Arc::clone(&screen)));
    let mut shell = Shell::new(screen, Arc::clone(&session), *wish);
    let code = if !words.is_empty() {
        once(&mut shell, &words)
    } else if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        session.take_signals(OnInterrupt::Stop);
        interactive::run(&mut shell)
    } else {
        session.take_signals(OnInterrupt::End);
        session.start(&shell.wish);
        lines(&mut shell, std::io::stdin().lock(), stop_on_error)
    };
    while session.is_dying() {
        // The thread that took the signal ends the process.
        std::thread::park();
    }
    // What closing tells is no news to whoever ends.
    shell.screen.print_watches(false);
    session.end();
    code
}

/// One command, which is read before a server is asked for a session.
fn once(shell: &mut Shell, words: &[String]) -> u8 {
    let asked = match parse::command(words) {
        Ok(asked) => asked,
        Err(problem) => {
            shell.screen.problem(&problem);
            return USAGE;
        }
    };
    if asked.command.asks_a_server() {
        // Whoever asks one thing wants the answer to that alone.
        shell.screen.print_watches(false);
        shell.session.take_signals(OnInterrupt::End);
        shell.session.start(&shell.wish);
    }
    shell.run(asked);
    shell.code
}

/// The lines of standard input, one after the other; none behind one that failed, if that is asked for.
fn lines(shell: &mut Shell, input: impl BufRead, stop_on_error: bool) -> u8 {
    for line in input.split(b'\n') {
        match line {
            Ok(line) => {
                if shell.bytes(&line) == Next::Ends || stop_on_error && shell.code != DONE {
                    break;
                }
            }
            Err(error) => {
                shell.screen.aside(&format!("standard input cannot be read: {error}"));
                return FAILED;
            }
        }
    }
    shell.code
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_commands_all_are_done_or_none_behind_the_first_that_fails() {
        let rows = [
            ("version\nls /\n\nversion\n", false, DONE, 3),
            ("version\nls /\n\nversion\n", true, FAILED, 2),
            ("frob\nversion\n", true, USAGE, 1),
            ("version\n\nhistory\n", true, DONE, 2),
        ];
        for (input, stop_on_error, code, count) in rows {
            let Ok(Invocation::Run { wish, .. }) = invocation::parse(&[]) else {
                panic!("it asks for a shell")
            };
            let screen = Arc::new(Screen::new(false));
            // Without a session: what asks a server fails.
            let session = Arc::new(Session::new(Arc::clone(&screen)));
            let mut shell = Shell::new(screen, session, *wish);
            let ended = lines(&mut shell, input.as_bytes(), stop_on_error);
            assert_eq!((ended, shell.count()), (code, count), "{input:?}");
        }
    }
}
