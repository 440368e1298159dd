//! Runs of the simulator: many seeds, the first failure made small, and saved as a trace.

use std::{
    fmt::{self, Write as _},
    fs,
    io::{BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use simulator::{Coverage, Due, Form, Plain, Plan, Subject, Tracer, play, shrink};
use spec::ServerId;
use world::{Host, Storage};

use crate::{
    engine::{Broken, guard::guarded},
    trace::{FORMAT, Step, differ, digest, write_line},
};

/// Runs that making a failure smaller may take.
pub const SHRINKING_MAX: u32 = 400;

/// The first line of a trace.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: String,
    model: String,
    budget: String,
    row: String,
    setup: Plan,
    rule: String,
    why: String,
}

/// What is carried out in a step, and when.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
struct Action {
    at_us: u64,
    due: Due,
}

/// Plays one plan; a panic counts as a broken rule.
///
/// # Errors
/// The rule that is broken.
pub fn run<F: Form>(plan: &Plan, coverage: &mut Coverage) -> Result<(), Broken> {
    guarded(|| play::<F>(plan, coverage, None).map_err(Broken::from))
}

/// A plan that breaks a rule, as small as it was found, and the rule as the small one breaks it.
pub fn smallest<F: Form>(plan: &Plan, broken: &Broken) -> (Plan, Broken) {
    let mut found = broken.clone();
    let small =
        shrink(plan, SHRINKING_MAX, |candidate| match run::<F>(candidate, &mut Coverage::default()) {
            Err(again) if again.rule == broken.rule => {
                found = again;
                true
            }
            Ok(()) | Err(_) => false,
        });
    (small, found)
}

/// Takes steps down as lines of a trace.
struct Writer<W> {
    file: W,
    failed: Option<anyhow::Error>,
}

impl<W: Write, D: fmt::Debug> Tracer<D> for Writer<W> {
    fn step(
        &mut self,
        at_us: u64,
        due: &Due,
        effects: Vec<String>,
        servers: &[(ServerId, &Host<Subject, D>)],
    ) {
        let line = line(at_us, due, effects, servers);
        if self.failed.is_none() {
            self.failed = write_line(&mut self.file, &line).err();
        }
    }
}

fn line<D: fmt::Debug>(
    at_us: u64,
    due: &Due,
    effects: Vec<String>,
    servers: &[(ServerId, &Host<Subject, D>)],
) -> Step<Action> {
    let parts = servers.iter().map(|(id, host)| (format!("server {id}"), digest(host))).collect();
    Step { action: Action { at_us, due: due.clone() }, effects, parts }
}

/// Saves a plan that breaks a rule, and every step of its run. Returns where.
///
/// # Errors
/// The file cannot be written.
pub fn save<F: Form>(plan: &Plan, broken: &Broken) -> anyhow::Result<PathBuf> {
    let path = Path::new("target/zabcheck").join(format!("{}-{}.jsonl", F::NAME, plan.seed));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = BufWriter::new(fs::File::create(&path)?);
    let header = Header {
        format: FORMAT.to_owned(),
        model: F::NAME.to_owned(),
        budget: "simulate".to_owned(),
        row: format!("seed {}", plan.seed),
        setup: plan.clone(),
        rule: broken.rule.clone(),
        why: broken.why.clone(),
    };
    write_line(&mut file, &header)?;
    let mut writer = Writer { file, failed: None };
    let outcome =
        guarded(|| play::<F>(plan, &mut Coverage::default(), Some(&mut writer)).map_err(Broken::from));
    ensure!(outcome.is_err_and(|again| again.rule == broken.rule), "the run does not break the rule again");
    if let Some(error) = writer.failed {
        return Err(error);
    }
    writer.file.flush()?;
    Ok(path)
}

/// Whether a file is a trace of the simulator.
///
/// # Errors
/// It does not read.
pub(crate) fn is_of_the_simulator(path: &Path) -> anyhow::Result<bool> {
    let file = fs::File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut first = String::new();
    BufReader::new(file).read_line(&mut first)?;
    let header: serde_json::Value = serde_json::from_str(&first).context("the first line is no header")?;
    Ok(header["model"] == Plain::NAME)
}

/// Compares a run with a saved one, and tells it.
struct Reader {
    saved: std::vec::IntoIter<String>,
    number: usize,
    text: String,
    differs: Option<String>,
}

impl<D: Storage<Subject> + fmt::Debug> Tracer<D> for Reader {
    fn step(
        &mut self,
        at_us: u64,
        due: &Due,
        effects: Vec<String>,
        servers: &[(ServerId, &Host<Subject, D>)],
    ) {
        if self.differs.is_some() {
            return;
        }
        self.number += 1;
        let now = line(at_us, due, effects, servers);
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{:>4}. {:>9}.{:03} ms", self.number, at_us / 1_000, at_us % 1_000);
        for effect in &now.effects {
            let _ = writeln!(self.text, "      {effect}");
        }
        for (id, host) in servers {
            let _ = writeln!(self.text, "      server {id} {host}");
        }
        self.differs = self.difference(&now).map(|how| format!("step {} differs: {how}", self.number));
    }
}

impl Reader {
    fn difference(&mut self, now: &Step<Action>) -> Option<String> {
        let Some(line) = self.saved.next() else { return Some("the saved run is over".to_owned()) };
        let was: Step<Action> = match serde_json::from_str(&line) {
            Ok(was) => was,
            Err(error) => return Some(format!("it does not read: {error}")),
        };
        if was.action != now.action {
            return Some(format!("it was {:?}, it is {:?}", was.action, now.action));
        }
        if let Some((was, is)) = differ(&was.effects, &now.effects) {
            return Some(format!("it was \"{was}\", it is \"{is}\""));
        }
        (was.parts != now.parts).then(|| format!("its parts were {:?}, they are {:?}", was.parts, now.parts))
    }
}

/// Plays a saved run again, step by step; returns its transcript.
///
/// # Errors
/// The file does not read, or the run differs from it: in which step, and how.
pub fn replay<F: Form>(path: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(path)?;
    let mut lines = text.lines();
    let header: Header = serde_json::from_str(lines.next().context("the file is empty")?)?;
    ensure!(header.model == F::NAME, "this is a run of {}, not of {}", header.model, F::NAME);
    ensure!(header.format == FORMAT, "the format is {}, and this build reads {FORMAT}", header.format);
    let saved: Vec<_> = lines.map(str::to_owned).collect();
    let count = saved.len();
    let mut reader = Reader { saved: saved.into_iter(), number: 0, text: String::new(), differs: None };
    let outcome = guarded(|| {
        play::<F>(&header.setup, &mut Coverage::default(), Some(&mut reader)).map_err(Broken::from)
    });
    if let Some(how) = reader.differs {
        bail!("{how}");
    }
    ensure!(reader.number == count, "the run ends behind step {}, and {count} are saved", reader.number);
    match outcome {
        Ok(()) => bail!("the run does not break {}", header.rule),
        Err(broken) if broken.rule != header.rule => {
            bail!("the run breaks {}, not {}", broken.rule, header.rule)
        }
        Err(Broken { rule, why }) => {
            let mut text = format!("{}\n", told(&header.setup));
            text.push_str(&reader.text);
            let _ = writeln!(text, "{rule} is broken: {why}");
            Ok(text)
        }
    }
}

/// A plan for a reader.
pub fn told(plan: &Plan) -> String {
    let Plan { seed, size, clients, readers, tuning, heal_ms, faults, deeds } = plan;
    let mut text = format!(
        "seed {seed}: {size} servers, {clients} clients ({readers} of them may go without writing), {} faults, {} requests; repaired after {heal_ms} ms\n{tuning:?}\n",
        faults.len(),
        deeds.len()
    );
    for fault in faults {
        let _ = writeln!(text, "  at {} ms: {:?}", fault.at_ms, fault.what);
    }
    for deed in deeds {
        let _ = writeln!(text, "  at {} ms, client {}: {:?}", deed.at_ms, deed.client, deed.what);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first plan of some that a rule which is nobody's finds fault with, saved.
    fn saved() -> (Plan, PathBuf, String) {
        let plan = Plan::draw(3, Some(simulator::Size::THREE));
        let folder = std::env::temp_dir().join(format!("zabcheck-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for scratch");
        let path = folder.join("run.jsonl");
        let mut writer = Writer { file: Vec::new(), failed: None };
        let outcome = play::<Plain>(&plan, &mut Coverage::default(), Some(&mut writer));
        assert!(outcome.is_ok(), "{outcome:?}");
        (plan, path, String::from_utf8(writer.file).expect("lines of JSON"))
    }

    #[test]
    fn a_seed_is_the_same_run_each_time() {
        let [(_, _, one), (_, path, other)] = [saved(), saved()];
        assert!(one == other, "two runs of one seed differ");
        assert!(one.lines().count() > 500);
        let _ = fs::remove_file(path);
    }

    #[test]
    fn a_replay_stops_at_the_first_difference() {
        let (plan, path, lines) = saved();
        let header = Header {
            format: FORMAT.to_owned(),
            model: Plain::NAME.to_owned(),
            budget: "simulate".to_owned(),
            row: "seed 3".to_owned(),
            setup: plan,
            rule: "I-8".to_owned(),
            why: String::new(),
        };
        let header = serde_json::to_string(&header).expect("plain data");
        fs::write(&path, format!("{header}\n{lines}")).expect("scratch is written");
        let error = replay::<Plain>(&path).expect_err("nothing is broken");
        assert_eq!(error.to_string(), "the run does not break I-8");
        let changed: Vec<_> = lines.lines().map(str::to_owned).collect();
        let place = changed.len() / 2;
        let shorter = [&changed[..place], &changed[place + 1..]].concat().join("\n");
        fs::write(&path, format!("{header}\n{shorter}\n")).expect("scratch is written");
        let error = replay::<Plain>(&path).expect_err("a step is missing").to_string();
        assert!(error.starts_with(&format!("step {} differs: ", place + 1)), "{error}");
        let _ = fs::remove_file(path);
    }
}
