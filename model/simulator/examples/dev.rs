#![allow(missing_docs, clippy::all)]
use simulator::*;
use std::time::Instant;
struct T;
impl Tracer for T {
    fn step(
        &mut self,
        at: u64,
        due: &Due,
        effects: Vec<String>,
        _s: &[(spec::ServerId, &world::Host<Subject>)],
    ) {
        println!("{at} {due:?}");
        for e in effects {
            println!("    {}", e.chars().take(400).collect::<String>());
        }
    }
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let (from, n): (u64, u64) = (a[1].parse().unwrap(), a[2].parse().unwrap());
    let trace = a.get(3).is_some_and(|w| w == "trace");
    let mut cov = Coverage::default();
    let t = Instant::now();
    let mut bad = 0;
    for seed in from..from + n {
        let plan = Plan::draw(seed, None);
        let s = Instant::now();
        let mut mine = Coverage::default();
        let r = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            if trace { play(&plan, &mut mine, Some(&mut T)) } else { play(&plan, &mut mine, None) }
        }));
        if a.get(3).is_some_and(|w| w == "each") {
            println!(
                "{seed} {:?} steps {} server {} txns {} writes {} heal {} voters {}",
                s.elapsed(),
                mine.steps,
                mine.server_steps,
                mine.txns,
                mine.writes,
                mine.healing_ms,
                plan.voters
            );
        }
        match r {
            Ok(Ok(())) => {}
            Ok(Err(f)) => {
                bad += 1;
                println!("seed {seed}: {} {}", f.rule, f.why.chars().take(1500).collect::<String>())
            }
            Err(_) => {
                bad += 1;
                println!("seed {seed}: panic")
            }
        }
        cov.add(&mine);
    }
    println!("{bad} bad of {n} in {:?}: {cov:#?} missing {:?}", t.elapsed(), cov.missing());
}
