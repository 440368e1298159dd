//! Whether a word is a path, in the words of ZooKeeper's clients.

/// Refuses what no node's path is; the server would refuse it as well, without a reason.
pub(crate) fn judge(path: &str) -> Result<(), String> {
    if tree::path::validate(path).is_ok() {
        return Ok(());
    }
    if path.is_empty() {
        return Err("Path length must be > 0".to_owned());
    }
    if !path.starts_with('/') {
        return Err("Path must start with / character".to_owned());
    }
    if path.ends_with('/') {
        return Err("Path must not end with / character".to_owned());
    }
    Err(format!("Invalid path string {path:?} caused by {}", cause(path)))
}

/// The first thing that is wrong, and where, counted in UTF-16 units as ZooKeeper does.
fn cause(path: &str) -> String {
    let mut at = 0;
    for name in path.split('/').skip(1) {
        at += 1;
        match name {
            "" => return format!("empty node name specified @{at}"),
            "." => return format!("relative paths not allowed @{at}"),
            ".." => return format!("relative paths not allowed @{}", at + 1),
            _ => {}
        }
        for character in name.chars() {
            if tree::path::validate(&format!("/x{character}")).is_err() {
                let what = if character == '\0' { "null character not allowed" } else { "invalid character" };
                return format!("{what} @{at}");
            }
            at += character.len_utf16();
        }
    }
    "what no path may have".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_path_is_refused_with_its_reason() {
        for path in ["/", "/a", "/a/b", "/a b/é"] {
            assert_eq!(judge(path), Ok(()), "{path}");
        }
        let rows = [
            ("", "length must be > 0"),
            ("a/b", "Path must start with / character"),
            ("/a/", "must not end with /"),
            ("/a//b", "empty node name specified @3"),
            ("/a/../b", "relative paths not allowed @4"),
            ("/a/./b", "relative paths not allowed @3"),
            ("/é\u{1}", "invalid character @2"),
            ("/\0", "null character not allowed @1"),
        ];
        for (path, reason) in rows {
            assert!(judge(path).expect_err(path).contains(reason), "{path:?}: {:?}", judge(path));
        }
    }
}
