//! "Did you mean …?"

/// The known word closest to a mistyped one, if any is close: at most a third of its letters away.
pub fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The known word that this one surely stands for: two letters away at most, however long both are.
pub(crate) fn slip<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    closest(word, known.into_iter().filter(|candidate| distance(word, candidate) <= 2))
}

/// Letters to insert, drop, replace or swap with a neighbour to turn one word into the other; case is ignored.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).collect();
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let known = ["tickTime", "dataDir", "dataLogDir", "initLimit"];
        let rows = [
            ("ticktime", Some("tickTime")),
            ("tikcTime", Some("tickTime")),
            ("data_dir", Some("dataDir")),
            ("intiLimit", Some("initLimit")),
            ("dataLogDirr", Some("dataLogDir")),
            ("colour", None),
            ("x", None),
        ];
        for (word, expected) in rows {
            assert_eq!(closest(word, known), expected, "{word}");
        }
    }
}
