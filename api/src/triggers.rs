//! Triggering runs: what one attempt at the provider comes to.

pub(crate) mod outcome;
