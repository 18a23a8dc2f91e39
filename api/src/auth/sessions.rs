//! Browser sessions: their cookie, and the check that a write with it comes from a page of this service. A
//! browser adds the cookie to requests of foreign pages, too.

use std::time::Duration;

use axum::http::header::{COOKIE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Args;
use rand::RngCore;
use url::Url;

/// The name of the session's cookie over TLS. Browsers accept the prefix only with `Secure`, for this host
/// alone, and for all paths.
pub const TLS_COOKIE: &str = "__Host-orchestration_session";

/// A cookie of this service, which scripts cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// The secret of a session.
    Session,
    /// A sign-in at the OpenID Connect provider that has not come back yet.
    SignIn,
}

impl Cookie {
    fn name(self, is_tls: bool) -> &'static str {
        match (self, is_tls) {
            (Self::Session, true) => TLS_COOKIE,
            (Self::Session, false) => "orchestration_session",
            (Self::SignIn, true) => "__Host-orchestration_sign_in",
            (Self::SignIn, false) => "orchestration_sign_in",
        }
    }
}

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The lifetime of browser sessions, and the address that browsers use.
#[derive(Args, Clone, Debug)]
pub struct SessionConfig {
    /// Address at which browsers reach the service, such as `https://orchestration.example.org`; without it,
    /// what the headers X-Forwarded-Proto and Host say
    #[arg(long, env = "ORCHESTRATION_PUBLIC_URL", value_parser = parse_public_url)]
    pub public_url: Option<Url>,

    /// Minutes without a request after which a browser session ends
    #[arg(long, env = "ORCHESTRATION_SESSION_IDLE_MINUTES", default_value_t = 720)]
    #[arg(value_parser = clap::value_parser!(u32).range(5..=43_200))]
    pub session_idle_minutes: u32,

    /// Hours after which a browser session ends, however often it is used
    #[arg(long, env = "ORCHESTRATION_SESSION_HOURS", default_value_t = 168)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=8_760))]
    pub session_hours: u32,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self { public_url: None, session_idle_minutes: 720, session_hours: 168 }
    }
}

impl SessionConfig {
    /// Returns how long an unused session is valid.
    pub fn idle(&self) -> Duration {
        Duration::from_secs(60 * u64::from(self.session_idle_minutes))
    }

    /// Returns how long any session is valid.
    pub fn lifetime(&self) -> Duration {
        Duration::from_secs(3600 * u64::from(self.session_hours))
    }

    /// Returns the value of a cookie of a request.
    pub fn read_cookie<'a>(&self, headers: &'a HeaderMap, cookie: Cookie) -> Option<&'a str> {
        let name = cookie.name(self.is_tls(headers));
        let cookies = headers.get_all(COOKIE).iter().filter_map(|cookies| cookies.to_str().ok());
        let mut pairs =
            cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
    }

    /// Returns the `Set-Cookie` header that gives a browser a cookie for this long.
    pub fn set_cookie(&self, headers: &HeaderMap, cookie: Cookie, value: &str, age: Duration) -> HeaderValue {
        let is_tls = self.is_tls(headers);
        let (name, age) = (cookie.name(is_tls), age.as_secs());
        let secure = if is_tls { "; Secure" } else { "" };
        let cookie = format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}");
        HeaderValue::try_from(cookie).unwrap_or(HeaderValue::from_static(""))
    }

    /// Returns the `Set-Cookie` header that takes a cookie away.
    pub fn remove_cookie(&self, headers: &HeaderMap, cookie: Cookie) -> HeaderValue {
        self.set_cookie(headers, cookie, "", Duration::ZERO)
    }

    /// Returns whether a page of this service sent the request.
    pub fn is_same_origin(&self, headers: &HeaderMap) -> bool {
        let says_same = headers.get(FETCH_SITE).is_some_and(|site| site == "same-origin");
        let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
        says_same || origin.is_some_and(|origin| self.origin(headers).as_deref() == Some(origin))
    }

    /// Returns whether a browser sent the request for a page that is not of this service.
    pub fn is_foreign(&self, headers: &HeaderMap) -> bool {
        let is_browser = headers.contains_key(FETCH_SITE) || headers.contains_key(ORIGIN);
        is_browser && !self.is_same_origin(headers)
    }

    fn is_tls(&self, headers: &HeaderMap) -> bool {
        match &self.public_url {
            Some(url) => url.scheme() == "https",
            // A chain of proxies appends to the list; the first entry is the browser's.
            None => headers.get(FORWARDED_PROTO).and_then(|proto| proto.to_str().ok()).is_some_and(|proto| {
                proto.split(',').next().is_some_and(|first| first.trim().eq_ignore_ascii_case("https"))
            }),
        }
    }

    /// Returns the origin of this service as browsers write it.
    fn origin(&self, headers: &HeaderMap) -> Option<String> {
        if let Some(url) = &self.public_url {
            return Some(url.origin().ascii_serialization());
        }
        let host = headers.get(HOST)?.to_str().ok()?;
        let scheme = if self.is_tls(headers) { "https" } else { "http" };
        Some(Url::parse(&format!("{scheme}://{host}")).ok()?.origin().ascii_serialization())
    }
}

