//! Runs a script of a stock client against an ensemble, and does to the ensemble what the script asks for.
//!
//! The script gets the connect string as its last argument. A line on its standard output that begins with `!` is a
//! request: `!kill-leader`, `!start-all` or `!await-serving`; the answer is one line on its standard input, `ok` and
//! perhaps a number, or `failed` with a reason. Every other line is passed on.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::{ensemble::Ensemble, session::SERVING_PATIENCE};

/// Runs the script to its end.
///
/// # Errors
/// If it fails, or takes longer than `patience`.
pub fn run(mut ensemble: Ensemble, words: &[String], patience: Duration) -> Result<()> {
    ensemble.start_all()?;
    ensemble.await_serving(SERVING_PATIENCE)?;
    let hosts: Vec<String> = ensemble.addresses().iter().map(ToString::to_string).collect();
    let (program, arguments) = words.split_first().context("no script is named")?;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]).args(arguments).arg(hosts.join(","));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    let stdout = child.stdout.take().context("no standard output")?;
    let (sender, lines) = mpsc::channel();
    let reader = thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let deadline = Instant::now() + patience;
    let outcome = serve(&mut ensemble, &lines, &mut stdin, deadline);
    drop(stdin);
    if outcome.is_err() {
        child.kill()?;
    }
    let status = child.wait()?;
    drop(lines);
    if reader.join().is_err() {
        bail!("the reader of the script's output panicked");
    }
    if outcome.is_err() || !status.success() {
        eprintln!("{}", ensemble.last_words());
    }
    outcome?;
    ensure!(status.success(), "{program} failed: {status}");
    ensemble.check_alive()
}

fn serve(
    ensemble: &mut Ensemble,
    lines: &mpsc::Receiver<String>,
    stdin: &mut impl Write,
    deadline: Instant,
) -> Result<()> {
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => match line.strip_prefix('!') {
                None => println!("{line}"),
                Some(request) => {
                    let answer = match obey(ensemble, request.trim()) {
                        Ok(answer) => format!("ok {answer}"),
                        Err(error) => format!("failed {error:#}").replace('\n', " "),
                    };
                    writeln!(stdin, "{answer}")?;
                }
            },
            Err(mpsc::RecvTimeoutError::Timeout) => bail!("the script does not end in time"),
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

fn obey(ensemble: &mut Ensemble, request: &str) -> Result<usize> {
    match request {
        "kill-leader" => {
            let leader = ensemble.await_serving(SERVING_PATIENCE)?;
            ensemble.kill(leader)?;
            Ok(leader)
        }
        "start-all" => {
            ensemble.start_all()?;
            ensemble.await_serving(SERVING_PATIENCE)
        }
        "await-serving" => ensemble.await_serving(SERVING_PATIENCE),
        unknown => bail!("{unknown:?} is no request"),
    }
}
