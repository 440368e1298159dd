//! What is wrong with a configuration, shown at its place.

use std::{fmt, ops::Range, path::PathBuf, sync::Arc};

use miette::{Diagnostic, NamedSource, SourceSpan};
use properties::Entry;
use thiserror::Error;

/// A configuration that cannot be used, with everything that is wrong with it.
#[derive(Debug, Error, Diagnostic)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file says something that is not possible.
    #[error("{name} cannot be used")]
    Invalid {
        /// The file's name.
        name: String,
        /// Each problem, in the order of the file.
        #[related]
        problems: Vec<Problem>,
        /// What would be worth a word if it could be used.
        warnings: Vec<Problem>,
    },
}

impl ConfigError {
    /// What would be worth a word if the configuration could be used.
    pub fn warnings(&self) -> &[Problem] {
        match self {
            Self::Unreadable { .. } => &[],
            Self::Invalid { warnings, .. } => warnings,
        }
    }
}

/// One thing that is wrong, or worth a word, and where.
#[derive(Clone, Debug, Error, Diagnostic)]
#[error("{message}")]
pub struct Problem {
    pub(crate) message: String,
    #[source_code]
    source_code: NamedSource<Arc<String>>,
    #[label]
    span: Option<SourceSpan>,
    #[help]
    pub(crate) help: Option<String>,
    line: Option<usize>,
}

impl Problem {
    pub(crate) fn new(sources: &Sources, span: Option<Range<usize>>, message: impl fmt::Display) -> Self {
        let (file, span) = sources.locate(span);
        Self {
            message: message.to_string(),
            source_code: NamedSource::new(&file.name, Arc::clone(&file.shown)),
            line: span.as_ref().map(|span| file.line(span.start)),
            span: span.map(|span| SourceSpan::from((span.start, span.len()))),
            help: None,
        }
    }

    #[must_use]
    pub(crate) fn help(mut self, help: impl fmt::Display) -> Self {
        self.help = Some(help.to_string());
        self
    }

    /// The line of the file that it is about, from 1.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// One line for a log: where, what, and what to do.
    pub fn summary(&self) -> String {
        let place =
            self.line.map_or_else(String::new, |line| format!("{}:{line}: ", self.source_code.name()));
        let help = self.help.as_ref().map_or_else(String::new, |help| format!(" ({help})"));
        format!("{place}{}{help}", self.message)
    }
}

impl Problem {
    /// The line that it is about, and below it what of that is meant, underlined.
    pub fn excerpt(&self) -> Option<String> {
        let (text, span) = (self.source_code.inner(), self.span?);
        let (before, rest) = text.split_at_checked(span.offset())?;
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let line = text.get(start..)?.lines().next()?;
        let meant = rest.lines().next()?.chars().take(span.len()).count().max(1);
        let indent = before.get(start..)?.chars().count();
        Some(format!("  {line}\n  {:indent$}{}", "", "^".repeat(meant)))
    }
}

/// The texts of a configuration, the file first. A place in one of them is counted on from the end of the one before.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    files: Vec<File>,
}

impl Sources {
    pub(crate) fn new(files: Vec<File>) -> Self {
        Self { files }
    }

    /// Each text, with the place at which it begins.
    pub(crate) fn texts(&self) -> Vec<(usize, Arc<String>)> {
        let mut start = 0;
        let text = |file: &File| {
            let text = Arc::clone(&file.text);
            let begins = start;
            start += text.len() + 1;
            (begins, text)
        };
        self.files.iter().map(text).collect()
    }

    /// The text that this stands in, and where in that; the file, if nothing is given.
    fn locate(&self, span: Option<Range<usize>>) -> (&File, Option<Range<usize>>) {
        let Some(span) = span else { return (&self.files[0], None) };
        let starts = self.texts();
        let at = starts.partition_point(|(start, _)| *start <= span.start).saturating_sub(1);
        let start = starts[at].0;
        (&self.files[at], Some(span.start - start..span.end - start))
    }

