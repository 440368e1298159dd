//! What nodes hold: the node's own path and a number, so that a reply with another node's value, an old one or none is
//! seen for what it is.

use anyhow::{Result, ensure};

/// How long a value is, in bytes.
pub const VALUE_BYTES: usize = 100;

/// The number's digits.
const DIGITS: usize = 10;

/// Fills a value behind its head; where the filling starts depends on the number.
const FILLING: &[u8; 156] = b"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz\
abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz";

/// The value of this node with this number.
pub fn value(path: &[u8], number: u32) -> [u8; VALUE_BYTES] {
    let mut out = [0; VALUE_BYTES];
    let path = &path[..path.len().min(VALUE_BYTES - DIGITS)];
    out[..path.len()].copy_from_slice(path);
    let mut left = number;
    for digit in out[path.len()..path.len() + DIGITS].iter_mut().rev() {
        *digit = b'0' + u8::try_from(left % 10).unwrap_or(0);
        left /= 10;
    }
    let rest = &mut out[path.len() + DIGITS..];
    let start = usize::try_from(number % 26).unwrap_or(0);
    rest.copy_from_slice(&FILLING[start..start + rest.len()]);
    out
}

/// The number of a value that this node may hold.
///
/// # Errors
/// If it is no value of this node.
pub fn number(path: &[u8], found: &[u8]) -> Result<u32> {
    let shown = || format!("{} for {}", found.escape_ascii(), path.escape_ascii());
    ensure!(found.len() == VALUE_BYTES && found.starts_with(path), "a wrong value: {}", shown());
    let digits = &found[path.len()..path.len() + DIGITS];
    let number: u32 = std::str::from_utf8(digits)?.parse()?;
    ensure!(value(path, number) == found, "a damaged value: {}", shown());
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::{number, value};

    #[test]
    fn a_value_tells_its_node_and_number() {
        let made = value(b"/bench/keys/0007", 4_000_000_123);
        assert_eq!(number(b"/bench/keys/0007", &made).expect("its own"), 4_000_000_123);
        assert!(number(b"/bench/keys/0008", &made).is_err());
        assert!(number(b"/bench/keys/0007", &made[..99]).is_err());
        let mut damaged = made;
        damaged[99] ^= 1;
        assert!(number(b"/bench/keys/0007", &damaged).is_err());
        assert!(number(b"/bench/keys/0007", &[]).is_err());
    }
}
