//! Access control lists as words: `scheme:id:perms`, more of them behind commas.

use tree::{
    Acl, Text,
    acl::{ADMIN, CREATE, DELETE, READ, WRITE},
};

/// The letters of permissions, in the order in which they are shown.
const LETTERS: [(char, i32); 5] = [('c', CREATE), ('d', DELETE), ('r', READ), ('w', WRITE), ('a', ADMIN)];

/// Reads a list. Where ZooKeeper's command line drops what it cannot read and goes on with the rest, this says what is
/// wrong: a list that lost an entry lets in, or shuts out, others than were meant. Commas at its end are nothing, there
/// and here.
pub(crate) fn parse(text: &str) -> Result<Vec<Acl>, String> {
    text.trim_end_matches(',').split(',').map(entry).collect()
}

fn entry(text: &str) -> Result<Acl, String> {
    let wrong = || format!("{text} does not have the form scheme:id:perm, such as world:anyone:r");
    let (scheme, rest) = text.split_once(':').ok_or_else(wrong)?;
    let (id, letters) = rest.rsplit_once(':').ok_or_else(wrong)?;
    let mut perms = 0;
    for letter in letters.chars() {
        let known = LETTERS.iter().find(|(known, _)| *known == letter);
        perms |= known.ok_or_else(|| format!("Unknown perm type: {letter}; known are c, d, r, w, a"))?.1;
    }
    Ok(Acl { perms, scheme: Text::from(scheme), id: Text::from(id) })
}

/// The letters of these permissions.
pub(crate) fn letters(perms: i32) -> String {
    LETTERS.iter().filter(|(_, bit)| perms & bit != 0).map(|(letter, _)| letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_shown() {
        let list = parse("world:anyone:r,digest:ann:hash=:cdrwa,ip:10.0.0.0/8:,x:::w,").expect("valid");
        let shown: Vec<_> = list
            .iter()
            .map(|entry| format!("{} {} {}", entry.scheme, entry.id, letters(entry.perms)))
            .collect();
        assert_eq!(shown, ["world anyone r", "digest ann:hash= cdrwa", "ip 10.0.0.0/8 ", "x : w"]);
        for (text, word) in
            [("", "form"), ("world", "form"), ("world:anyone", "form"), ("world:anyone:x", "perm type: x")]
        {
            assert!(parse(text).expect_err(text).contains(word), "{text}");
        }
    }
}
