//! The tree through its surface, as leaders and replicas use it.

mod checks;
mod digest;
mod outcomes;
mod properties;
mod quotas;
mod support;
mod watching;
