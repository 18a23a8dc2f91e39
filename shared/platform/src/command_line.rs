//! The command line of a program. The error of an invalid setting names the setting and not its value, which
//! may be a secret in the wrong place.

use std::error::Error as _;
use std::ffi::OsString;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

/// Parses the arguments and the environment of this process. The process ends after help that was asked for,
/// and after an error.
pub fn parse<P: Parser>() -> P {
    parse_from(std::env::args_os()).unwrap_or_else(|error| error.exit())
}

/// Parses these arguments and the environment.
///
/// # Errors
/// Without the value of any setting.
pub fn parse_from<P: Parser>(arguments: impl IntoIterator<Item = OsString>) -> Result<P, Error> {
    P::try_parse_from(arguments).map_err(|error| match invalid_value(&error) {
        Some(message) => P::command().error(ErrorKind::ValueValidation, message),
        None => error,
    })
}

/// Returns the message of an error that has the value of an argument.
fn invalid_value(error: &Error) -> Option<String> {
    let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) else { return None };
    let argument = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
    let permitted = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if !values.is_empty() => Some(values.join(", ")),
        _ => None,
    };
    let reason = match permitted {
        Some(values) => format!(": it is one of {values}"),
        None => error.source().and_then(|reason| without(&reason.to_string(), value)).unwrap_or_default(),
    };
    Some(format!("invalid value for '{argument}'{reason}"))
}

/// Returns a reason without the value, with which some begin; none if it has the value elsewhere.
fn without(reason: &str, value: &str) -> Option<String> {
    match reason.strip_prefix(value) {
        Some(rest) if !value.is_empty() => Some(format!(": it{rest}")),
        _ if reason.contains(value) && !value.is_empty() => None,
        _ => Some(format!(": {reason}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Parser, Debug)]
    struct Settings {
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=600))]
        timeout: Option<u16>,
        #[arg(long, value_parser = ["json", "text"])]
        format: Option<String>,
        #[arg(long, value_parser = |text: &str| Err::<u8, _>(format!("nothing is called {text} here")))]
        name: Option<u8>,
    }

    #[test]
    fn an_invalid_setting_is_named_without_its_value() {
        for (argument, expected) in [
            ("--timeout=601", "invalid value for '--timeout <TIMEOUT>': it is not in 1..=600"),
            ("--timeout=secret", "invalid value for '--timeout <TIMEOUT>': invalid digit found in string"),
            ("--format=secret", "invalid value for '--format <FORMAT>': it is one of json, text"),
            ("--name=secret", "invalid value for '--name <NAME>'\n"),
        ] {
            let arguments = ["program", argument].map(OsString::from);
            let text = parse_from::<Settings>(arguments).unwrap_err().to_string();
            assert!(text.contains(expected) && !text.contains("secret"), "{argument}: {text}");
        }
    }

    #[test]
    fn other_errors_and_help_are_unchanged() {
        for (argument, expected) in [("--other", "unexpected argument '--other'"), ("--help", "Usage:")] {
            let arguments = ["program", argument].map(OsString::from);
            let text = parse_from::<Settings>(arguments).unwrap_err().to_string();
            assert!(text.contains(expected), "{text}");
        }
    }
}
