//! TLS as ZooKeeper's operators set it up: key stores and trust stores as Java knows them, who is let in, and as whom.
//!
//! A store is recognised by what is in it (`store`): PEM, PKCS#12 or JKS. Settings (`settings`) name stores and limits,
//! and become a [`Context`], from which connections are made. Who a certificate is for is said as Java says it
//! (`certificate`), and whom to trust is decided as Java decides it (`verify`), where that is safe. Bytes in, values out:
//! nothing here but [`Context::load`] touches a file, and nothing touches a socket.

mod certificate;
mod context;
mod der;
mod error;
mod jks;
mod key;
mod pbe;
mod pem;
mod pkcs12;
mod settings;
mod store;
mod verify;

pub use certificate::{common_name, subject};
pub use context::{Context, Fingerprint, is_for_any, name_of, tell};
pub use error::{Error, StoreError};
pub use pem::certificates;
pub use rustls;
pub use settings::{ClientAuth, Protocol, Secret, Settings, StoreFile, suite_names};
pub use store::{ITERATIONS_MAX, Store};
