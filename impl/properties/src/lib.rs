//! Java's `.properties` syntax, with the place of every key and value kept, so that an error can point at it.
//!
//! `key=value`, `key: value` and `key value` are the same; `#` and `!` open a comment line; a backslash at the end of
//! a line joins the next one; `\t \n \r \f \uXXXX` are characters, and any other escaped character is itself.
//!
//! Source: Java `Properties.load`, which ZooKeeper reads `zoo.cfg` with.

use std::ops::Range;

/// One key with its value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// What stands before the separator.
    pub key: String,
    /// What stands behind it, without white space around it.
    pub value: String,
    /// The bytes of the text that the key was read from.
    pub key_span: Range<usize>,
    /// The bytes of the text that the value was read from; empty, at the end of the line, for an empty value.
    pub value_span: Range<usize>,
}

impl Entry {
    /// As part of a longer text, in which its own begins there.
    #[must_use]
    pub fn moved(self, start: usize) -> Self {
        let moved = |span: Range<usize>| span.start + start..span.end + start;
        Self { key_span: moved(self.key_span), value_span: moved(self.value_span), ..self }
    }
}

/// A character of a logical line: which, where, and whether a backslash made it plain.
#[derive(Clone, Copy)]
struct Glyph {
    char: char,
    at: usize,
    end: usize,
    escaped: bool,
}

impl Glyph {
    fn is_space(&self) -> bool {
        !self.escaped && matches!(self.char, ' ' | '\t' | '\u{c}')
    }

    fn separates(&self) -> bool {
        !self.escaped && matches!(self.char, '=' | ':')
    }
}

/// Every entry of the text, in its order. Never fails: any text is some list of properties.
pub fn parse(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut rest = text.char_indices().peekable();
    while rest.peek().is_some() {
        let line = logical_line(text, &mut rest);
        if let Some(entry) = entry(&line) {
            entries.push(entry);
        }
    }
    entries
}

/// A value as it is written behind a key, so that it is read as it is; blanks around it are no part of any.
pub fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for char in value.chars() {
        match char {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\\' => out.push_str("\\\\"),
            _ => out.push(char),
        }
    }
    out
}

type Chars<'a> = std::iter::Peekable<std::str::CharIndices<'a>>;

/// Takes one line with its continuations; empty for a blank line or a comment.
fn logical_line(text: &str, rest: &mut Chars<'_>) -> Vec<Glyph> {
    let mut line = Vec::new();
    skip_space(rest);
    if let Some((_, '#' | '!')) = rest.peek() {
        while !matches!(rest.next(), None | Some((_, '\n' | '\r'))) {}
        return line;
    }
    while let Some((at, char)) = rest.next() {
        match char {
            '\n' => return line,
            '\r' => {
                rest.next_if(|(_, next)| *next == '\n');
                return line;
            }
            '\\' => match rest.next() {
                None => return line,
                Some((_, '\n')) => skip_space(rest),
                Some((_, '\r')) => {
                    rest.next_if(|(_, next)| *next == '\n');
                    skip_space(rest);
                }
                Some((escape_at, escape)) => line.push(unescape(text, at, escape_at, escape, rest)),
            },
            _ => line.push(Glyph { char, at, end: at + char.len_utf8(), escaped: false }),
        }
    }
    line
}

fn skip_space(rest: &mut Chars<'_>) {
    while rest.next_if(|(_, char)| matches!(char, ' ' | '\t' | '\u{c}')).is_some() {}
}

fn unescape(text: &str, at: usize, escape_at: usize, escape: char, rest: &mut Chars<'_>) -> Glyph {
    let plain = |char| Glyph { char, at, end: escape_at + escape.len_utf8(), escaped: true };
    match escape {
        't' => plain('\t'),
        'n' => plain('\n'),
        'r' => plain('\r'),
        'f' => plain('\u{c}'),
        'u' => {
            let digits = text.get(escape_at + 1..escape_at + 5);
            let code =
                digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).and_then(char::from_u32);
            match code {
                Some(char) => {
                    for _ in 0..4 {
                        rest.next();
                    }
                    Glyph { char, at, end: escape_at + 5, escaped: true }
                }
                None => plain('u'),
            }
        }
        _ => plain(escape),
    }
}

fn entry(line: &[Glyph]) -> Option<Entry> {
    let first = line.first()?;
    let key_end = line.iter().position(|glyph| glyph.is_space() || glyph.separates()).unwrap_or(line.len());
    let mut value_start = key_end;
    while line.get(value_start).is_some_and(Glyph::is_space) {
        value_start += 1;
    }
    if line.get(value_start).is_some_and(Glyph::separates) {
        value_start += 1;
    }
    let value = &line[value_start..];
    let lead = value.iter().take_while(|glyph| glyph.char.is_whitespace()).count();
    let value = &value[lead..];
    let trail = value.iter().rev().take_while(|glyph| glyph.char.is_whitespace()).count();
    let value = &value[..value.len() - trail];
    let line_end = line.last().map_or(0, |glyph| glyph.end);
    Some(Entry {
        key: line[..key_end].iter().map(|glyph| glyph.char).collect(),
        value: value.iter().map(|glyph| glyph.char).collect(),
        key_span: first.at..line[..key_end].last().map_or(first.end, |glyph| glyph.end),
        value_span: match (value.first(), value.last()) {
            (Some(first), Some(last)) => first.at..last.end,
            _ => line_end..line_end,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::{escaped, parse};

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).into_iter().map(|entry| (entry.key, entry.value)).collect()
    }

    #[test]
    fn what_is_escaped_is_read_as_it_was() {
        for value in ["/data", "a b", "c:\\x\\", "two\nlines\r.", "=1", ":1", "# no comment", "\u{e4}", ""] {
            let text = format!("key={}\nnext=1", escaped(value));
            assert_eq!(
                pairs(&text),
                [("key".into(), value.into()), ("next".into(), "1".into())],
                "{value:?}"
            );
        }
    }

    #[test]
    fn separators_comments_and_continuations_are_javas() {
        let rows = [
            ("a=1", vec![("a", "1")]),
            ("a : 1\r\nb 2", vec![("a", "1"), ("b", "2")]),
            ("# a=1\n ! b=2\n\n  c = 3  ", vec![("c", "3")]),
            ("a=1,\\\n   2\nb=3", vec![("a", "1,2"), ("b", "3")]),
            ("a\\=b=c", vec![("a=b", "c")]),
            ("path=C\\:\\\\x", vec![("path", "C:\\x")]),
            ("u=\\u0041\\u00e4", vec![("u", "Aä")]),
            ("a==1", vec![("a", "=1")]),
            ("server.1=h:1:2;3", vec![("server.1", "h:1:2;3")]),
            ("empty=\nlast", vec![("empty", ""), ("last", "")]),
            ("a=\\", vec![("a", "")]),
            ("a=\\u00", vec![("a", "u00")]),
        ];
        for (text, expected) in rows {
            let expected: Vec<_> =
                expected.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            assert_eq!(pairs(text), expected, "{text:?}");
        }
    }

    #[test]
    fn spans_point_at_what_was_read() {
        let text = "# head\n  tickTime =  20 00 \nx=";
        let entries = parse(text);
        assert_eq!(&text[entries[0].key_span.clone()], "tickTime");
        assert_eq!(&text[entries[0].value_span.clone()], "20 00");
        assert_eq!(entries[1].value_span, text.len()..text.len());
    }
}
