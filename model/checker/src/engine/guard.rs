//! Turns a panic into a value, without the default report on stderr.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook},
    sync::Once,
};

use super::Broken;

thread_local! {
    /// While a guarded call runs: the place and text of its panic.
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
    static GUARDED: RefCell<bool> = const { RefCell::new(false) };
}

static HOOK: Once = Once::new();

/// Calls `step`; a panic in it becomes a broken rule named `panic`.
///
/// What `step` was changing when it panicked is half done: throw it away.
pub(crate) fn guarded<R>(step: impl FnOnce() -> Result<R, Broken>) -> Result<R, Broken> {
    HOOK.call_once(install_hook);
    GUARDED.set(true);
    let result = catch_unwind(AssertUnwindSafe(step));
    GUARDED.set(false);
    result.unwrap_or_else(|_| {
        let text = CAUGHT.take().unwrap_or_else(|| "no message".to_owned());
        Err(Broken::new("panic", text))
    })
}

fn install_hook() {
    let default = take_hook();
    set_hook(Box::new(move |info| {
        if GUARDED.with_borrow(|guarded| *guarded) {
            let place = info.location().map_or_else(String::new, |l| format!(" ({}:{})", l.file(), l.line()));
            let text = info.payload_as_str().unwrap_or("a panic that carries no text");
            CAUGHT.set(Some(format!("{text}{place}")));
        } else {
            default(info);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_broken_rule_with_its_text_and_place() {
        let broken = guarded::<()>(|| panic!("ack {} of nothing", 7)).expect_err("it panicked");
        assert_eq!(broken.rule, "panic");
        assert!(broken.why.starts_with("ack 7 of nothing ("), "{}", broken.why);
        assert!(broken.why.contains("guard.rs:"), "{}", broken.why);
    }
}
