//! The commands that operators run: a sync in the foreground, a rebuild of the read model, and dead letters.

pub mod dead_letters;
pub mod rebuild;
pub mod sync;
