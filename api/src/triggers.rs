//! Triggering runs: the request, its idempotency key, the execution of its command, and the outcome at the
//! provider. The SQL is in `store/triggers.rs`.

mod attempt;
mod execute;
pub(crate) mod idempotency;
pub(crate) mod request;

pub(crate) use self::execute::PendingTrigger;
