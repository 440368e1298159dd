//! Logs and snapshots on disk: through their life, through power cuts, as Java writes them, and as nobody should.

mod common;
mod hostile;
mod java_folder;
mod missing;
mod power_cut;
mod settings;
mod store;
