//! Runs as data: JSON lines that can be read, compared and executed again.
//!
//! The first line says what was searched and what was found. Each further line is one transition: the action by
//! name, what happened, and a digest of each part that changed: the first 64 bits of xxh3 over the part's postcard
//! encoding. Executing a trace stops at the first difference.

use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, BufWriter, Write},
    path::Path,
};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use world::script;

use crate::{
    election::Election,
    engine::{Broken, Model, plain::Plain, search::Counterexample},
    peer::Peer,
    rows::{Row, Setup},
    session::Session,
    simulation,
    zab::Zab,
};

/// The format's name and version.
pub const FORMAT: &str = "zabkeeper-trace-1";

/// The first line: what was run. `S` is what shapes the model, or names the servers of a recording.
#[derive(Debug, Serialize, Deserialize)]
pub struct Header<S> {
    /// [`FORMAT`].
    pub format: String,
    /// The model; `recording` for one of live servers.
    pub model: String,
    /// The budget that was searched.
    pub budget: String,
    /// Its row.
    pub row: String,
    /// What shapes the run.
    pub setup: S,
    /// The rule that is broken, if one is.
    pub rule: String,
    /// What was found.
    pub why: String,
}

/// Each further line: one transition.
#[derive(Debug, Serialize, Deserialize)]
pub struct Step<A> {
    /// What was done.
    pub action: A,
    /// What came of it, for a reader.
    pub effects: Vec<String>,
    /// Changed parts and their digests, in slot order.
    pub parts: Vec<(String, String)>,
}

/// A counterexample for a reader: numbered transitions, what happened in each, and the rule that broke.
pub fn tell<M: Model>(model: &M, found: &Counterexample<M::Action>) -> String {
    let mut text = String::new();
    let mut state = Plain::initial(model);
    for (number, action) in found.path.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{:>3}. {}", number + 1, model.describe(action));
        for line in state.step_narrated(model, action) {
            let _ = writeln!(text, "       {line}");
        }
    }
    let Broken { rule, why } = &found.broken;
    let _ = writeln!(text, "{rule} is broken: {why}");
    text
}

/// Saves a counterexample.
///
/// # Errors
/// The file cannot be written.
pub fn save<M: Model>(
    path: &Path,
    model: &M,
    budget: &str,
    row: &Row,
    found: &Counterexample<M::Action>,
) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = BufWriter::new(fs::File::create(path)?);
    let header = Header {
        format: FORMAT.to_owned(),
        model: row.setup.model().to_owned(),
        budget: budget.to_owned(),
        row: row.name.to_owned(),
        setup: row.setup.clone(),
        rule: found.broken.rule.clone(),
        why: found.broken.why.clone(),
    };
    write_line(&mut file, &header)?;
    let mut state = Plain::initial(model);
    for action in &found.path {
        write_line(&mut file, &step(model, &mut state, action))?;
    }
    file.flush()?;
    Ok(())
}

/// Writes a line.
///
/// # Errors
/// The file cannot be written.
pub fn write_line(file: &mut impl Write, line: &impl Serialize) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *file, line)?;
    file.write_all(b"\n")?;
    Ok(())
}

fn step<M: Model>(model: &M, state: &mut Plain<M>, action: &M::Action) -> Step<M::Action> {
    let before = state.parts.clone();
    let effects = state.step_narrated(model, action);
    let changed = before.iter().zip(&state.parts).enumerate().filter(|(_, (before, after))| before != after);
    let parts = changed.map(|(slot, (_, after))| (model.slot_name(slot), digest(after))).collect();
    Step { action: action.clone(), effects, parts }
}

/// The digest of a part: fixed by its content alone.
pub fn digest(part: &impl Serialize) -> String {
    let bytes = postcard::to_allocvec(part).expect("a part has an encoding");
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&bytes))
}

