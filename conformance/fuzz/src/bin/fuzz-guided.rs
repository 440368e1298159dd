//! One target under libFuzzer, whose options it takes; the environment says which.
#![no_main]

use std::sync::OnceLock;

use fuzz::{Target, run::TARGET_VARIABLE, targets, worker};

static TARGET: OnceLock<&'static Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(
    init: {
        worker::bound_memory().expect("the memory of this process is bounded");
        let name = std::env::var(TARGET_VARIABLE).unwrap_or_default();
        TARGET.get_or_init(|| targets::find(&name).expect(TARGET_VARIABLE));
    },
    |bytes: &[u8]| {
        if let Some(target) = TARGET.get() {
            (target.run)(bytes);
        }
    }
);
