//! What may stand where the cursor is.

use crate::{
    line::{Begun, begun},
    verbs::{self, VERBS},
};

/// What is being written, from a place in the line on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Wanted {
    /// Where the word begins, in bytes.
    pub(crate) from: usize,
    /// The quote that it begins with, if it does.
    pub(crate) quote: Option<char>,
    pub(crate) what: What,
}

/// What a word may become.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum What {
    /// One of these words.
    Words(Vec<(String, String)>),
    /// A child of this node whose name begins so.
    Child { parent: String, prefix: String },
    /// Nothing that is known here.
    Nothing,
}

/// Looks at the line up to the cursor.
pub(crate) fn wanted(before: &str) -> Wanted {
    let Begun { earlier, from, word, quote } = begun(before);
    let word = word.as_str();
    let Some((name, earlier)) = earlier.split_first() else {
        return Wanted { from, quote, what: verbs_like(word) };
    };
    let what = match verbs::find(name) {
        Some(verb) if verb.name == "help" => verbs_like(word),
        Some(verb) if word.starts_with('-') => {
            let flags = verb.flags.iter().map(|flag| (format!("-{}", flag.name), flag.help.to_owned()));
            What::Words(flags.filter(|(flag, _)| flag.starts_with(word)).collect())
        }
        // Paths begin with a slash; where one is due, an empty word is the beginning of one.
        Some(verb) if word.starts_with('/') || verb.takes_path && word.is_empty() && no_path_in(earlier) => {
            let (parent, prefix) = word.rsplit_once('/').unwrap_or_default();
            let parent = if parent.is_empty() { "/" } else { parent };
            What::Child { parent: parent.to_owned(), prefix: prefix.to_owned() }
        }
        Some(_) | None => What::Nothing,
    };
    Wanted { from, quote, what }
}

fn no_path_in(words: &[String]) -> bool {
    words.iter().all(|word| !word.starts_with('/'))
}

fn verbs_like(word: &str) -> What {
    let lower = word.to_lowercase();
    let fitting = VERBS.iter().filter(|verb| verb.name.to_lowercase().starts_with(&lower));
    What::Words(fitting.map(|verb| (verb.name.to_owned(), verb.about.to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(before: &str) -> (usize, Vec<String>) {
        let wanted = wanted(before);
        let What::Words(words) = wanted.what else { panic!("{before}: {:?}", wanted.what) };
        (wanted.from, words.into_iter().map(|(word, _)| word).collect())
    }

    #[test]
    fn verbs_flags_and_paths_are_completed_where_they_may_stand() {
        assert_eq!(words("getA"), (0, vec!["getAcl".to_owned(), "getAllChildrenNumber".to_owned()]));
        assert_eq!(words("geta").1, words("getA").1, "whatever the case");
        assert_eq!(words("  qu"), (2, vec!["quit".to_owned()]));
        assert_eq!(words("").1.len(), VERBS.len());
        assert_eq!(words("help setq"), (5, vec!["setquota".to_owned()]));
        assert_eq!(words("ls -"), (3, vec!["-s".to_owned(), "-w".to_owned(), "-R".to_owned()]));
        let child = |before| {
            let What::Child { parent, prefix } = wanted(before).what else { panic!("{before}") };
            format!("{parent} {prefix}")
        };
        assert_eq!(child("ls /"), "/ ");
        assert_eq!(child("ls "), "/ ");
        assert_eq!(child("ls -s /a"), "/ a");
        assert_eq!(child("ls /a/b"), "/a b");
        assert_eq!(child("ls /a/"), "/a ");
        assert_eq!(child("ls '/a b"), "/ a b");
        assert_eq!(child("ls '/a b'/c"), "/a b c");
        assert_eq!(wanted("ls -s '/a b").from, 6);
        for before in ["set /a ", "set '/a b' ", "set /a x", "whoami x", "frob /a", "printwatches "] {
            assert_eq!(wanted(before).what, What::Nothing, "{before}");
        }
    }
}
