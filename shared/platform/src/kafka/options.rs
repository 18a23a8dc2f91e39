//! Settings of librdkafka, from one text or from a file. They may contain a password, so that no error shows
//! what they hold.

use std::ffi::OsStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use secrecy::{ExposeSecret, SecretString};

/// Settings that are passed to librdkafka unchanged, in their order.
#[derive(Clone, Debug, Default)]
pub struct KafkaOptions(Vec<(String, SecretString)>);

impl KafkaOptions {
    /// Parses pairs with commas between them.
    pub(super) fn parser() -> KafkaOptionsParser {
        let read = |text: &str| Self::parse(text.split(','));
        KafkaOptionsParser { setting: "ORCHESTRATION_KAFKA_OPTIONS", read }
    }

    /// Reads a file with a pair on each line; lines that begin with `#` are comments.
    pub(super) fn file_parser() -> KafkaOptionsParser {
        let read = |path: &str| {
            let text = std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
            Self::parse(text.lines().filter(|line| !line.trim_start().starts_with('#')))
        };
        KafkaOptionsParser { setting: "ORCHESTRATION_KAFKA_OPTIONS_FILE", read }
    }

    fn parse<'a>(pairs: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let pairs = pairs.map(str::trim).filter(|pair| !pair.is_empty());
        let parse = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            Some((name.trim().to_owned(), value.trim().to_owned().into()))
        };
        let parsed: Option<Vec<_>> = pairs.map(parse).collect();
        let message =
            "must hold name=value pairs; a value with a comma needs ORCHESTRATION_KAFKA_OPTIONS_FILE";
        parsed.map(Self).ok_or_else(|| message.to_owned())
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.expose_secret()))
    }
}

/// Parses a setting that may be secret: unlike clap's own, its error does not repeat the value.
#[derive(Clone, Copy)]
pub(super) struct KafkaOptionsParser {
    setting: &'static str,
    read: fn(&str) -> Result<KafkaOptions, String>,
}

impl TypedValueParser for KafkaOptionsParser {
    type Value = KafkaOptions;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<KafkaOptions, clap::Error> {
        let text = value.to_str().ok_or_else(|| "must be UTF-8".to_owned());
        text.and_then(self.read).map_err(|message| {
            let message = format!("{} {message}\n", self.setting);
            clap::Error::raw(ErrorKind::ValueValidation, message).with_cmd(command)
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::KafkaConfig;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        kafka: KafkaConfig,
    }

    fn parse(arguments: &[&str]) -> Result<KafkaConfig, clap::Error> {
        let first = ["test", "--kafka-bootstrap-servers", "localhost:1"];
        Arguments::try_parse_from(first.iter().chain(arguments)).map(|arguments| arguments.kafka)
    }

    /// The password `ca,nary` is split, and so is `ca,nary=7`.
    #[test]
    fn a_wrong_setting_is_not_shown() {
        for options in ["sasl.password=ca,nary", "linger.ms=5,sasl.password=ca,nary=7", "linger.ms=canary"] {
            let error = match parse(&["--kafka-options", options]) {
                Err(error) => error.to_string(),
                Ok(kafka) => kafka.check().unwrap_err().to_string(),
            };
            assert!(error.contains("ORCHESTRATION_KAFKA_OPTIONS"), "{error}");
            assert!(!error.contains("nary") && !error.contains("ca,"), "{error}");
        }
        let error = parse(&["--kafka-options", "a=b,c"]).err().unwrap().to_string();
        assert!(error.contains("ORCHESTRATION_KAFKA_OPTIONS_FILE"), "{error}");
    }

    #[test]
    fn a_file_may_hold_values_with_commas() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kafka.properties");
        std::fs::write(&file, "# comment\n\nsasl.username = me\nsasl.password=a,b=c \n").unwrap();
        let kafka =
            parse(&["--kafka-options", "linger.ms=7", "--kafka-options-file", file.to_str().unwrap()]);
        let client = kafka.unwrap().client();
        let values = ["linger.ms", "sasl.username", "sasl.password"].map(|name| client.get(name));
        assert_eq!(values, [Some("7"), Some("me"), Some("a,b=c")]);
        assert!(parse(&["--kafka-options-file", "/no/such/file"]).is_err());
    }
}