/// Returns 256 random bits as the secret of a new session.
pub fn new_secret() -> String {
    let mut bits = [0; 32];
    rand::rng().fill_bytes(&mut bits);
    URL_SAFE_NO_PAD.encode(bits)
}

fn parse_public_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let is_origin = matches!(url.scheme(), "http" | "https") && url.path() == "/" && url.query().is_none();
    if is_origin && url.username().is_empty() && url.fragment().is_none() {
        Ok(url)
    } else {
        Err("the address is a scheme, a host and perhaps a port, like https://orchestration.example.org"
            .into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        pairs.iter().map(pair).collect()
    }

    fn config(public_url: Option<&str>) -> SessionConfig {
        SessionConfig {
            public_url: public_url.map(|url| parse_public_url(url).unwrap()),
            ..Default::default()
        }
    }

    #[test]
    fn cookie_is_bound_to_the_host_over_tls() {
        let week = config(None).lifetime();
        let plain = config(None).set_cookie(&headers(&[]), Cookie::Session, "secret", week);
        assert_eq!(plain, "orchestration_session=secret; Path=/; Max-Age=604800; HttpOnly; SameSite=Lax");
        let forwarded = headers(&[("x-forwarded-proto", "https, http")]);
        let of_setting = config(Some("https://o.example"));
        for cookie in [
            config(None).remove_cookie(&forwarded, Cookie::Session),
            of_setting.remove_cookie(&headers(&[]), Cookie::Session),
        ] {
            assert_eq!(
                cookie,
                "__Host-orchestration_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure"
            );
        }
        // The setting decides, whatever a proxy says.
        let plain = config(Some("http://o.example")).remove_cookie(&forwarded, Cookie::Session);
        assert!(plain.to_str().unwrap().starts_with("orch"));
    }

    #[test]
    fn secret_is_found_among_other_cookies_under_the_name_of_the_scheme() {
        let cookies =
            headers(&[("cookie", "a=b; orchestration_session=plain;__Host-orchestration_session=tls")]);
        assert_eq!(config(None).read_cookie(&cookies, Cookie::Session), Some("plain"));
        let of_setting = config(Some("https://o.example"));
        assert_eq!(of_setting.read_cookie(&cookies, Cookie::Session), Some("tls"));
        let others = headers(&[("cookie", "a; =; orchestration_session2=x")]);
        assert_eq!(config(None).read_cookie(&others, Cookie::Session), None);
    }

    #[test]
    fn only_pages_of_this_service_are_of_the_same_origin() {
        let is_same =
            |url, pairs: &[(&'static str, &'static str)]| config(url).is_same_origin(&headers(pairs));
        assert!(is_same(None, &[("sec-fetch-site", "same-origin")]));
        assert!(is_same(None, &[("host", "O.example:80"), ("origin", "http://o.example")]));
        assert!(is_same(Some("https://o.example"), &[("origin", "https://o.example"), ("host", "pod-1")]));
        for foreign in [
            &[][..],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "cross-site"), ("host", "o.example"), ("origin", "http://e.example")],
            &[("origin", "null"), ("host", "o.example")],
            &[("origin", "https://o.example"), ("host", "o.example")],
            &[("origin", "http://o.example")],
        ] {
            assert!(!is_same(None, foreign), "{foreign:?}");
        }
    }

    #[test]
    fn public_url_is_an_origin() {
        assert!(parse_public_url("https://o.example:8443").is_ok());
        for bad in ["", "o.example", "ftp://o.example", "https://o.example/path", "https://a@o.example"] {
            assert!(parse_public_url(bad).is_err(), "{bad:?}");
        }
    }
}
