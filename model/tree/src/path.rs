//! The form of paths.
//!
//! Inside the tree the root is the empty path, so that every node's path is its parent's, a slash and its name.

use spec::ErrorCode;

use crate::Text;

/// Refuses a path that no node may have (rule T-4).
///
/// It must start with a slash and not end with one, unless it is the root. No name in it is empty, `.` or `..`. Its
/// characters are judged as UTF-16 units, as ZooKeeper does: none of U+0000–001F, U+007F–009F, U+D800–F8FF (so none
/// beyond the basic plane, whose units are surrogates) and U+FFF0–FFFF.
///
/// Source: ZooKeeper `PathUtils.validatePath`.
///
/// # Errors
/// [`ErrorCode::BadArguments`].
pub fn validate(path: &str) -> Result<(), ErrorCode> {
    let Some(names) = path.strip_prefix('/') else {
        return Err(ErrorCode::BadArguments);
    };
    if names.is_empty() {
        return Ok(());
    }
    let names_are_good = names.split('/').all(|name| !matches!(name, "" | "." | ".."));
    if names_are_good && names.chars().all(allowed) { Ok(()) } else { Err(ErrorCode::BadArguments) }
}

fn allowed(character: char) -> bool {
    !matches!(character, '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..)
}

/// The parent's path of a path that is to be created or deleted, before the whole of it is judged: it must have a
/// slash and no null character (rule T-5).
///
/// # Errors
/// [`ErrorCode::BadArguments`].
pub fn parent_of_request(path: &Text) -> Result<Text, ErrorCode> {
    let slash = last_slash(path.as_str()).ok_or(ErrorCode::BadArguments)?;
    if path.as_bytes().contains(&0) {
        return Err(ErrorCode::BadArguments);
    }
    Ok(inner(&path.slice(0..slash)))
}

/// Whether the path is one of those that may not be deleted.
pub fn is_reserved(path: &str) -> bool {
    matches!(path, "/" | "/zookeeper" | "/zookeeper/quota" | "/zookeeper/config")
}

/// The paths above one, as clients have them, from the parent to the root. A text without a slash has none.
pub(crate) fn above(path: &str) -> impl Iterator<Item = &str> {
    core::iter::successors(parent_above(path), |path| parent_above(path))
}

fn parent_above(path: &str) -> Option<&str> {
    match path.rsplit_once('/')? {
        ("", "") => None,
        ("", _) => Some("/"),
        (parent, _) => Some(parent),
    }
}

/// The path as the tree has it: the root's is empty.
pub(crate) fn inner(path: &Text) -> Text {
    if path == "/" { Text::default() } else { path.clone() }
}

/// As [`inner`], for a slice.
pub(crate) fn inner_str(path: &str) -> &str {
    if path == "/" { "" } else { path }
}

/// The path as clients have it: the root's is a slash.
pub(crate) fn outer(path: Text) -> Text {
    if path.is_empty() { Text::from_static("/") } else { path }
}

/// The parent's path and the name, of a path as the tree has it. None for the root, and for what no path is.
pub(crate) fn split(path: &str) -> Option<(&str, &str)> {
    let slash = last_slash(path)?;
    Some((&path[..slash], &path[slash + 1..]))
}

/// The parent's path of a path as the tree has it, if it is one of a node that can have a parent.
pub(crate) fn parent(path: &Text) -> Option<&str> {
    split(path.as_str()).map(|(parent, _)| parent)
}

/// Whether a node may stand under this name, whoever vouches for it: walks tell names apart by null characters.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.as_bytes().contains(&0)
}

fn last_slash(path: &str) -> Option<usize> {
    path.rfind('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of ZooKeeper's own rules, each with the reason.
    const ROWS: &[(&str, bool, &str)] = &[
        ("/", true, "the root"),
        ("/a", true, "a name"),
        ("/a/b", true, "two names"),
        ("/a b/\u{e9}\u{4e2d}", true, "spaces and letters of the basic plane"),
        ("/...", true, "three dots are a name"),
        ("/.a", true, "a dot may begin a name"),
        ("/a.", true, "and end it"),
        ("/a..b", true, "and be inside"),
        ("/\u{ffef}", true, "just below the specials"),
        ("/\u{f900}", true, "just above the private use area"),
        ("/\u{d7ff}", true, "just below the surrogates"),
        ("/\u{a0}", true, "just above the controls"),
        ("/~", true, "just below them"),
        ("", false, "empty"),
        ("a", false, "no slash first"),
        ("a/b", false, "no slash first"),
        ("/a/", false, "a slash last"),
        ("//", false, "an empty name"),
        ("//a", false, "an empty name"),
        ("/a//b", false, "an empty name"),
        ("/.", false, "relative"),
        ("/..", false, "relative"),
        ("/a/./b", false, "relative"),
        ("/a/../b", false, "relative"),
        ("/a/..", false, "relative"),
        ("/a\0", false, "null"),
        ("/a\u{1}", false, "a control"),
        ("/a\u{1f}", false, "a control"),
        ("/a\u{7f}", false, "a control"),
        ("/a\u{9f}", false, "a control"),
        ("/\u{e000}", false, "private use"),
        ("/\u{f8ff}", false, "private use"),
        ("/\u{fff0}", false, "a special"),
        ("/\u{ffff}", false, "a special"),
        ("/\u{1f600}", false, "beyond the basic plane: surrogates in UTF-16"),
    ];

    #[test]
    fn paths_are_judged_as_zookeeper_does() {
        for (path, good, why) in ROWS {
            assert_eq!(validate(path).is_ok(), *good, "{path:?}: {why}");
        }
    }

    #[test]
    fn above_a_path_are_its_parents_up_to_the_root() {
        let found = |path| above(path).collect::<alloc::vec::Vec<_>>();
        assert_eq!(found("/a/b/c"), ["/a/b", "/a", "/"]);
        assert_eq!(found("/a"), ["/"]);
        for path in ["/", "", "a"] {
            assert!(found(path).is_empty(), "{path}");
        }
    }

    #[test]
    fn the_parent_is_what_stands_before_the_last_slash() {
        let parent = |path: &str| parent_of_request(&Text::from(path));
        assert_eq!(parent("/a/b").expect("has a parent"), "/a");
        assert_eq!(parent("/a").expect("has a parent"), "");
        assert_eq!(parent("/").expect("the root stands in itself, for a sequential name"), "");
        assert_eq!(parent("//a").expect("the root again"), "", "so that its form is what is wrong with it");
        assert_eq!(parent("a"), Err(ErrorCode::BadArguments));
        assert_eq!(parent("/a\0/b"), Err(ErrorCode::BadArguments));
    }
}