/// Executes a saved trace again; returns its transcript.
///
/// # Errors
/// The file does not read, or the run differs from it: in which step, and how.
pub fn replay(path: &Path) -> anyhow::Result<String> {
    if simulation::is_of_the_simulator(path)? {
        return simulation::replay::<simulator::Plain>(path);
    }
    let (header, lines) = read(path)?;
    match &header.setup {
        Setup::Zab(bounds) => tell_again(&Zab::new(bounds.clone()), &header, &lines),
        Setup::Election(config) => tell_again(&Election::new(config.clone()), &header, &lines),
        Setup::Session(bounds) => tell_again(&Session::new(bounds.clone()), &header, &lines),
        Setup::Peer(bounds) => tell_again(&Peer::new(bounds.clone()), &header, &lines),
    }
}

/// Executes a saved trace of the `zab` model again; returns it as a scenario script, a step a line.
///
/// # Errors
/// As for [`replay`]; or the trace is of another model.
pub fn as_script(path: &Path) -> anyhow::Result<String> {
    let (header, lines) = read(path)?;
    let Setup::Zab(bounds) = &header.setup else {
        bail!("a script speaks of zab, and this is a trace of the {} model", header.model);
    };
    let found = replay_with(&Zab::new(bounds.clone()), &header, &lines)?;
    let mut text =
        format!("# Found in row {} of {}: {} is broken.\n", header.row, header.budget, header.rule);
    let _ = writeln!(text, "{}", script::header_line(&bounds.settings()));
    for action in &found.path {
        let _ = writeln!(text, "{}", script::step_line(action));
    }
    Ok(text)
}

fn read(path: &Path) -> anyhow::Result<(Header<Setup>, Vec<String>)> {
    let file = fs::File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let mut lines = BufReader::new(file).lines();
    let header = lines.next().context("the file is empty")??;
    let header: Header<Setup> = serde_json::from_str(&header).context("the first line is no header")?;
    ensure!(header.format == FORMAT, "the format is {}, and this build reads {FORMAT}", header.format);
    Ok((header, lines.collect::<Result<Vec<_>, _>>()?))
}

fn tell_again<M: Model>(model: &M, header: &Header<Setup>, lines: &[String]) -> anyhow::Result<String>
where
    M::Action: DeserializeOwned,
{
    replay_with(model, header, lines).map(|found| tell(model, &found))
}

fn replay_with<M: Model>(
    model: &M,
    header: &Header<Setup>,
    lines: &[String],
) -> anyhow::Result<Counterexample<M::Action>>
where
    M::Action: DeserializeOwned,
{
    let mut state = Plain::initial(model);
    let mut path = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let number = number + 1;
        let saved: Step<M::Action> =
            serde_json::from_str(line).with_context(|| format!("step {number} does not read"))?;
        ensure!(
            state.possible(model).contains(&saved.action),
            "step {number}, {}, is not possible here",
            model.describe(&saved.action)
        );
        let now = step(model, &mut state, &saved.action);
        if let Some((was, is)) = differ(&saved.effects, &now.effects) {
            bail!("step {number} differs: it was \"{was}\", it is \"{is}\"");
        }
        if saved.parts != now.parts {
            bail!("step {number} leaves other parts: they were {:?}, they are {:?}", saved.parts, now.parts);
        }
        path.push(saved.action);
    }
    let broken = state.judge(model).broken;
    let by_graph = header.rule == "no-traps";
    match broken {
        Some(broken) if broken.rule == header.rule => Ok(Counterexample { broken, path }),
        None if by_graph => {
            let broken = Broken::new(&*header.rule, &*header.why);
            Ok(Counterexample { broken, path })
        }
        Some(broken) => bail!("the run breaks {}, not {}", broken.rule, header.rule),
        None => bail!("the run does not break {}", header.rule),
    }
}

pub(crate) fn differ<'a>(saved: &'a [String], now: &'a [String]) -> Option<(&'a str, &'a str)> {
    let place = (0..saved.len().max(now.len())).find(|place| saved.get(*place) != now.get(*place))?;
    let at = |lines: &'a [String]| lines.get(place).map_or("nothing", String::as_str);
    Some((at(saved), at(now)))
}
