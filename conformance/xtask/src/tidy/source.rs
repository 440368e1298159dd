//! Words that must not stand in sources, comments and texts aside.

use super::Fault;

/// The folders of the pure crates' sources.
const PURE: &[&str] =
    &["spec/src/", "model/protocol/src/", "model/tree/src/", "model/world/src/", "model/simulator/src/"];

/// What a pure crate must not name: it would read the world instead of being told.
const WORLDLY: &[&str] = &[
    "Instant",
    "SystemTime",
    "rand",
    "std::fs",
    "std::net",
    "std::thread",
    "std::env",
    "std::process",
    "std::time",
    "tokio",
    "thread_rng",
];

/// What walks a hash table in an order that nobody decided.
const WALKS: &[&str] =
    &["iter", "iter_mut", "into_iter", "keys", "into_keys", "values", "values_mut", "into_values", "drain"];

/// Every forbidden word of a source file, with its line.
pub(super) fn check(path: &str, text: &str) -> Vec<Fault> {
    let code = code_only(text);
    let mut faults = Vec::new();
    let pure = PURE.iter().any(|folder| path.contains(folder));
    let tables = if pure { hash_tables(&code) } else { Vec::new() };
    for (index, line) in code.lines().enumerate() {
        let place = || format!("{path}:{}", index + 1);
        if words(line, "unsafe").next().is_some() {
            faults.push(Fault::new(place(), "`unsafe`"));
        }
        if pure {
            for word in WORLDLY.iter().filter(|word| words(line, word).next().is_some()) {
                faults.push(Fault::new(place(), format!("`{word}` in a pure crate")));
            }
            for table in tables.iter().filter(|table| walks(line, table)) {
                faults.push(Fault::new(
                    place(),
                    format!("walks the hash table `{table}`, whose order nobody decided"),
                ));
            }
        }
    }
    faults
}

/// Where `word` stands in `line` as a word of its own.
fn words<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    line.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = line.as_bytes()[..*at].last().copied();
        let after = line.as_bytes().get(at + word.len()).copied();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// The names of fields and variables that are declared as hash tables.
fn hash_tables(code: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in code.lines() {
        for kind in ["HashMap", "HashSet", "HashTable", "FxHashMap", "FxHashSet"] {
            for at in words(line, kind) {
                let before =
                    line[..at].trim_end_matches("hashbrown::").trim_end_matches("std::collections::");
                let before = before.trim_end().trim_end_matches(['&', '=', ':']).trim_end();
                let before = before
                    .strip_suffix("mut")
                    .map_or(before, str::trim_end)
                    .trim_end_matches([':', '&', ' ']);
                let name: String =
                    before.chars().rev().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let name: String = name.chars().rev().collect();
                let keyword = ["use", "struct", "impl", "for", "return", "type", ""].contains(&name.as_str());
                if !keyword && !names.contains(&name) {
                    names.push(name);
                }
            }
        }
    }
    names
}

fn walks(line: &str, table: &str) -> bool {
    words(line, table).any(|at| {
        let behind = &line[at + table.len()..];
        let called = WALKS
            .iter()
            .any(|walk| behind.strip_prefix('.').is_some_and(|rest| rest.starts_with(&format!("{walk}("))));
        let before =
            line[..at].trim_end_matches("self.").trim_end_matches(['&', '*']).trim_end_matches("mut ");
        let looped = before.trim_end_matches('&').ends_with(" in ") && behind.trim_start().starts_with('{');
        called || looped
    })
}

/// The text with comments, strings and characters blanked out, line by line as before.
fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let length =
            comment(rest).or_else(|| raw_string(rest, at.checked_sub(1).map(|before| bytes[before])));
        let length = length.or_else(|| string(rest)).or_else(|| character(rest));
        if let Some(length) = length {
            let blanked = &bytes[at..at + length];
            out.extend(blanked.iter().map(|byte| if *byte == b'\n' { '\n' } else { ' ' }));
            at += length;
        } else {
            // Beyond ASCII nothing matters here but that bytes stay bytes.
            out.push(if rest[0].is_ascii() { char::from(rest[0]) } else { '?' });
            at += 1;
        }
    }
    out
}

