//! What the figures are held against, and how that is shown.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};

use crate::{
    bench::Outcome,
    figures,
    figures::Figures,
    rows::{Bound, How},
};

/// How a figure stands to its bound.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The goal is reached.
    Goal,
    /// The floor is reached.
    Floor,
    /// It is not.
    Missed,
    /// There is nothing to compare with.
    Open,
}

/// Who is compared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Names {
    /// What ours is held against.
    pub other: &'static str,
    /// Ours.
    pub ours: &'static str,
    /// The same for scripts.
    pub keys: [&'static str; 2],
}

/// The two makers of servers.
pub const MAKERS: Names =
    Names { other: "Apache ZooKeeper", ours: "Zabkeeper", keys: ["apache", "zabkeeper"] };
/// Ours without its flight recorder, and with it.
pub const RECORDER: Names = Names { other: "recorder off", ours: "recorder on", keys: ["off", "on"] };

impl Verdict {
    fn text(self) -> &'static str {
        match self {
            Self::Goal => "goal",
            Self::Floor => "floor",
            Self::Missed => "MISSED",
            Self::Open => "-",
        }
    }
}

/// The sides of an outcome: Apache's, if it was measured, and ours.
fn sides(outcome: &Outcome) -> (Option<&Figures>, Option<&Figures>) {
    match outcome.sides.as_slice() {
        [ours] => (None, Some(ours)),
        [apache, ours, ..] => (Some(apache), Some(ours)),
        [] => (None, None),
    }
}

/// What is held against floor and goal: a ratio, or the figure itself.
fn reached(outcome: &Outcome, bound: &Bound) -> Option<f64> {
    let (apache, ours) = sides(outcome);
    let of = |side: Option<&Figures>| side.and_then(|side| side.get(bound.figure)).copied();
    let ours = of(ours)?;
    match bound.how {
        How::AtMost => Some(ours),
        How::TimesMore => of(apache).filter(|apache| *apache > 0.0).map(|apache| ours / apache),
        How::TimesLess => of(apache).filter(|_| ours > 0.0).map(|apache| apache / ours),
    }
}

/// How a row's figure stands to its bound. An answer with an error misses every floor.
pub fn verdict(outcome: &Outcome, bound: &Bound) -> Verdict {
    let errors = sides(outcome).1.and_then(|ours| ours.get(figures::ERRORS)).copied().unwrap_or(0.0);
    let Some(value) = reached(outcome, bound) else { return Verdict::Open };
    let within = |limit: f64| match bound.how {
        How::AtMost => value <= limit,
        How::TimesMore | How::TimesLess => value >= limit,
    };
    match (errors > 0.0, within(bound.goal), within(bound.floor)) {
        (true, _, _) | (_, _, false) => Verdict::Missed,
        (_, true, _) => Verdict::Goal,
        _ => Verdict::Floor,
    }
}

/// Whether every floor that counts holds.
pub fn holds(outcome: &Outcome) -> bool {
    !outcome.row.counts || outcome.row.bounds.iter().all(|bound| verdict(outcome, bound) != Verdict::Missed)
}

/// One row for scripts.
pub fn json(outcome: &Outcome, names: Names) -> Value {
    let (other, ours) = sides(outcome);
    let bounds: Vec<Value> = outcome
        .row
        .bounds
        .iter()
        .map(|bound| {
            let reached = reached(outcome, bound);
            json!({
                "figure": bound.figure, "how": how(bound.how), "reached": reached,
                "floor": bound.floor, "goal": bound.goal, "verdict": verdict(outcome, bound).text(),
            })
        })
        .collect();
    let [other_key, ours_key] = names.keys;
    json!({
        "row": outcome.row.name, "what": outcome.row.what, other_key: other, ours_key: ours, "bounds": bounds,
        "counts": outcome.row.counts, "holds": holds(outcome),
    })
}

fn how(how: How) -> &'static str {
    match how {
        How::TimesMore => "times more",
        How::TimesLess => "times less",
        How::AtMost => "at most",
    }
}

/// A row in short, as it is done.
pub fn line(outcome: &Outcome, names: Names) -> String {
    let (other, ours) = sides(outcome);
    let side = |figures: Option<&Figures>| {
        let cells = figures::NAMES.iter().filter_map(|name| Some((name, figures?.get(name)?)));
        cells.map(|(name, value)| format!("{name} {}", shown(*value))).collect::<Vec<_>>().join(", ")
    };
    format!("{}\n  {}: {}\n  {}: {}", outcome.row.name, names.other, side(other), names.ours, side(ours))
}

/// The tables for people: what is held against floors, then everything.
pub fn tables(outcomes: &[Outcome], names: Names) -> String {
    let mut text = String::new();
    let missed = outcomes.iter().filter(|outcome| !holds(outcome)).count();
    let _ = writeln!(text, "{}\n", bounds_table(outcomes, names));
    let _ = writeln!(text, "{}\n", figures_table(outcomes, names));
    let _ = writeln!(text, "{} rows, {missed} with a missed floor.", outcomes.len());
    text
}

