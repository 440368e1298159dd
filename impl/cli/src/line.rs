//! A line as words.

/// Splits a line at blanks. A word that begins with a quote goes to the next quote of that kind, blanks and all, which
/// may be empty; a quote inside a word is a letter. There are no escapes, as in ZooKeeper's command line.
pub(crate) fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start_matches(is_blank);
    while let Some(first) = rest.chars().next() {
        let word;
        (word, rest) = match first {
            '"' | '\'' => {
                rest[1..].split_once(first).ok_or_else(|| format!("a quote is not closed: {rest}"))?
            }
            _ => rest.split_at(rest.find(is_blank).unwrap_or(rest.len())),
        };
        words.push(word.to_owned());
        rest = rest.trim_start_matches(is_blank);
    }
    Ok(words)
}

/// A line up to the cursor: the words that are complete, and the one that is being written there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Begun {
    pub(crate) earlier: Vec<String>,
    /// Where the last word begins, in bytes, its quote included.
    pub(crate) from: usize,
    /// The last word, which may be empty, without its quotes.
    pub(crate) word: String,
    /// The quote that the last word begins with.
    pub(crate) quote: Option<char>,
}

/// Splits a line as [`words`] does, but that its last quote may be open, and that what follows the closing quote of its
/// last word belongs to that word: whoever has a path in quotes goes on below it.
pub(crate) fn begun(before: &str) -> Begun {
    let mut earlier = Vec::new();
    let mut rest = before.trim_start_matches(is_blank);
    loop {
        let from = before.len() - rest.len();
        let quote = rest.chars().next().filter(|first| matches!(first, '"' | '\''));
        let (inside, behind) = match quote.map(|quote| rest[1..].split_once(quote)) {
            Some(Some(parts)) => parts,
            Some(None) => return Begun { earlier, from, word: rest[1..].to_owned(), quote },
            None => ("", rest),
        };
        let (outside, behind) = behind.split_at(behind.find(is_blank).unwrap_or(behind.len()));
        if behind.is_empty() {
            return Begun { earlier, from, word: format!("{inside}{outside}"), quote };
        }
        if quote.is_some() {
            earlier.push(inside.to_owned());
        }
        if !outside.is_empty() {
            earlier.push(outside.to_owned());
        }
        rest = behind.trim_start_matches(is_blank);
    }
}

/// A word as it is written to be read as it is: in quotes if it must be, or if it was begun with this one. None if there is
/// no way, as it has both and a blank.
pub(crate) fn quoted(word: &str, begun: Option<char>) -> Option<String> {
    let needs = word.is_empty() || word.starts_with(['"', '\'']) || word.contains(is_blank);
    if !needs && begun.is_none() {
        return Some(word.to_owned());
    }
    let quote = begun.into_iter().chain(['\'', '"']).find(|quote| !word.contains(*quote));
    quote.map(|quote| format!("{quote}{word}{quote}")).or_else(|| (!needs).then(|| word.to_owned()))
}

/// What words end at: no blank of other scripts does.
fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_end_at_blanks_but_within_quotes() {
        let rows: [(&str, &[&str]); 8] = [
            ("", &[]),
            ("  ls   /a ", &["ls", "/a"]),
            ("set /a \"two words\"", &["set", "/a", "two words"]),
            ("set /a 'say \"hi\"' -s", &["set", "/a", "say \"hi\"", "-s"]),
            ("set /a ''", &["set", "/a", ""]),
            ("set /a it's", &["set", "/a", "it's"]),
            ("set /a \u{4f60}\u{3000}\u{597d}", &["set", "/a", "\u{4f60}\u{3000}\u{597d}"]),
            ("set /a {\"b\":1}", &["set", "/a", "{\"b\":1}"]),
        ];
        for (line, expected) in rows {
            assert_eq!(words(line).expect(line), expected, "{line}");
        }
        assert!(words("set /a \"open").expect_err("open").contains("not closed"));
    }

    #[test]
    fn a_word_that_is_being_written_may_have_an_open_quote() {
        type Row<'a> = (&'a str, &'a [&'a str], usize, &'a str, Option<char>);
        let rows: [Row<'_>; 8] = [
            ("", &[], 0, "", None),
            ("  l", &[], 2, "l", None),
            ("ls ", &["ls"], 3, "", None),
            ("ls -s /a", &["ls", "-s"], 6, "/a", None),
            ("ls '/a b", &["ls"], 3, "/a b", Some('\'')),
            ("ls \"/a b\"", &["ls"], 3, "/a b", Some('"')),
            ("ls '/a b'/c", &["ls"], 3, "/a b/c", Some('\'')),
            ("set '/a b' \"x", &["set", "/a b"], 11, "x", Some('"')),
        ];
        for (line, earlier, from, word, quote) in rows {
            let earlier = earlier.iter().map(ToString::to_string).collect();
            assert_eq!(begun(line), Begun { earlier, from, word: word.to_owned(), quote }, "{line}");
        }
    }

    #[test]
    fn what_is_quoted_is_read_as_it_was() {
        let rows = [
            ("/a", None, Some("/a")),
            ("/it's", None, Some("/it's")),
            ("/a b", None, Some("'/a b'")),
            ("/it's b", None, Some("\"/it's b\"")),
            ("/a b", Some('"'), Some("\"/a b\"")),
            ("/a", Some('\''), Some("'/a'")),
            ("/it's", Some('\''), Some("\"/it's\"")),
            ("/it's\"", Some('\''), Some("/it's\"")),
            ("/it's \"", None, None),
        ];
        for (word, begun, expected) in rows {
            let quoted = quoted(word, begun);
            assert_eq!(quoted.as_deref(), expected, "{word}");
            assert!(quoted.is_none_or(|quoted| words(&quoted).expect(word) == [word]), "{word}");
        }
    }
}