    /// Whether something stands in the file.
    pub(crate) fn is_of_file(&self, span: &Range<usize>) -> bool {
        span.start <= self.files[0].text.len()
    }

    /// Where something stands, for a reader: a file with its line, or the name of the flags.
    pub(crate) fn place(&self, span: &Range<usize>) -> String {
        let file = &self.files[0];
        if self.is_of_file(span) {
            return format!("{}:{}", file.name, file.line(span.start));
        }
        self.locate(Some(span.clone())).0.name.clone()
    }
}

/// The text of a configuration file, or of flags.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) text: Arc<String>,
    /// The same with stars for what gives access, byte by byte: a place in one is that place in the other.
    shown: Arc<String>,
}

impl File {
    /// The text of a configuration.
    pub(crate) fn of_properties(name: String, text: Arc<String>) -> Self {
        let secrets = secrets(&text);
        Self::new(name, text, &secrets)
    }

    /// A text, and where in it what gives access may stand.
    pub(crate) fn new(name: String, text: Arc<String>, secrets: &[Range<usize>]) -> Self {
        let mut shown = text.as_bytes().to_vec();
        for span in secrets {
            let bytes = shown[span.clone()].iter_mut();
            bytes.filter(|byte| !matches!(**byte, b'\n' | b'\r')).for_each(|byte| *byte = b'*');
        }
        let shown = String::from_utf8(shown).map_or_else(|_| Arc::default(), Arc::new);
        Self { name, text, shown }
    }

    fn line(&self, at: usize) -> usize {
        self.text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
    }
}

/// A text of properties without what gives access.
pub(crate) fn masked(text: &str) -> String {
    let mut told = text.to_owned();
    // From behind, so that places in front stay what they are.
    for span in secrets(text).into_iter().rev() {
        told.replace_range(span, "***");
    }
    told
}

/// Where in a text of properties what gives access may stand, in order and apart. What is commented out may
/// still give access.
fn secrets(text: &str) -> Vec<Range<usize>> {
    let mut spans: Vec<_> = secret_values(&properties::parse(text)).collect();
    let (mut start, mut goes_on) = (0, false);
    for line in text.split_inclusive('\n') {
        let is_comment = line.trim_start().starts_with(['#', '!']);
        let rest = line.trim_start().trim_start_matches(['#', '!', ' ', '\t']);
        let at = start + line.len() - rest.len();
        let before = spans.len();
        if goes_on {
            spans.push(at..at + rest.trim_end().len());
        } else if is_comment {
            let entries = properties::parse(rest).into_iter().filter(is_secret_comment);
            spans.extend(entries.map(|entry| entry.moved(at).value_span));
        }
        // The rest of a value stands in the next line, commented out or not.
        let backslashes = rest.trim_end().bytes().rev().take_while(|byte| *byte == b'\\').count();
        goes_on = spans.len() > before && backslashes % 2 == 1;
        start += line.len();
    }
    spans.sort_by_key(|span| span.start);
    let mut apart: Vec<Range<usize>> = Vec::new();
    for span in spans {
        match apart.last_mut().filter(|last| span.start < last.end) {
            Some(last) => last.end = last.end.max(span.end),
            None => apart.push(span),
        }
    }
    apart
}

/// Where the values stand that give access.
pub(crate) fn secret_values(entries: &[Entry]) -> impl Iterator<Item = Range<usize>> {
    entries.iter().filter(|entry| is_secret(&entry.key)).map(|entry| entry.value_span.clone())
}

/// The same of what is commented out, where words may stand in front of the key.
fn is_secret_comment(entry: &Entry) -> bool {
    is_secret(&entry.key) || is_secret(&entry.value)
}

/// Whether the value of this key gives access; the path of a file that holds it does not.
pub(crate) fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    !key.ends_with("passwordpath")
        && ["password", "passwd", "superdigest"].iter().any(|word| key.contains(word))
}
