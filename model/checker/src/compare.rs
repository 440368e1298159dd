//! Tells what came of comparing the models where they join.

use std::io::{self, Write};

use checker::{figures::grouped, joins::Join};

/// Writes a join for a reader.
pub(crate) fn tell(join: &Join, out: &mut impl Write) -> io::Result<()> {
    let searches = |searches: &[(String, usize)]| {
        let texts = searches.iter().map(|(name, states)| format!("{name} ({})", grouped(*states as u64)));
        texts.collect::<Vec<_>>().join(", ")
    };
    writeln!(out, "{}: {}", join.name, join.claim)?;
    writeln!(
        out,
        "  reached: {} outcomes in the states of {}",
        join.reached.len(),
        searches(&join.reaching)
    )?;
    writeln!(out, "  allowed: {} outcomes in the states of {}", join.allowed, searches(&join.allowing))?;
    if join.aside > 0 {
        writeln!(
            out,
            "  not compared: {} outcomes of histories that those states do not come to",
            join.aside
        )?;
    }
    match join.missing.len() {
        0 => writeln!(out, "  every outcome that is reached is allowed")?,
        count => writeln!(out, "  NOT ALLOWED, {count}:")?,
    }
    join.missing.iter().try_for_each(|outcome| writeln!(out, "    {outcome}"))
}
