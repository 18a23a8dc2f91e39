//! Settings of this crate from the environment.

/// Returns the value of an environment variable; an empty or blank value counts as unset.
pub(crate) fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}
