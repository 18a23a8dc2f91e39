//! Certificates of private authorities, as PEM.

use reqwest::Certificate;

/// Checks the certificates of private authorities that a connector is to trust besides the system's.
///
/// # Errors
/// A clause that says what is wrong, after "the CA certificate".
pub fn check_ca_certificate(pem: &str) -> Result<(), String> {
    let authorities = read_ca_certificate(pem)?;
    let usable = reqwest::Client::builder().tls_certs_only(authorities).build();
    usable.map(drop).map_err(|_| "cannot be decoded".to_owned())
}

/// Reads a PEM text with one certificate or several.
///
/// # Errors
/// A clause that says what is wrong, after "the CA certificate".
pub(crate) fn read_ca_certificate(pem: &str) -> Result<Vec<Certificate>, String> {
    if pem.contains("PRIVATE KEY") {
        return Err("must not contain a private key, because everyone in the space reads it".to_owned());
    }
    match Certificate::from_pem_bundle(pem.as_bytes()) {
        Ok(authorities) if !authorities.is_empty() => Ok(authorities),
        _ => Err("must be one or more certificates as PEM (-----BEGIN CERTIFICATE-----)".to_owned()),
    }
}
