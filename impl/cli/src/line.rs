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
}
