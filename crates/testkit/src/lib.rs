//! What tests stand on: one conformance suite per port, sample media, and real servers.
//!
//! A dev-dependency only; nothing here ships.

pub mod conformance;
pub mod inbox;
pub mod media;
pub mod original;
pub mod servers;
mod until;
pub mod visitor;

pub use until::{HANG, until};
