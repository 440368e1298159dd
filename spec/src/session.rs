//! Sessions, ephemerals and what clients see. These rules are judged by scenarios and property tests.

use crate::rule::Rule;

/// The rules of this module.
pub const RULES: &[Rule] = &[];
