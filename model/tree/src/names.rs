//! Names of owners of certificates: what Java's `X500Principal` takes for one.
//!
//! Parts stand between commas or semicolons, attributes of a part between plus signs; each is a keyword or a number with
//! points, an equals sign, and a value: in quotes, as `#` with hexadecimal digits, or plain with backslashes before what
//! would end it.

/// The keywords; case does not count.
const KEYWORDS: [&str; 21] = [
    "CN",
    "C",
    "L",
    "S",
    "ST",
    "O",
    "OU",
    "T",
    "IP",
    "STREET",
    "DC",
    "DNQUALIFIER",
    "DNQ",
    "SURNAME",
    "GIVENNAME",
    "INITIALS",
    "GENERATION",
    "EMAIL",
    "EMAILADDRESS",
    "UID",
    "SERIALNUMBER",
];

/// Whether this is such a name. The empty one, which is nobody's, is not: a client that gives none would mean it.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && Attributes { rest: text }.all(|attribute| attribute.is_some_and(is_attribute))
}

/// The attributes of a name, one after the other; nothing in the place of one that does not end.
struct Attributes<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Option<&'a str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (mut quoted, mut escaped) = (false, false);
        for (at, char) in self.rest.char_indices() {
            match char {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => quoted = !quoted,
                ',' | ';' | '+' if !quoted => {
                    let (attribute, rest) = self.rest.split_at(at);
                    // Behind a separator something has to follow.
                    self.rest = if rest.len() == 1 { " " } else { &rest[1..] };
                    return Some(Some(attribute));
                }
                _ => {}
            }
        }
        let last = core::mem::take(&mut self.rest);
        Some((!quoted && !escaped).then_some(last))
    }
}

fn is_attribute(text: &str) -> bool {
    let Some((key, value)) = text.split_once('=') else { return false };
    is_key(key.trim()) && is_value(value.trim_start())
}

fn is_key(key: &str) -> bool {
    let number = key.strip_prefix("OID.").or_else(|| key.strip_prefix("oid.")).unwrap_or(key);
    KEYWORDS.iter().any(|known| known.eq_ignore_ascii_case(key)) || is_number(number)
}

/// Whether this names an object by numbers with points: 0, 1 or 2 first, and behind 0 and 1 at most 39.
fn is_number(text: &str) -> bool {
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts = text.split('.');
    let (first, second) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let second_max = match first {
        "0" | "1" => 39,
        "2" => u64::MAX,
        _ => return false,
    };
    second.parse::<u64>().is_ok_and(|second| second <= second_max) && parts.all(is_digits)
}

fn is_value(value: &str) -> bool {
    if let Some(hex) = value.strip_prefix('#') {
        return is_der(hex.trim_end());
    }
    let mut rest = value.chars();
    let quoted = value.starts_with('"');
    if quoted {
        rest.next();
    }
    while let Some(char) = rest.next() {
        match char {
            '"' => return quoted && rest.as_str().trim().is_empty(),
            '\\' if !is_escape(&mut rest) => return false,
            '<' | '>' if !quoted => return false,
            _ => {}
        }
    }
    !quoted
}

/// Whether these hexadecimal digits are a tag, a length, and as many bytes as that says.
fn is_der(hex: &str) -> bool {
    if !hex.len().is_multiple_of(2) || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return false;
    }
    let number = |digits: Option<&str>| digits.and_then(|digits| usize::from_str_radix(digits, 16).ok());
    match number(hex.get(2..4)) {
        None => false,
        Some(length @ ..0x80) => hex.len() == 2 * (2 + length),
        // So many bytes of a length follow.
        Some(more) => {
            let more = more & 0x7f;
            let length = number(hex.get(4..4 + 2 * more)).filter(|_| (1..=4).contains(&more));
            length.is_some_and(|length| hex.len() == 2 * (2 + more + length))
        }
    }
}

/// Takes what stands behind a backslash: a character that has a meaning, or two hexadecimal digits.
fn is_escape(rest: &mut core::str::Chars<'_>) -> bool {
    match rest.next() {
        Some(char) if " ,=+<>#;\"\\\r\n".contains(char) => true,
        Some(first) if first.is_ascii_hexdigit() => {
            rest.next().is_some_and(|second| second.is_ascii_hexdigit())
        }
        Some(_) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn names_are_those_that_java_takes() {
        // Each tried with `new X500Principal(…)` of Java 17, which takes the empty one too.
        let good = [
            "CN=a",
            " CN = a ",
            "CN =a",
            "cn=a",
            "CN=",
            "CN=a,O=b",
            "CN=a;O=b",
            "CN=a+O=b",
            "CN=a=b",
            "CN=a#b",
            "CN=\"a,b\"",
            "CN=a\\,b",
            "CN=a\\41",
            "CN=ä",
            "CN=#0401ff",
            "1.2.3=#0401ff",
            "1.2.3=a",
            "OID.1.2.3=a",
            "EMAILADDRESS=a",
            "SERIALNUMBER=1",
            "DNQ=a",
            "T=a",
            "IP=a",
            "UID=a",
        ];
        for name in good {
            assert!(is_name(name), "{name:?}");
        }
        let bad = [
            "",
            "x",
            "user",
            "=a",
            "FOO=a",
            "ROLE=a",
            "C N=a",
            "1=a",
            "1.2.=a",
            "3.2=a",
            "CN=a,",
            "CN=a,,O=b",
            ",CN=a",
            "CN=a+",
            "+CN=a",
            "CN=#",
            "CN=#04",
            "CN=#xx",
            "CN=\"a",
            "CN=\"a\" b",
            "CN=a\"b",
            "CN=a<b",
            "CN=a\\",
            "CN=a\\zb",
        ];
        for name in bad {
            assert!(!is_name(name), "{name:?}");
        }
    }
}
