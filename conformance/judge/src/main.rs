//! Judges the recordings of a run.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Parser;
use judge::Stretch;

/// Tells the recordings of all servers of a run to the same actors again, and puts the rules to what comes of it.
///
/// Ends with 0 if every rule held, with 1 if one is broken, with 2 if something could not be judged and
/// `--whole` asks for that.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  judge run/server1/data run/server2/data run/server3/data
  judge run --json
  judge run --trace run.jsonl --from 1764150000000000 --to 1764150001000000"
)]
struct Arguments {
    /// Data folders of servers, folders of recordings, or folders that hold some.
    #[arg(required = true)]
    dirs: Vec<PathBuf>,
    /// Write the run, or a stretch of it, as a trace.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// The start of that stretch, in microseconds since 1970.
    #[arg(long, requires = "trace")]
    from: Option<u64>,
    /// The end of that stretch, in microseconds since 1970.
    #[arg(long, requires = "trace")]
    to: Option<u64>,
    /// Fail also if a stretch could not be judged.
    #[arg(long)]
    whole: bool,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let whole = Stretch::default();
    let stretch = Stretch {
        from_us: arguments.from.unwrap_or(whole.from_us),
        to_us: arguments.to.unwrap_or(whole.to_us),
    };
    let trace = arguments.trace.as_deref().map(|path| (path, stretch));
    let report = judge::judge(&arguments.dirs, trace)?;
    if arguments.json {
        println!("{}", report.json());
    } else {
        println!("{report}");
    }
    let code = match (report.is_clean(), report.not_judged.is_empty()) {
        (false, _) => 1,
        (true, false) if arguments.whole => 2,
        (true, _) => 0,
    };
    Ok(ExitCode::from(code))
}
