//! Commands from a person at a terminal: a line editor with history and completion.

use std::{borrow::Cow, sync::Arc, time::Duration};

use reedline::{
    ColumnarMenu, Completer, CompletionResult, Emacs, ExternalPrinter, InputMode, KeyCode, KeyModifiers,
    MenuBuilder, Prompt, PromptEditMode, PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu, Signal,
    Span, Suggestion, default_emacs_keybindings,
};

use crate::{
    complete::{What, wanted},
    line::quoted,
    screen::Screen,
    session::Session,
    shell::{FAILED, Next, Shell},
};

const MENU: &str = "completion_menu";
/// How many events may wait for the editor to make room.
const EVENTS: usize = 1024;
/// How long a completion may wait for the server.
const COMPLETION: Duration = Duration::from_secs(1);

/// Asks for commands until there is no more.
pub(crate) fn run(shell: &mut Shell) -> u8 {
    let screen = Arc::clone(&shell.screen);
    println!("Connecting to {}", shell.wish.servers);
    shell.start();
    println!("`help` lists the commands, Tab completes, Ctrl-D ends.");
    let printer = ExternalPrinter::new(EVENTS);
    let events = printer.sender();
    let mut editor = editor(Arc::clone(&shell.session)).with_external_printer(printer);
    loop {
        screen.through_editor(events.clone());
        let servers = shell.wish.servers.to_string();
        let ask = Ask { servers, session: Arc::clone(&shell.session), count: shell.count() };
        let signal = editor.read_line(&ask);
        screen.directly();
        match signal {
            Ok(Signal::Success(line)) => {
                if shell.line(&line) == Next::Ends {
                    return shell.code;
                }
            }
            Ok(Signal::CtrlD) => return shell.code,
            // Ctrl-C gives the line up; there is nothing else that an editor without extras signals.
            Ok(_) => {}
            Err(error) => return broken(&screen, &error),
        }
    }
}

fn broken(screen: &Screen, error: &std::io::Error) -> u8 {
    screen.aside(&format!(
        "the terminal cannot be read: {error}; commands may come from standard input instead"
    ));
    FAILED
}

fn editor(session: Arc<Session>) -> Reedline {
    let mut keys = default_emacs_keybindings();
    let complete =
        ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext]);
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, complete);
    keys.add_binding(KeyModifiers::SHIFT, KeyCode::BackTab, ReedlineEvent::MenuPrevious);
    Reedline::create()
        .with_completer(Box::new(Completion { session }))
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(
            ColumnarMenu::default().with_name(MENU).with_marker("").with_input_mode(InputMode::FullBuffer),
        )))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_edit_mode(Box::new(Emacs::new(keys)))
}

/// The prompt of zkCli.sh: servers, the state when it is drawn, which it is anew below each event, and the number of the
/// command.
struct Ask {
    servers: String,
    session: Arc<Session>,
    count: usize,
}

impl Prompt for Ask {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        let Self { servers, session, count } = self;
        Cow::Owned(format!("[zk: {servers}({}) {count}] ", session.connection().name()))
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _mode: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("> ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        Cow::Owned(format!("(search: {}) ", search.term))
    }
}

/// Completes words from the table of verbs, and paths from the server.
struct Completion {
    session: Arc<Session>,
}

impl Completer for Completion {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let before = line.get(..pos).unwrap_or(line);
        let wanted = wanted(before);
        // A quote that is closed right behind the cursor is closed by what comes in the place of the word.
        let closed = wanted.quote.is_some_and(|quote| line[before.len()..].starts_with(quote));
        let span = Span::new(wanted.from, before.len() + usize::from(closed));
        let suggestions: Vec<Suggestion> = match wanted.what {
            What::Words(words) => words
                .into_iter()
                .map(|(value, about)| Suggestion {
                    value,
                    description: Some(about),
                    span,
                    append_whitespace: true,
                    ..Suggestion::default()
                })
                .collect(),
            What::Child { parent, prefix } => {
                let names =
                    self.session.client().and_then(|client| client.children_soon(&parent, COMPLETION).ok());
                let base = if parent == "/" { "" } else { parent.as_str() };
                let names = names.unwrap_or_default().into_iter().filter(|name| name.starts_with(&prefix));
                names
                    .filter_map(|name| quoted(&format!("{base}/{name}"), wanted.quote))
                    .map(|value| Suggestion { value, span, ..Suggestion::default() })
                    .collect()
            }
            What::Nothing => Vec::new(),
        };
        CompletionResult::fresh(suggestions)
    }
}
