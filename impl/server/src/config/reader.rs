//! Takes values by key, and collects what is wrong with them.

use std::{collections::BTreeMap, fmt::Display, ops::Range, str::FromStr};

use properties::Entry;

use super::{
    flags::{self, Kind},
    keys::{self, Fate},
    problem::{Problem, Sources},
};

/// What keys begin with that ZooKeeper does not know.
const OWN: &str = "zabkeeper.";

/// A value, and where it comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Taken {
    /// As it is written, or the default.
    pub value: String,
    /// A file with its line, the name of the flags, or `default`.
    pub place: String,
    /// Why it has no effect, if it has none.
    pub ignored: Option<&'static str>,
}

/// The entries of a configuration by key, and every problem found so far.
pub(crate) struct Reader {
    sources: Sources,
    entries: BTreeMap<String, Entry>,
    /// Every value that was asked for, with where it comes from.
    pub(crate) taken: BTreeMap<String, Taken>,
    pub(crate) errors: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
}

impl Reader {
    /// Reads the entries, and judges each key by itself: unknown, ignored, refused, given twice.
    pub(crate) fn new(sources: Sources, kinds: &[Kind]) -> Self {
        let texts = sources.texts();
        let mut reader = Self {
            sources,
            entries: BTreeMap::new(),
            taken: BTreeMap::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
        };
        // The file comes first in the list of texts, and counts more than all others.
        for ((start, text), kind) in texts.iter().skip(1).zip(kinds) {
            reader.add_flags(*start, text, *kind);
        }
        for (start, text) in texts.iter().take(1) {
            for entry in properties::parse(text) {
                reader.add(entry.moved(*start));
            }
        }
        reader
    }

    fn add_flags(&mut self, start: usize, text: &str, kind: Kind) {
        let flags::Found { properties, foreign, others } = flags::read(text, kind);
        for entry in properties {
            let bare = entry.key.strip_prefix("zookeeper.").unwrap_or(&entry.key);
            let entry = Entry { key: bare.to_owned(), ..entry.moved(start) };
            if let Some(reason) = keys::of_clients(&entry.key) {
                let message = format!("{} is ignored: {reason}", entry.key);
                self.warnings.push(Problem::new(&self.sources, Some(entry.key_span), message));
            } else if keys::is_of_file(&entry.key) {
                let message = format!("{} counts only in the file, and is ignored", entry.key);
                self.warnings.push(Problem::new(&self.sources, Some(entry.key_span), message));
            } else {
                self.add(entry);
            }
        }
        // What scripts hand to Java is full of those; on the command line somebody meant something.
        for span in foreign.into_iter().filter(|_| kind == Kind::Lines) {
            let key = &text[span.clone()];
            let message = format!("{key} means nothing here; properties begin with zookeeper.");
            let known = keys::fate(key).map(|_| format!("did you mean zookeeper.{key}?"));
            let span = span.start + start..span.end + start;
            let problem = Problem::new(&self.sources, Some(span), message);
            self.warnings.push(match known {
                Some(help) => problem.help(help),
                None => problem,
            });
        }
        if let Some(first) = others.first() {
            let message = "flags of Java are ignored: there is no heap to be set up here";
            let span = first.start + start..first.end + start;
            self.warnings.push(Problem::new(&self.sources, Some(span), message));
        }
    }

    fn add(&mut self, entry: Entry) {
        let key = &entry.key;
        let span = Some(entry.key_span.clone());
        match keys::fate(key) {
            Some(Fate::Used) => {
                if let Some(earlier) = self.entries.get(key) {
                    let problem = Problem::new(
                        &self.sources,
                        Some(earlier.key_span.clone()),
                        format!("{key} is given twice"),
                    );
                    let of_file = |entry: &Entry| self.sources.is_of_file(&entry.key_span);
                    let overrules = of_file(&entry) && !of_file(earlier);
                    // Java asks for these by names that nothing in the file sets.
                    if overrules && flags::is_of_property_alone(key) {
                        self.warnings
                            .push(problem.help("the property counts, and not what stands in the file"));
                        return;
                    }
                    self.warnings.push(problem.help(if overrules {
                        "what stands in the file counts"
                    } else {
                        "the last one counts"
                    }));
                }
                self.entries.insert(key.clone(), entry);
            }
            Some(Fate::Ignored(reason)) => {
                let message = format!("{key} is ignored: {reason}");
                self.warnings.push(Problem::new(&self.sources, span, message));
                let place = self.sources.place(&entry.key_span);
                let taken = Taken { value: entry.value.clone(), place, ignored: Some(reason) };
                self.taken.insert(key.clone(), taken);
            }
            Some(Fate::Refused(_))
                if matches!(entry.value.to_ascii_lowercase().as_str(), "false" | "no" | "0") => {}
            Some(Fate::Refused(reason)) => {
                let message = format!("{key} is not possible: {reason}");
                self.errors.push(Problem::new(&self.sources, span, message));
            }
            None => {
                let problem = self.unknown(key, span);
                self.warnings.push(problem);
            }
        }
    }

