//! The syntax of tokens.

use std::borrow::Cow;

/// The directives of a token: `key=value`, separated by commas, values perhaps in quotes.
pub(crate) struct Directives<'a>(Vec<(String, Cow<'a, [u8]>)>);

impl<'a> Directives<'a> {
    pub(crate) fn parse(mut rest: &'a [u8]) -> Result<Self, String> {
        let mut directives = Vec::new();
        loop {
            rest = rest.trim_ascii_start();
            while let Some(behind) = rest.strip_prefix(b",") {
                rest = behind.trim_ascii_start();
            }
            if rest.is_empty() {
                return Ok(Self(directives));
            }
            let equals = rest.iter().position(|byte| *byte == b'=').ok_or("a directive has no value")?;
            let key = String::from_utf8_lossy(rest[..equals].trim_ascii()).to_ascii_lowercase();
            let (value, behind) = value(rest[equals + 1..].trim_ascii_start())
                .ok_or_else(|| format!("the quotes around {key:?} are not closed"))?;
            rest = behind.trim_ascii_start();
            if !rest.is_empty() && !rest.starts_with(b",") {
                return Err(format!("there is more behind the value of {key:?}"));
            }
            directives.push((key, value));
        }
    }

    /// The value of a directive where it stands first.
    pub(crate) fn first(&self, key: &str) -> Option<&[u8]> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| &**value)
    }

    /// The value of a directive that may stand there once.
    pub(crate) fn one(&self, key: &str) -> Result<Option<&[u8]>, String> {
        let mut found = self.0.iter().filter(|(name, _)| name == key).map(|(_, value)| &**value);
        let first = found.next();
        if found.next().is_some() { Err(format!("{key} is given twice")) } else { Ok(first) }
    }
}

/// A value, and what is behind it; none if its quotes are not closed.
fn value(rest: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let Some(quoted) = rest.strip_prefix(b"\"") else {
        let end = rest.iter().position(|byte| *byte == b',').unwrap_or(rest.len());
        return Some((Cow::Borrowed(rest[..end].trim_ascii_end()), &rest[end..]));
    };
    let mut value = Vec::new();
    let mut bytes = quoted.iter().enumerate();
    while let Some((place, byte)) = bytes.next() {
        match byte {
            b'"' => return Some((Cow::Owned(value), &quoted[place + 1..])),
            b'\\' => value.push(*bytes.next()?.1),
            byte => value.push(*byte),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_are_read() {
        let parsed = Directives::parse(br#" a = "x\"y\\" , ,b=z ,c="" "#).expect("it is well formed");
        assert_eq!(parsed.one("a"), Ok(Some(&b"x\"y\\"[..])));
        assert_eq!(parsed.one("b"), Ok(Some(&b"z"[..])));
        assert_eq!(parsed.one("c"), Ok(Some(&b""[..])));
        assert_eq!(parsed.one("d"), Ok(None));
    }
}
