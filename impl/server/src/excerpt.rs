//! So much of what others chose as a line of the log may have of it.
//!
//! A path or a name may be as long as a request, and one request may make many lines. A line that had all of it would
//! let a client write many times what it sends, so `…` stands for what is behind the first part.

use std::borrow::Cow;

/// The bytes that a value of an ordinary line may have.
const VALUE_BYTES_MAX: usize = 1024;

/// What stands for the rest.
pub(crate) const REST: char = '…';

/// The text, or its beginning.
pub(crate) fn excerpt(text: &str) -> Cow<'_, str> {
    if text.len() <= VALUE_BYTES_MAX {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}{REST}", &text[..text.floor_char_boundary(VALUE_BYTES_MAX)]))
}

/// Puts the text behind this line, or so much of it as takes so many bytes there. What could pass for another line, or
/// another value, is escaped.
pub(crate) fn put_escaped(line: &mut String, text: &str, bytes_max: usize) {
    let begin = line.len();
    for character in text.chars() {
        let end = line.len();
        match character {
            '\\' | '\t' | '\n' | '\r' => line.extend(character.escape_default()),
            character if character.is_control() => line.extend(character.escape_unicode()),
            character => line.push(character),
        }
        if line.len() - begin > bytes_max {
            line.truncate(end);
            return line.push(REST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{VALUE_BYTES_MAX, excerpt, put_escaped};

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let whole = "é".repeat(VALUE_BYTES_MAX / 2);
        assert_eq!(excerpt(&whole), whole);
        assert_eq!(excerpt(&format!("{whole}a")), format!("{whole}…"));
        let odd = format!("a{whole}");
        assert_eq!(excerpt(&odd), format!("a{}…", "é".repeat(VALUE_BYTES_MAX / 2 - 1)));
    }

    #[test]
    fn escapes_count_and_are_not_cut() {
        let rows = [
            ("abcd", 4, "abcd"),
            ("abcde", 4, "abcd…"),
            ("a\tb", 4, "a\\tb"),
            ("ab\tc", 4, "ab\\t…"),
            ("abc\t", 4, "abc…"),
            ("aéé", 4, "aé…"),
            ("\u{1}\u{1}", 5, "\\u{1}…"),
            ("", 0, ""),
        ];
        for (text, most, expected) in rows {
            let mut line = "k=".to_owned();
            put_escaped(&mut line, text, most);
            assert_eq!(line, format!("k={expected}"), "{text:?} in {most}");
        }
    }
}
