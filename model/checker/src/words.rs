//! Words that models share where they tell people of a state.

/// What has been used of bounds, or is left of them; what is 0 goes without saying.
pub(crate) fn counts(counts: &[(u8, &str)]) -> Vec<String> {
    let told: Vec<_> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if told.is_empty() { Vec::new() } else { vec![told.join(", ")] }
}
