#![doc = include_str!("../README.md")]
#![deny(missing_docs)]

pub mod events;
pub mod ids;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod state;
pub mod topics;
pub mod trace;
