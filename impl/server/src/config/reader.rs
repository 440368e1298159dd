//! Takes values by key, and collects what is wrong with them.

use std::{collections::BTreeMap, fmt::Display, ops::Range, str::FromStr};

use super::{
    keys::{self, Fate},
    problem::{File, Problem},
    properties::{self, Entry},
    suggest,
};

/// The entries of a file by key, and every problem found so far.
pub(crate) struct Reader {
    file: File,
    entries: BTreeMap<String, Entry>,
    pub(crate) errors: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
}

impl Reader {
    /// Reads the entries, and judges each key by itself: unknown, ignored, refused, given twice.
    pub(crate) fn new(file: File) -> Self {
        let mut reader = Self { file, entries: BTreeMap::new(), errors: Vec::new(), warnings: Vec::new() };
        let text = std::sync::Arc::clone(&reader.file.text);
        for entry in properties::parse(&text) {
            reader.add(entry);
        }
        reader
    }

    fn add(&mut self, mut entry: Entry) {
        if let Some(bare) = entry.key.strip_prefix("zookeeper.").filter(|bare| keys::fate(bare).is_some()) {
            entry.key = String::from(bare);
        }
        let key = &entry.key;
        let span = Some(entry.key_span.clone());
        match keys::fate(key) {
            Some(Fate::Used) => {
                if let Some(earlier) = self.entries.get(key) {
                    let problem = Problem::new(
                        &self.file,
                        Some(earlier.key_span.clone()),
                        format!("{key} is given twice"),
                    );
                    self.warnings.push(problem.help("the last one counts"));
                }
                self.entries.insert(key.clone(), entry);
            }
            Some(Fate::Ignored(reason)) => {
                let message = format!("{key} is ignored: {reason}");
                self.warnings.push(Problem::new(&self.file, span, message));
            }
            Some(Fate::Refused(_)) if matches!(entry.value.as_str(), "false" | "no" | "0") => {}
            Some(Fate::Refused(reason)) => {
                let message = format!("{key} is not possible: {reason}");
                self.errors.push(Problem::new(&self.file, span, message));
            }
            None => {
                let problem =
                    Problem::new(&self.file, span, format!("{key} is no key of ZooKeeper's, and is ignored"));
                let problem = match suggest::closest(key, keys::names()) {
                    Some(known) => problem.help(format!("did you mean {known}?")),
                    None => problem,
                };
                self.warnings.push(problem);
            }
        }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Where the value of a key stands.
    pub(crate) fn span(&self, key: &str) -> Option<Range<usize>> {
        self.entries.get(key).map(|entry| entry.value_span.clone())
    }

    /// Every entry whose key starts so.
    pub(crate) fn family(&self, prefix: &str) -> Vec<Entry> {
        self.entries.values().filter(|entry| entry.key.starts_with(prefix)).cloned().collect()
    }

    pub(crate) fn has_family(&self, prefix: &str) -> bool {
        self.entries.keys().any(|key| key.starts_with(prefix))
    }

    pub(crate) fn text(&self, key: &str) -> Option<String> {
        self.entries.get(key).map(|entry| entry.value.clone()).filter(|value| !value.is_empty())
    }

    pub(crate) fn required(&mut self, key: &str, what: &str) -> Option<String> {
        let value = self.text(key);
        if value.is_none() {
            let span = self.span(key);
            self.error_with_help(span, format!("{key} is missing"), format!("{key}=… names {what}"));
        }
        value
    }

    pub(crate) fn number<T>(&mut self, key: &str, default: T, least: T, most: T) -> T
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        self.optional_number(key, least, most).unwrap_or(default)
    }

    pub(crate) fn optional_number<T>(&mut self, key: &str, least: T, most: T) -> Option<T>
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        let entry = self.entries.get(key)?;
        match entry.value.parse::<T>() {
            Ok(number) if number >= least && number <= most => Some(number),
            _ => {
                let message =
                    format!("{key} is {:?}, and must be a number from {least} to {most}", entry.value);
                self.error(Some(entry.value_span.clone()), message);
                None
            }
        }
    }

    pub(crate) fn flag(&mut self, key: &str, default: bool) -> bool {
        let Some(entry) = self.entries.get(key) else {
            return default;
        };
        match entry.value.to_ascii_lowercase().as_str() {
            "true" | "yes" => true,
            "false" | "no" => false,
            _ => {
                let message = format!("{key} is {:?}, and must be true or false", entry.value);
                self.error(Some(entry.value_span.clone()), message);
                default
            }
        }
    }

    /// As [`Self::flag`]; on and off are said too.
    pub(crate) fn switch(&mut self, key: &str, default: bool) -> bool {
        match self.entries.get(key).map(|entry| entry.value.to_ascii_lowercase()) {
            Some(value) if value == "on" => true,
            Some(value) if value == "off" => false,
            _ => self.flag(key, default),
        }
    }

    /// An error, for a key whose value is none of those that are possible.
    pub(crate) fn unsupported_choice(&mut self, key: &str, possible: &[&str], reason: &str) {
        if let Some(entry) = self.entries.get(key)
            && !possible.contains(&entry.value.to_ascii_lowercase().as_str())
        {
            self.error(Some(entry.value_span.clone()), format!("{key} is {:?}: {reason}", entry.value));
        }
    }

    pub(crate) fn error(&mut self, span: impl Into<Option<Range<usize>>>, message: impl Display) {
        self.errors.push(Problem::new(&self.file, span.into(), message));
    }

    pub(crate) fn error_with_help(
        &mut self,
        span: Option<Range<usize>>,
        message: impl Display,
        help: impl Display,
    ) {
        self.errors.push(Problem::new(&self.file, span, message).help(help));
    }

    /// A warning at the first key that starts so.
    pub(crate) fn warn_at(&mut self, prefix: &str, message: impl Display) {
        let entry = self.entries.values().find(|entry| entry.key.starts_with(prefix));
        let span = entry.map(|entry| entry.key_span.clone());
        self.warnings.push(Problem::new(&self.file, span, message));
    }
}
