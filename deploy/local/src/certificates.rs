//! Creates certificates for servers on loopback, and for their clients, with openssl. A private authority
//! signs them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{paths, tools};

/// The arguments of `openssl req` for a new key.
const NEW_KEY: [&str; 3] = ["-newkey", "rsa:2048", "-nodes"];

/// A certificate authority and a certificate that it signed, as PEM files.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The authority's certificate, which the other side must trust.
    pub authority: PathBuf,
    /// The certificate: that of a server is for `localhost` and 127.0.0.1.
    pub certificate: PathBuf,
    /// The certificate's private key.
    pub key: PathBuf,
}

impl Certificates {
    /// Returns an authority's files in a folder, and those of a certificate of this name that it signed.
    fn named(folder: &Path, name: &str) -> Self {
        let file = |name: &str| folder.join(name);
        let (certificate, key) = (file(&format!("{name}.pem")), file(&format!("{name}.key")));
        Self { authority: file("authority.pem"), certificate, key }
    }
}

/// Creates an authority and a server certificate in a folder. Both are valid for a year.
pub async fn certificates(folder: &Path) -> Result<Certificates> {
    let server = Certificates::named(folder, "server");
    let root = ["req", "-x509", "-days", "365", "-subj", "/CN=Orchestration local authority"];
    let authority_key = folder.join("authority.key");
    let files = [("-keyout", authority_key.as_path()), ("-out", &server.authority)];
    openssl(&[&root[..], &NEW_KEY].concat(), &files).await?;
    sign(folder, &server, "localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1").await?;
    Ok(server)
}

/// Creates a client certificate for this name, signed by the authority that [`certificates`] has created in
/// the folder.
pub async fn client_certificate(folder: &Path, name: &str) -> Result<Certificates> {
    let client = Certificates::named(folder, name);
    sign(folder, &client, name, "extendedKeyUsage=clientAuth").await?;
    Ok(client)
}

/// Creates a key, and a certificate with these extensions that the authority in the folder signs.
async fn sign(folder: &Path, files: &Certificates, name: &str, extensions: &str) -> Result<()> {
    let (extensions_file, request) = (folder.join("extensions.cnf"), folder.join("request.csr"));
    let authority_key = folder.join("authority.key");
    paths::write_file(&extensions_file, extensions, 0o600)?;
    let subject = format!("/CN={name}");
    let requested = ["req", "-subj", &subject];
    let new = [("-keyout", files.key.as_path()), ("-out", &request)];
    openssl(&[&requested[..], &NEW_KEY].concat(), &new).await?;
    let signed = [
        ("-in", request.as_path()),
        ("-CA", &files.authority),
        ("-CAkey", &authority_key),
        ("-extfile", &extensions_file),
        ("-out", &files.certificate),
    ];
    openssl(&["x509", "-req", "-days", "365", "-CAcreateserial"], &signed).await
}

async fn openssl(arguments: &[&str], files: &[(&str, &Path)]) -> Result<()> {
    let mut command = Command::new(tools::program("openssl").await?);
    command.args(arguments);
    for (flag, path) in files {
        command.arg(flag).arg(path);
    }
    tools::run(command).await.map(drop).context("openssl cannot create a certificate")
}