fn comment(rest: &[u8]) -> Option<usize> {
    if rest.starts_with(b"//") {
        return Some(rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with(b"/*") {
        return None;
    }
    let (mut depth, mut at) = (1, 2);
    while depth > 0 && at < rest.len() {
        let pair = &rest[at..];
        if pair.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if pair.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += 1;
        }
    }
    Some(at)
}

fn raw_string(rest: &[u8], before: Option<u8>) -> Option<usize> {
    let inside_word = before.is_some_and(|byte| byte.is_ascii_alphanumeric() && byte != b'b' || byte == b'_');
    let hashes = rest.strip_prefix(b"r")?.iter().take_while(|byte| **byte == b'#').count();
    if inside_word || rest.get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let end = [&b"\""[..], &b"#".repeat(hashes)].concat();
    let body = &rest[2 + hashes..];
    let length = body.windows(end.len()).position(|window| window == end)?;
    Some(2 + hashes + length + end.len())
}

fn string(rest: &[u8]) -> Option<usize> {
    if rest.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return Some(at + 1),
            _ => at += 1,
        }
    }
    Some(rest.len())
}

/// A character, and not a lifetime.
fn character(rest: &[u8]) -> Option<usize> {
    if rest.first() != Some(&b'\'') {
        return None;
    }
    if rest.get(1) == Some(&b'\\') {
        return rest.iter().skip(3).position(|byte| *byte == b'\'').map(|length| length + 4);
    }
    let length = std::str::from_utf8(&rest[1..rest.len().min(5)])
        .map_or_else(|error| error.valid_up_to(), str::len)
        .min(4);
    let text = std::str::from_utf8(&rest[1..=length]).ok()?;
    let width = text.chars().next()?.len_utf8();
    (rest.get(1 + width) == Some(&b'\'')).then_some(2 + width)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PURE_FILE: &str = "model/protocol/src/zab.rs";

    fn faults(path: &str, text: &str) -> Vec<String> {
        check(path, text).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn unsafe_code_is_a_fault_everywhere() {
        assert_eq!(
            faults("impl/server/src/run.rs", "fn f() {\n    unsafe { g() }\n}"),
            ["impl/server/src/run.rs:2: `unsafe`"]
        );
        assert!(
            faults("a.rs", "// unsafe\n/* unsafe /* nested */ unsafe */ let unsafe_code = \"unsafe\";")
                .is_empty()
        );
    }

    #[test]
    fn the_world_in_a_pure_crate_is_a_fault() {
        let text = "use std::time::Instant;";
        assert_eq!(faults(PURE_FILE, text).len(), 2);
        assert!(faults("impl/server/src/run.rs", text).is_empty());
        assert!(
            faults(PURE_FILE, "//! Instant\nstruct InstantLike; let operand = r#\"rand \"SystemTime\"#;")
                .is_empty()
        );
        for word in WORLDLY {
            assert!(!faults(PURE_FILE, &format!("use {word}::x;")).is_empty(), "{word}");
        }
    }

    #[test]
    fn walking_a_hash_table_is_a_fault_and_asking_it_is_not() {
        let field = "struct S { nodes: hashbrown::HashMap<u8, u8> }\n";
        for walk in [
            "self.nodes.iter()",
            "for (k, v) in &self.nodes {",
            "nodes.keys()",
            "for n in self.nodes.drain() {",
        ] {
            assert_eq!(faults("model/tree/src/tree.rs", &format!("{field}{walk}")).len(), 1, "{walk}");
        }
        for ask in ["self.nodes.get(&1)", "self.nodes.len()", "self.children.iter()", "my_nodes.iter()"] {
            assert!(faults("model/tree/src/tree.rs", &format!("{field}{ask}")).is_empty(), "{ask}");
        }
        let local = "let mut seen: &mut HashSet<u8> = x;\nfor s in seen {";
        assert_eq!(faults(PURE_FILE, local).len(), 1);
        let made = "let seen = HashSet::new();\nseen.iter()";
        assert_eq!(faults(PURE_FILE, made).len(), 1);
    }

    #[test]
    fn texts_and_characters_are_no_code() {
        let text = "let a = '\"'; let b = '\\''; let c: &'static str = \"\\\" unsafe\"; let d = b\"unsafe\"; let é = 'é';";
        assert!(faults("a.rs", text).is_empty());
        assert_eq!(faults("a.rs", "let a = '\"'; unsafe {} let b = '\"';").len(), 1);
        assert_eq!(code_only("a\n\"x\ny\"\nb").lines().count(), 4);
    }
}