    /// What is said of a key that means nothing.
    fn unknown(&self, key: &str, span: Option<Range<usize>>) -> Problem {
        let bare = key.strip_prefix("zookeeper.").and_then(|bare| Some((bare, keys::fate(bare)?)));
        if let Some((_, Fate::Ignored(reason))) = bare {
            return Problem::new(&self.sources, span, format!("{key} is ignored: {reason}"));
        }
        let message = format!("{key} is no key of ZooKeeper's, and is ignored");
        let problem = Problem::new(&self.sources, span, message);
        let bare = bare.map(|(bare, _)| bare.to_owned());
        let close = || cli::closest(key, keys::names()).map(ToOwned::to_owned);
        match bare.or_else(close).or_else(|| keys::closest_of_family(key)) {
            Some(known) => problem.help(format!("did you mean {known}?")),
            None => problem,
        }
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Where the value of a key stands.
    pub(crate) fn span(&self, key: &str) -> Option<Range<usize>> {
        self.entries.get(key).map(|entry| entry.value_span.clone())
    }

    /// The line of a key, for a reader, or the name of the flags that it is given in.
    pub(crate) fn place(&self, key: &str) -> Option<String> {
        self.entries.get(key).map(|entry| self.sources.place(&entry.key_span))
    }

    /// Every entry whose key starts so.
    pub(crate) fn family(&mut self, prefix: &str) -> Vec<Entry> {
        let keys: Vec<_> = self.entries.keys().filter(|key| key.starts_with(prefix)).cloned().collect();
        for key in keys {
            self.text(&key);
        }
        self.entries.values().filter(|entry| entry.key.starts_with(prefix)).cloned().collect()
    }

    pub(crate) fn has_family(&self, prefix: &str) -> bool {
        self.entries.keys().any(|key| key.starts_with(prefix))
    }

    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        let entry = self.entries.get(key).filter(|entry| !entry.value.is_empty())?;
        let place = self.sources.place(&entry.key_span);
        self.taken.insert(key.to_owned(), Taken { value: entry.value.clone(), place, ignored: None });
        Some(entry.value.clone())
    }

    /// A host; an address of IPv6 may stand in brackets.
    pub(crate) fn host(&mut self, key: &str) -> Option<String> {
        let text = self.text(key)?;
        let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        Some(inner.map_or_else(|| text.clone(), ToOwned::to_owned))
    }

    /// As [`Self::text`], with what it is where nothing is given.
    pub(crate) fn text_or(&mut self, key: &str, default: &str) -> String {
        let given = self.text(key);
        if given.is_none() {
            self.default(key, default);
        }
        given.unwrap_or_else(|| default.to_owned())
    }

    /// Notes what a key comes to, whatever was given or is its default.
    pub(crate) fn comes_to(&mut self, key: &str, value: impl Display) {
        if let Some(taken) = self.taken.get_mut(key) {
            taken.value = value.to_string();
        }
    }

    /// Notes what a key comes to, which was not given.
    fn default(&mut self, key: &str, value: impl Display) {
        let taken = Taken { value: value.to_string(), place: "default".to_owned(), ignored: None };
        self.taken.insert(key.to_owned(), taken);
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
        if !self.has(key) {
            self.default(key, default);
        }
        self.optional_number(key, least, most).unwrap_or(default)
    }