fn table(header: &[&str], left: usize) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(left) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn bounds_table(outcomes: &[Outcome], names: Names) -> Table {
    let header = ["row", "figure", names.other, names.ours, "ratio", "floor", "goal", "reached"];
    let mut table = table(&header, 2);
    for outcome in outcomes {
        let (apache, ours) = sides(outcome);
        for bound in outcome.row.bounds {
            let of = |side: Option<&Figures>| side.and_then(|side| side.get(bound.figure)).copied();
            let limit = |limit: f64| match bound.how {
                How::AtMost => format!("≤ {}", shown(limit)),
                How::TimesMore => format!("{limit}x"),
                How::TimesLess => format!("{limit}x less"),
            };
            let ratio = match (of(apache), of(ours)) {
                (Some(apache), Some(ours)) if apache > 0.0 && ours > 0.0 => match bound.how {
                    How::TimesMore => format!("{:.2}x", ours / apache),
                    How::TimesLess | How::AtMost => format!("{:.2}x less", apache / ours),
                },
                _ => "-".to_owned(),
            };
            let told = if outcome.row.counts { "" } else { " (told only)" };
            table.add_row([
                outcome.row.name.to_owned(),
                bound.figure.to_owned(),
                of(apache).map_or_else(|| "-".to_owned(), shown),
                of(ours).map_or_else(|| "-".to_owned(), shown),
                ratio,
                limit(bound.floor),
                limit(bound.goal),
                format!("{}{told}", verdict(outcome, bound).text()),
            ]);
        }
    }
    table
}

fn figures_table(outcomes: &[Outcome], names: Names) -> Table {
    let header: Vec<&str> = ["row", "servers"].into_iter().chain(figures::NAMES.iter().copied()).collect();
    let mut table = table(&header, 2);
    for outcome in outcomes {
        let (other, ours) = sides(outcome);
        for (name, side) in [(names.other, other), (names.ours, ours)] {
            let Some(side) = side else { continue };
            let cells =
                figures::NAMES.iter().map(|name| side.get(name).copied().map_or_else(String::new, shown));
            table.add_row([outcome.row.name.to_owned(), name.to_owned()].into_iter().chain(cells));
        }
    }
    table
}

/// Three digits that count.
fn shown(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value if value.abs() >= 100.0 => {
            let digits = format!("{value:.0}");
            let mut grouped = String::new();
            for (place, digit) in digits.chars().enumerate() {
                if place > 0 && (digits.len() - place).is_multiple_of(3) {
                    grouped.push(' ');
                }
                grouped.push(digit);
            }
            grouped
        }
        value if value.abs() >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Verdict, holds, shown, verdict};
    use crate::{
        bench::Outcome,
        figures::{ERRORS, Figures, MS, RATE},
        rows::{ROWS, Row},
    };

    fn row(name: &str) -> Row {
        *ROWS.iter().find(|row| row.name == name).expect("a row")
    }

    fn outcome(name: &str, sides: &[&[(&'static str, f64)]]) -> Outcome {
        let figures = |side: &&[(&'static str, f64)]| side.iter().copied().collect::<Figures>();
        Outcome { row: row(name), sides: sides.iter().map(figures).collect() }
    }

    #[test]
    fn a_ratio_is_held_against_floor_and_goal() {
        for (ours, expected) in [(299.0, Verdict::Missed), (300.0, Verdict::Floor), (700.0, Verdict::Goal)] {
            let outcome = outcome("create-delete-64x16", &[&[(RATE, 100.0)], &[(RATE, ours)]]);
            assert_eq!(verdict(&outcome, &outcome.row.bounds[0]), expected);
            assert_eq!(holds(&outcome), expected != Verdict::Missed);
        }
    }

    #[test]
    fn a_limit_needs_no_other_side_and_a_ratio_does() {
        let killed = outcome("leader-killed", &[&[(MS, 201.0)]]);
        assert_eq!(verdict(&killed, &killed.row.bounds[0]), Verdict::Missed);
        let alone = outcome("create-delete-64x16", &[&[(RATE, 1.0)]]);
        assert_eq!(verdict(&alone, &alone.row.bounds[0]), Verdict::Open);
    }

    #[test]
    fn errors_miss_the_floor() {
        let failed = outcome("create-delete-64x16", &[&[(RATE, 1.0)], &[(RATE, 100.0), (ERRORS, 1.0)]]);
        assert!(!holds(&failed));
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!(
            [shown(1_234_567.8), shown(123.4), shown(12.34), shown(1.234)],
            ["1 234 568", "123", "12.3", "1.23"]
        );
    }
}
