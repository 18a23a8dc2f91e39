//! Certificates for servers on loopback, made by openssl: an authority of their own, as private networks have.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{paths, tools};

/// An authority and what it signed, each as a PEM file.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// Whom clients are to trust.
    pub authority: PathBuf,
    /// The server's certificate, for `localhost` and 127.0.0.1.
    pub certificate: PathBuf,
    /// The server's private key.
    pub key: PathBuf,
}

/// Makes an authority and a server's certificate in a folder, good for a year.
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
        tools::run(command).await.context("openssl makes no certificate")
    };
    let new_key = ["-newkey", "rsa:2048", "-nodes"];
    let root = ["req", "-x509", "-days", "365", "-subj", "/CN=An authority of our own"];
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
