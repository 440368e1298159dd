//! What is set beside `zoo.cfg`: `-Dkey=value`, on the command line and in the variables that ZooKeeper's scripts hand to
//! Java.

use std::ops::Range;

use properties::Entry;

/// The variables, in the order in which `zkServer.sh` passes them on.
const VARIABLES: [&str; 2] = ["SERVER_JVMFLAGS", "JVMFLAGS"];

/// Flags, each text with the name of where it stands. Of two that set the same key the later one counts, and before
/// both what stands in the file.
#[derive(Clone, Debug, Default)]
pub struct Flags(Vec<(String, String, Kind)>);

/// How flags stand in a text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// White space separates them.
    Words,
    /// Each has a line.
    Lines,
}

impl Flags {
    /// Those of the environment.
    pub fn of_environment() -> Self {
        let flags = VARIABLES
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?, Kind::Words)));
        Self(flags.collect())
    }

    /// Behind them, these properties of the command line, each `key=value`.
    #[must_use]
    pub fn and(mut self, properties: &[String]) -> Self {
        if !properties.is_empty() {
            let text: Vec<_> = properties.iter().map(|property| format!("-D{property}")).collect();
            self.0.push(("the command line".to_owned(), text.join("\n"), Kind::Lines));
        }
        self
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text, _)| (name.as_str(), text.as_str()))
    }

    pub(super) fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.0.iter().map(|(_, _, kind)| *kind)
    }
}

/// What a text of flags holds.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Found {
    /// The properties of ZooKeeper's that it sets, and Java's that mean something here.
    pub(super) properties: Vec<Entry>,
    /// Where properties stand that are neither.
    pub(super) foreign: Vec<Range<usize>>,
    /// Where flags stand that mean something to Java alone.
    pub(super) others: Vec<Range<usize>>,
}

/// Properties that have no `zookeeper.` in front.
const BARE: [&str; 6] = [
    "java.security.auth.login.config",
    "jute.maxbuffer",
    "readonlymode.enabled",
    "fsync.warningthresholdms",
    "znode.container.",
    "zabkeeper.",
];

/// Those that nothing in the file sets in ZooKeeper: there a key gets `zookeeper.` in front.
const OF_PROPERTY_ALONE: [&str; 4] =
    ["java.security.auth.login.config", "jute.maxbuffer", "readonlymode.enabled", "znode.container."];

/// Whether a property counts more than what stands in the file.
pub(super) fn is_of_property_alone(key: &str) -> bool {
    OF_PROPERTY_ALONE.iter().any(|alone| key.starts_with(alone))
}

/// Whether a property has no `zookeeper.` in front.
pub(super) fn is_bare(key: &str) -> bool {
    BARE.iter().any(|bare| key.starts_with(bare))
}

/// What a text of flags holds, sorted; those that are Java's alone are told apart.
pub(super) fn read(text: &str, kind: Kind) -> Found {
    let mut found = Found::default();
    for (span, flag) in split(text, kind) {
        match property(&span, flag, kind) {
            None => found.others.push(span),
            Some(entry) if !entry.key.starts_with("zookeeper.") && !is_bare(&entry.key) => {
                found.foreign.push(entry.key_span);
            }
            Some(entry) => found.properties.push(entry),
        }
    }
    found
}

/// Every property that a text of flags sets, whosever it is.
pub(super) fn set(text: &str, kind: Kind) -> Vec<Entry> {
    split(text, kind).filter_map(|(span, flag)| property(&span, flag, kind)).collect()
}

/// Each flag, with its place.
fn split(text: &str, kind: Kind) -> impl Iterator<Item = (Range<usize>, &str)> {
    let flags: Vec<&str> = match kind {
        Kind::Words => text.split_ascii_whitespace().collect(),
        Kind::Lines => text.lines().collect(),
    };
    flags.into_iter().map(move |flag| {
        let start = flag.as_ptr().addr() - text.as_ptr().addr();
        (start..start + flag.len(), flag)
    })
}

/// What a flag sets, if it sets a property. Quotes around a value of the scripts' variables are taken off; those of a
/// command line are taken off by whoever reads it.
fn property(span: &Range<usize>, flag: &str, kind: Kind) -> Option<Entry> {
    let property = flag.strip_prefix("-D")?;
    let (key, value) = property.split_once('=').unwrap_or((property, ""));
    let key_start = span.start + 2;
    Some(Entry {
        key: key.to_owned(),
        value: match kind {
            Kind::Words => value.trim_matches(['"', '\'']).to_owned(),
            Kind::Lines => value.to_owned(),
        },
        key_span: key_start..key_start + key.len(),
        value_span: span.end - value.len()..span.end,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_found_among_the_flags_of_java() {
        let text = "-Xmx1g -Dzookeeper.snapCount=10\n  -Djava.awt.headless=true -Djute.maxbuffer='4096' -XX:+UseG1GC";
        let Found { properties, foreign, others } = read(text, Kind::Words);
        let pairs: Vec<_> =
            properties.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())).collect();
        assert_eq!(pairs, [("zookeeper.snapCount", "10"), ("jute.maxbuffer", "4096")]);
        assert_eq!(&text[properties[0].key_span.clone()], "zookeeper.snapCount");
        assert_eq!(&text[properties[0].value_span.clone()], "10");
        assert_eq!(&text[foreign[0].clone()], "java.awt.headless");
        let others: Vec<_> = others.into_iter().map(|span| &text[span]).collect();
        assert_eq!(others, ["-Xmx1g", "-XX:+UseG1GC"]);
    }

    #[test]
    fn a_property_without_a_value_is_an_empty_one() {
        let found = read("-Dzookeeper.skipACL", Kind::Words);
        assert_eq!(
            (found.properties[0].value.as_str(), found.properties[0].value_span.clone()),
            ("", 19..19)
        );
    }
}
