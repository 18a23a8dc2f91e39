//! Creates certificates for servers on loopback with openssl, signed by a private authority.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{paths, tools};

/// A certificate authority and a server certificate that it signed, as PEM files.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The authority's certificate, which clients must trust.
    pub authority: PathBuf,
    /// The server's certificate, for `localhost` and 127.0.0.1.
    pub certificate: PathBuf,
    /// The server's private key.
    pub key: PathBuf,
}

/// Creates an authority and a server certificate in a folder. Both are valid for a year.
pub async fn certificates(folder: &Path) -> Result<Certificates> {
    let openssl = tools::program("openssl").await?;
    let file = |name: &str| folder.join(name);
    let names = file("names.ext");
    paths::write_file(&names, "subjectAltName=DNS:localhost,IP:127.0.0.1", 0o600)?;
    let (authority, authority_key) = (file("authority.pem"), file("authority.key"));
    let (certificate, key, request) = (file("server.pem"), file("server.key"), file("server.csr"));
    let make = async |arguments: &[&str], files: &[(&str, &Path)]| {
        let mut command = Command::new(&openssl);
        command.args(arguments);
        for (flag, path) in files {
            command.arg(flag).arg(path);
        }
        tools::run(command).await.context("openssl cannot create a certificate")
    };
    let new_key = ["-newkey", "rsa:2048", "-nodes"];
    let root = ["req", "-x509", "-days", "365", "-subj", "/CN=Orchestration local authority"];
    make(&[&root[..], &new_key].concat(), &[("-keyout", &authority_key), ("-out", &authority)]).await?;
    let server = ["req", "-subj", "/CN=localhost"];
    make(&[&server[..], &new_key].concat(), &[("-keyout", &key), ("-out", &request)]).await?;
    let signed = [
        ("-in", request.as_path()),
        ("-CA", &authority),
        ("-CAkey", &authority_key),
        ("-extfile", &names),
        ("-out", &certificate),
    ];
    make(&["x509", "-req", "-days", "365", "-CAcreateserial"], &signed).await?;
    Ok(Certificates { authority, certificate, key })
}
