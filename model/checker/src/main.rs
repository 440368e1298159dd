//! `zabcheck`: searches the models.

use std::time::Duration;

use checker::{
    engine::search::{Limits, Options, Search},
    rows::{Budget, Setup},
    zab::Zab,
};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let name = &args[0];
    for row in Budget::Quick.rows() {
        if row.name != name {
            continue;
        }
        let setup = row.setup.with(&args[1..]).unwrap();
        let Setup::Zab(bounds) = setup else { continue };
        let model = Zab::new(bounds);
        let mut search = Search::new(
            &model,
            Options {
                limits: Limits { time: Duration::from_secs(60), ..Default::default() },
                ..Default::default()
            },
        );
        let mut n = 0;
        let outcome = search.run(&mut |p| {
            n += 1;
            if n % 64 == 0 {
                eprintln!("{p:?}");
            }
        });
        println!("{:?} {:?} depth {} {:?}", outcome.end, outcome.progress, outcome.depth, outcome.tables);
        use checker::engine::Model as _;
        for (w, d) in model.witnesses().iter().zip(&outcome.witnesses) {
            print!("{w}:{} ", d.map_or("-".into(), |d| d.to_string()));
        }
        println!();
        if let Some(ce) = outcome.counterexample {
            let mut state = checker::engine::plain::Plain::initial(&model);
            for (i, a) in ce.path.iter().enumerate() {
                println!("{}. {}", i + 1, model.describe(a));
                for l in state.step_narrated(&model, a) {
                    println!("      {l}");
                }
            }
            println!("BROKEN {}: {}", ce.broken.rule, ce.broken.why);
        }
    }
}
