//! What is wrong with a configuration, shown at its place.

use std::{fmt, ops::Range, path::PathBuf, sync::Arc};

use miette::{Diagnostic, NamedSource, SourceSpan};
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
    },
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
    pub(crate) fn new(file: &File, span: Option<Range<usize>>, message: impl fmt::Display) -> Self {
        Self {
            message: message.to_string(),
            source_code: NamedSource::new(&file.name, Arc::clone(&file.text)),
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

/// The text of a configuration file.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) text: Arc<String>,
}

impl File {
    fn line(&self, at: usize) -> usize {
        self.text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1
    }
}
