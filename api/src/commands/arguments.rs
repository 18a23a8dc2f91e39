//! What can be typed for spaces, people, teams, keys and credentials, and what makes a good slug, name and address.

use clap::{Args, Subcommand, ValueEnum};
use contract::ids::KeyId;
use contract::state::Role;
use platform::db::DatabaseConfig;
use platform::secrets::SealingConfig;

/// The things that are administered here, and how to reach the database that holds them.
#[derive(Subcommand, Debug)]
pub enum AdminCommand {
    /// Make and list spaces
    Space(On<SpaceCommand>),
    /// Make and list people
    User(On<UserCommand>),
    /// Say who belongs to a space, and as what
    Member(On<MemberCommand>),
    /// Make and list the teams of a space
    Team(On<TeamCommand>),
    /// Make, list and revoke API keys
    Key(On<KeyCommand>),
    /// Look after the stored credentials of connectors
    Credentials(On<CredentialsCommand>),
}

/// A command on the database.
#[derive(Args, Debug)]
pub struct On<C: Subcommand> {
    #[command(flatten)]
    pub database: DatabaseConfig,
    #[command(subcommand)]
    pub command: C,
}

#[derive(Subcommand, Debug)]
pub enum SpaceCommand {
    /// Make a space, or rename it
    Create {
        /// Lower-case letters, digits and hyphens, at most 63
        #[arg(value_parser = slug)]
        slug: String,
        #[arg(long, value_parser = name)]
        name: String,
    },
    /// List all spaces
    List,
}

#[derive(Subcommand, Debug)]
pub enum UserCommand {
    /// Make a person, or rename one
    Create {
        #[arg(value_parser = email)]
        email: String,
        #[arg(long, value_parser = name)]
        name: String,
    },
    /// List all people
    List,
}

#[derive(Subcommand, Debug)]
pub enum MemberCommand {
    /// Give a person a role in a space, instead of the one they had
    Set { slug: String, email: String, role: RoleName },
    /// List a space's members
    List { slug: String },
}

#[derive(Subcommand, Debug)]
pub enum TeamCommand {
    /// Make a team in a space
    Create {
        slug: String,
        #[arg(value_parser = name)]
        name: String,
    },
    /// List a space's teams
    List { slug: String },
}

#[derive(Subcommand, Debug)]
pub enum KeyCommand {
    /// Make a key for a person; it is shown this once
    Create {
        email: String,
        /// What the key is for
        #[arg(long, default_value = "")]
        label: String,
    },
    /// List a person's keys
    List { email: String },
    /// Make a key worthless, at once
    Revoke { key_id: KeyId },
}

#[derive(Subcommand, Debug)]
pub enum CredentialsCommand {
    /// Seal all of them under the first sealing key, so that the others can go
    Reseal(SealingConfig),
}

/// A role as typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum RoleName {
    Viewer,
    Editor,
    Admin,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Viewer => Self::Viewer,
            RoleName::Editor => Self::Editor,
            RoleName::Admin => Self::Admin,
        }
    }
}

fn slug(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let starts_plain = text.chars().next().is_some_and(plain);
    match starts_plain && text.len() <= 63 && text.chars().all(|c| plain(c) || c == '-') {
        true => Ok(text.to_owned()),
        false => Err("a slug is 1 to 63 lower-case letters, digits and hyphens, no hyphen first".to_owned()),
    }
}

fn name(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("a name cannot be empty".to_owned()),
        trimmed => Ok(trimmed.to_owned()),
    }
}

fn email(text: &str) -> Result<String, String> {
    match text.trim().split_once('@') {
        Some((local, domain)) if !local.is_empty() && !domain.is_empty() => Ok(text.trim().to_owned()),
        _ => Err("an address has a name, an @ and a domain".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_those_that_the_schema_takes() {
        assert!(slug("finance-2").is_ok());
        for bad in ["", "-a", "Finance", "a_b", "é", &"a".repeat(64)] {
            assert!(slug(bad).is_err(), "{bad:?}");
        }
    }
}