    pub(crate) fn optional_number<T>(&mut self, key: &str, least: T, most: T) -> Option<T>
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        self.text(key);
        let entry = self.entries.get(key)?;
        let is_decimal = keys::is_of_file(key) || key.starts_with(OWN);
        let decimal = if is_decimal { entry.value.clone() } else { decoded(&entry.value) };
        match decimal.parse::<T>() {
            Ok(number) if number >= least && number <= most => Some(number),
            _ => {
                let message =
                    format!("{key} is {:?}, and must be a number from {least} to {most}", entry.value);
                let (span, comments) = (Some(entry.value_span.clone()), entry.value.contains('#'));
                if comments {
                    self.error_with_help(span, message, "a comment has a line of its own".to_owned());
                } else {
                    self.error(span, message);
                }
                None
            }
        }
    }

    /// A number of which 0 is none, as is every one below, and the default.
    pub(crate) fn at_least_none(&mut self, key: &str, most: u32) -> u32 {
        u32::try_from(self.number(key, 0, i64::from(i32::MIN), i64::from(most))).unwrap_or(0)
    }

    pub(crate) fn flag(&mut self, key: &str, default: bool) -> bool {
        self.text(key);
        let Some(entry) = self.entries.get(key) else {
            self.default(key, default);
            return default;
        };
        match entry.value.to_ascii_lowercase().as_str() {
            "true" => true,
            "yes" if key.starts_with(OWN) => true,
            "false" | "no" => false,
            "yes" if !keys::is_of_file(key) => {
                let message = format!("{key} is {:?}, which is no: only true is yes here", entry.value);
                self.warn_at(key, message);
                self.comes_to(key, false);
                false
            }
            _ => {
                let message = format!("{key} is {:?}, and must be true or false", entry.value);
                self.error(Some(entry.value_span.clone()), message);
                default
            }
        }
    }

    /// On, unless the word is `no`, as ZooKeeper has it of some keys: neither `false` nor `NO` turns them off.
    pub(crate) fn unless_no(&mut self, key: &str) -> bool {
        let Some(word) = self.text(key) else {
            self.default(key, "yes");
            return true;
        };
        match word.to_ascii_lowercase().as_str() {
            "yes" | "true" => {}
            "no" if word == "no" => return false,
            "no" | "false" => {
                self.warn_at(key, format!("{key} is {word:?}, which does not turn it off: only no does"));
                self.comes_to(key, "yes");
            }
            _ => {
                let message = format!("{key} is {word:?}, and must be yes or no");
                self.error(self.span(key), message);
            }
        }
        true
    }

    /// As [`Self::flag`]; on and off are said too.
    pub(crate) fn switch(&mut self, key: &str, default: bool) -> bool {
        match self.entries.get(key).map(|entry| entry.value.to_ascii_lowercase()) {
            Some(value) if value == "on" || value == "off" => {
                self.text(key);
                value == "on"
            }
            _ => self.flag(key, default),
        }
    }

    /// An error, for a key whose value is none of those that are possible.
    pub(crate) fn unsupported_choice(&mut self, key: &str, possible: &[&str], reason: &str) {
        self.text(key);
        if let Some(entry) = self.entries.get(key)
            && !possible.contains(&entry.value.to_ascii_lowercase().as_str())
        {
            self.error(Some(entry.value_span.clone()), format!("{key} is {:?}: {reason}", entry.value));
        }
    }

    pub(crate) fn error(&mut self, span: impl Into<Option<Range<usize>>>, message: impl Display) {
        self.errors.push(Problem::new(&self.sources, span.into(), message));
    }

    pub(crate) fn error_with_help(
        &mut self,
        span: Option<Range<usize>>,
        message: impl Display,
        help: impl Display,
    ) {
        self.errors.push(Problem::new(&self.sources, span, message).help(help));
    }

    /// A warning at the first key that starts so.
    pub(crate) fn warn_at(&mut self, prefix: &str, message: impl Display) {
        let problem = self.at(prefix, message);
        self.warnings.push(problem);
    }

    /// The same, with what to do about it.
    pub(crate) fn warn_with_help(&mut self, prefix: &str, message: impl Display, help: impl Display) {
        let problem = self.at(prefix, message).help(help);
        self.warnings.push(problem);
    }

    fn at(&self, prefix: &str, message: impl Display) -> Problem {
        let entry = self.entries.values().find(|entry| entry.key.starts_with(prefix));
        Problem::new(&self.sources, entry.map(|entry| entry.key_span.clone()), message)
    }
}

/// A number as Java decodes those of system properties, in decimal: hexadecimal behind `0x` or `#`, octal behind a 0. What
/// is no number stays as it is.
fn decoded(text: &str) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let lower = digits.to_ascii_lowercase();
    let hex = lower.strip_prefix("0x").or_else(|| lower.strip_prefix('#')).map(|digits| (digits, 16));
    let octal = || lower.strip_prefix('0').filter(|digits| !digits.is_empty()).map(|digits| (digits, 8));
    let decode = |(digits, radix)| {
        let is_plain = |digits: &&str| !digits.starts_with('+');
        Some(digits).filter(is_plain).and_then(|digits| u64::from_str_radix(digits, radix).ok())
    };
    hex.or_else(octal).and_then(decode).map_or_else(|| text.to_owned(), |number| format!("{sign}{number}"))
}
