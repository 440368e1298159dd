//! Flags among words, as ZooKeeper's command line takes them: anywhere, one dash, letters together, a value behind a
//! blank, an equals sign, or nothing.

use std::collections::BTreeMap;

/// One flag of a verb.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Flag {
    /// Its name, without the dash.
    pub(crate) name: &'static str,
    /// What its value is called, if it has one.
    pub(crate) value: Option<&'static str>,
    /// What it does.
    pub(crate) help: &'static str,
}

/// A flag without a value.
pub(crate) const fn flag(name: &'static str, help: &'static str) -> Flag {
    Flag { name, value: None, help }
}

/// A flag with a value.
pub(crate) const fn valued(name: &'static str, value: &'static str, help: &'static str) -> Flag {
    Flag { name, value: Some(value), help }
}

/// Words, apart from their flags.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Sorted {
    pub(crate) words: Vec<String>,
    given: BTreeMap<&'static str, String>,
}

impl Sorted {
    /// Whether a flag is given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The value of a flag.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(String::as_str)
    }

    /// The value of a flag as a number of its kind.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str, kind: &str) -> Result<Option<T>, String> {
        let read = |text: &str| {
            text.parse().map_err(|_| format!("-{name} argument must be {kind}, and {text:?} is none"))
        };
        self.value(name).map(read).transpose()
    }
}

/// Tells flags and words apart. A lone dash, a negative number, and all behind `--` are words.
pub(crate) fn sort(known: &[Flag], given: &[String]) -> Result<Sorted, String> {
    let mut sorted = Sorted::default();
    let mut rest = given.iter();
    while let Some(word) = rest.next() {
        let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty() && !is_number(word)) else {
            sorted.words.push(word.clone());
            continue;
        };
        if name == "-" {
            sorted.words.extend(rest.by_ref().cloned());
            break;
        }
        take(known, name, &mut rest, &mut sorted).ok_or_else(|| format!("Unrecognized option: {word}"))??;
    }
    Ok(sorted)
}

/// One word of flags; none if it is not one.
fn take<'a>(
    known: &[Flag],
    name: &str,
    rest: &mut impl Iterator<Item = &'a String>,
    sorted: &mut Sorted,
) -> Option<Result<(), String>> {
    let (name, inline) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
    if let Some(flag) = known.iter().find(|flag| flag.name == name) {
        let value = match (flag.value, inline) {
            (None, None) => String::new(),
            (None, Some(_)) => return None,
            (Some(_), Some(value)) => value.to_owned(),
            (Some(_), None) => match rest.next() {
                Some(value) => value.clone(),
                None => return Some(Err(format!("Missing argument for option: {name}"))),
            },
        };
        sorted.given.insert(flag.name, value);
        return Some(Ok(()));
    }
    if inline.is_some() {
        return None;
    }
    // Letters together; the rest behind one that has a value is that value.
    let mut letters = BTreeMap::new();
    for (at, letter) in name.char_indices() {
        let behind = at + letter.len_utf8();
        let flag = known.iter().find(|flag| flag.name == &name[at..behind])?;
        match flag.value {
            None => letters.insert(flag.name, String::new()),
            Some(_) if behind < name.len() => {
                letters.insert(flag.name, name[behind..].to_owned());
                break;
            }
            Some(_) => match rest.next() {
                Some(value) => letters.insert(flag.name, value.clone()),
                None => return Some(Err(format!("Missing argument for option: {}", flag.name))),
            },
        };
    }
    sorted.given.extend(letters);
    Some(Ok(()))
}

fn is_number(word: &str) -> bool {
    word.strip_prefix('-').is_some_and(|rest| {
        rest.starts_with(|first: char| first.is_ascii_digit())
            && rest.chars().all(|letter| letter.is_ascii_digit() || letter == '.')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [Flag; 4] =
        [flag("s", ""), flag("w", ""), valued("v", "version", ""), valued("add", "list", "")];

    fn sorted(line: &str) -> Result<(Vec<String>, Vec<String>), String> {
        let words: Vec<String> = line.split_whitespace().map(ToOwned::to_owned).collect();
        let sorted = sort(&KNOWN, &words)?;
        let flags = sorted.given.iter().map(|(name, value)| format!("{name}={value}")).collect();
        Ok((sorted.words, flags))
    }

    #[test]
    fn flags_stand_anywhere_and_together() {
        let rows: [(&str, &[&str], &[&str]); 9] = [
            ("-v=3 /a", &["/a"], &["v=3"]),
            ("/a -s", &["/a"], &["s="]),
            ("-s -w /a", &["/a"], &["s=", "w="]),
            ("-sw /a", &["/a"], &["s=", "w="]),
            ("-v 3 /a", &["/a"], &["v=3"]),
            ("-v -1 /a", &["/a"], &["v=-1"]),
            ("-v3 /a", &["/a"], &["v=3"]),
            ("/a -5 -", &["/a", "-5", "-"], &[]),
            ("-add 1=x -- -s", &["-s"], &["add=1=x"]),
        ];
        for (line, words, flags) in rows {
            assert_eq!(
                sorted(line).expect(line),
                (
                    words.iter().map(ToString::to_string).collect(),
                    flags.iter().map(ToString::to_string).collect()
                ),
                "{line}"
            );
        }
        assert!(sorted("-sv=3 /a").is_err(), "an equals sign stands behind one whole name only");
        assert_eq!(sorted("-z /a"), Err("Unrecognized option: -z".to_owned()));
        assert_eq!(sorted("-sz /a"), Err("Unrecognized option: -sz".to_owned()));
        assert_eq!(sorted("/a -v"), Err("Missing argument for option: v".to_owned()));
    }
}
