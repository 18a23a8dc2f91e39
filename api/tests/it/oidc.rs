//! Signing in at an OpenID Connect provider: the certified one that `cargo demo --oidc` starts.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Method, Request};
use local::{OidcProvider, oidc_provider};
use reqwest::redirect;
use serde_json::{Value, json};
use testkit::ForwardProxy;
use url::Url;
use uuid::Uuid;

use crate::app::{ApiSetup, OTHER_SPACE, SPACE, TestApi};
use crate::response::TestResponse;
use crate::seed::ADMIN;

/// The API with the provider, and a browser's way between them.
struct OidcTest {
    test: TestApi,
    provider: OidcProvider,
}

/// A browser that has signed in at the provider, and is sent back.
struct Returning {
    url: Url,
    /// What the API gave it on the way there.
    cookie: String,
}

/// A person whom the provider did not know before.
fn person(changes: Value) -> Value {
    let sub = Uuid::now_v7().to_string();
    let mut claims = json!({
        "sub": sub, "name": "Nora New", "email": format!("{sub}@x.org"), "email_verified": true, "groups": [],
    });
    changes.as_object().unwrap().iter().for_each(|(name, value)| claims[name] = value.clone());
    claims
}

impl OidcTest {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut ApiSetup)) -> Self {
        let provider = oidc_provider().await.unwrap();
        let mut setup = ApiSetup::default();
        setup.sessions.public_url = Some("http://127.0.0.1:9".parse().unwrap());
        setup.oidc.oidc_issuer = Some(provider.issuer.clone());
        setup.oidc.oidc_client_id = Some(provider.client_id.to_owned());
        setup.oidc.oidc_client_secret = Some(provider.client_secret.into());
        setup.oidc.oidc_name = "Acme".to_owned();
        setup.oidc.oidc_scopes = "openid email profile".to_owned();
        setup.oidc.oidc_groups_claim = "groups".to_owned();
        change(&mut setup);
        Self { test: TestApi::with(setup).await, provider }
    }

    /// Begins a sign-in: the provider's address, and the cookie.
    async fn begin(&self, return_to: &str) -> (Url, String) {
        let path = format!("/api/v1.0/session/oidc?return_to={return_to}");
        let response = self.test.raw(Request::builder().uri(path).body(Body::empty()).unwrap()).await;
        let url: Url = response.header("location").parse().unwrap();
        assert!(url.as_str().starts_with(&self.provider.issuer), "{url}");
        let cookie = response.header("set-cookie").split(';').next().unwrap().to_owned();
        response.expect(303);
        (url, cookie)
    }

    /// Signs a person in at the provider, as a browser does. Returns where it is sent back.
    async fn authenticate(&self, url: Url, login: &str) -> Url {
        let client =
            reqwest::Client::builder().no_proxy().redirect(redirect::Policy::none()).build().unwrap();
        let mut cookies = BTreeMap::new();
        let mut url = url;
        while url.as_str().starts_with(&self.provider.issuer) {
            let is_form = url.path().starts_with("/interaction/");
            let request = if is_form { client.post(url.clone()) } else { client.get(url.clone()) };
            let form =
                url::form_urlencoded::Serializer::new(String::new()).append_pair("login", login).finish();
            let sent: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let response = request.header("cookie", sent.join("; ")).body(form).send().await.unwrap();
            for cookie in response.headers().get_all("set-cookie") {
                let pair = cookie.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
                cookies.insert(pair.0.to_owned(), pair.1.to_owned());
            }
            let location = response.headers().get("location").map(|it| it.to_str().unwrap().to_owned());
            let Some(location) = location else { panic!("{url}: {}", response.text().await.unwrap()) };
            url = url.join(&location).unwrap();
        }
        url
    }

    /// Goes to the provider and signs in there.
    async fn authenticated(&self, claims: &Value) -> Returning {
        let (url, cookie) = self.begin("/s/finance").await;
        Returning { url: self.authenticate(url, &claims.to_string()).await, cookie }
    }

    async fn come_back(&self, returning: &Returning) -> TestResponse {
        let path = format!("{}?{}", returning.url.path(), returning.url.query().unwrap_or_default());
        let request = Request::builder().uri(path).header("cookie", &returning.cookie);
        self.test.raw(request.body(Body::empty()).unwrap()).await
    }

    /// The cookie of the session of a person who signs in.
    async fn sign_in(&self, claims: &Value) -> String {
        let response = self.come_back(&self.authenticated(claims).await).await;
        assert_eq!(response.header("location"), "/s/finance");
        let cookies = response.headers.get_all("set-cookie").iter().map(|it| it.to_str().unwrap());
        let session =
            cookies.filter_map(|it| it.split(';').next()).find(|it| it.starts_with("orchestration_session="));
        session.unwrap().to_owned()
    }

    /// The problem of a sign-in that is refused. No session begins.
    async fn refused(&self, returning: &Returning) -> String {
        let response = self.come_back(returning).await;
        let location = response.header("location").to_owned();
        let count = response.headers.get_all("set-cookie").iter().count();
        response.expect(303);
        assert_eq!(count, 1, "only the sign-in's cookie is taken away");
        location.strip_prefix("/sign-in?problem=").unwrap_or_else(|| panic!("{location}")).to_owned()
    }

    async fn refused_with(&self, claims: Value) -> String {
        self.refused(&self.authenticated(&claims).await).await
    }

    /// What a session sees at `/me`.
    async fn me(&self, cookie: &str) -> TestResponse {
        let request = Request::builder().uri("/api/v1.0/me").header("cookie", cookie);
        self.test.raw(request.body(Body::empty()).unwrap()).await
    }

    /// Where a browser with this session signs out at the provider.
    async fn sign_out_url(&self, cookie: &str) -> Value {
        let request = Request::builder().uri("/api/v1.0/session").header("cookie", cookie);
        let session = self.test.raw(request.body(Body::empty()).unwrap()).await.expect(200);
        session["sign_out_url"].clone()
    }

    /// The roles of a session's user, by space.
    async fn roles(&self, cookie: &str) -> Value {
        let spaces = self.me(cookie).await.expect(200)["spaces"].clone();
        let role = |space: &Value| (space["slug"].as_str().unwrap().to_owned(), space["role"].clone());
        Value::Object(spaces.as_array().unwrap().iter().map(role).collect())
    }
}

/// Only the service's own requests do; the browser has a way of its own.
#[tokio::test]
async fn the_provider_is_reached_through_the_proxy() {
    let proxy = ForwardProxy::start().await;
    let test = OidcTest::with(|setup| setup.proxy = Some(proxy.url.clone())).await;
    test.sign_in(&person(json!({}))).await;
    let forwarded = proxy.forwarded();
    for endpoint in ["/.well-known/openid-configuration", "/token", "/jwks"] {
        let url = format!("{}{endpoint}", test.provider.issuer);
        assert!(forwarded.contains(&url), "{url} is not among {forwarded:?}");
    }
    assert!(!forwarded.iter().any(|url| url.contains("/interaction/")), "{forwarded:?}");
}

#[tokio::test]
async fn people_are_inserted_at_their_first_sign_in_and_found_at_the_next() {
    let oidc = OidcTest::new().await;
    let listed = oidc.test.get("/session/providers").await.expect(200);
    assert_eq!(listed[0], json!({"type": "oidc", "name": "Acme", "url": "/api/v1.0/session/oidc"}));
    let claims = person(json!({}));
    let first = oidc.sign_in(&claims).await;
    let me = oidc.me(&first).await.expect(200);
    assert_eq!((&me["user"]["name"], &me["user"]["email"]), (&json!("Nora New"), &claims["email"]));
    assert_eq!(me["spaces"], json!([]));
    let mut renamed = claims.clone();
    renamed["name"] = json!("Nora Newer");
    let second = oidc.sign_in(&renamed).await;
    let again = oidc.me(&second).await.expect(200);
    assert_eq!((&again["user"]["id"], &again["user"]["name"]), (&me["user"]["id"], &json!("Nora Newer")));
    assert_eq!(oidc.test.number("select count(*) from sessions where key_id is null").await, 2);
    let actions = "select count(*) from audit where action in ('user.created', 'user.renamed')";
    assert_eq!(oidc.test.number(actions).await, 2);
    // The session is good for reads, and ends on request; then the browser signs out at the provider.
    let sign_out = oidc.sign_out_url(&second).await;
    assert_eq!(sign_out, json!("/api/v1.0/session/oidc/sign-out"));
    let request = Request::builder().method(Method::DELETE).uri("/api/v1.0/session");
    let request = request.header("cookie", &second).header("sec-fetch-site", "same-origin");
    oidc.test.raw(request.body(Body::empty()).unwrap()).await.expect(204);
    assert_eq!((oidc.test.status_with(&second).await, oidc.test.status_with(&first).await), (401, 200));
    let request = Request::builder().uri(sign_out.as_str().unwrap()).body(Body::empty()).unwrap();
    let response = oidc.test.raw(request).await;
    let url: Url = response.header("location").parse().unwrap();
    assert_eq!(url.as_str().split('?').next().unwrap(), format!("{}/session/end", oidc.provider.issuer));
    let query: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
    assert_eq!(query["client_id"], "console");
    assert_eq!(query["post_logout_redirect_uri"], "http://127.0.0.1:9/sign-in");
    response.expect(303);
}

#[tokio::test]
async fn groups_give_roles_and_take_them_away() {
    let oidc = OidcTest::new().await;
    let test = &oidc.test;
    for (space, group, role) in [
        (SPACE, "analysts", "viewer"),
        (SPACE, "/data/engineers", "editor"),
        (OTHER_SPACE, "analysts", "admin"),
    ] {
        test.administer(&["group", "set", space, group, role]).await;
    }
    let mut claims = person(json!({"groups": ["analysts", "/data/engineers", "elsewhere"]}));
    let session = oidc.sign_in(&claims).await;
    assert_eq!(oidc.roles(&session).await, json!({"finance": "editor", "other": "admin"}));
    claims["groups"] = json!("analysts");
    oidc.sign_in(&claims).await;
    assert_eq!(oidc.roles(&session).await, json!({"finance": "viewer", "other": "admin"}));

    // A change of a mapping counts at once; the session ends with the last membership.
    let mappings = format!("/spaces/{SPACE}/group-mappings");
    let listed = test.send(Method::GET, ADMIN, &mappings, None).await.expect(200);
    assert_eq!((&listed[0]["group"], &listed[1]["group"]), (&json!("/data/engineers"), &json!("analysts")));
    let mapping = format!("{mappings}/{}", listed[1]["id"].as_str().unwrap());
    test.send(Method::PATCH, ADMIN, &mapping, Some(json!({"role": "editor"}))).await.expect(200);
    assert_eq!(oidc.roles(&session).await["finance"], "editor");
    test.send(Method::DELETE, ADMIN, &mapping, None).await.expect(204);
    test.send(Method::DELETE, ADMIN, &mapping, None).await.expect(404);
    assert_eq!(oidc.roles(&session).await, json!({"other": "admin"}));
    test.administer(&["group", "remove", OTHER_SPACE, "analysts"]).await;
    assert_eq!(test.status_with(&session).await, 401);
    let again = Some(json!({"group": "analysts", "role": "viewer"}));
    test.send(Method::POST, ADMIN, &mappings, again).await.expect(201);
    let session = oidc.sign_in(&claims).await;
    assert_eq!(oidc.roles(&session).await, json!({"finance": "viewer"}));
    let audited = "select count(*) from audit where action like 'group_mapping.%'";
    assert_eq!(test.number(audited).await, 7);
}

#[tokio::test]
async fn a_role_that_an_admin_has_set_does_not_follow_groups() {
    let oidc = OidcTest::new().await;
    let test = &oidc.test;
    test.administer(&["group", "set", SPACE, "analysts", "viewer"]).await;
    let mut claims = person(json!({"groups": ["analysts"]}));
    let session = oidc.sign_in(&claims).await;
    let user = oidc.me(&session).await.expect(200)["user"]["id"].as_str().unwrap().to_owned();
    let member = format!("/spaces/{SPACE}/members/{user}");
    test.send(Method::PUT, ADMIN, &member, Some(json!({"role": "editor"}))).await.expect(200);
    claims["groups"] = json!([]);
    oidc.sign_in(&claims).await;
    assert_eq!(oidc.roles(&session).await, json!({"finance": "editor"}));
    test.send(Method::DELETE, ADMIN, &member, None).await.expect(204);
    assert_eq!(test.status_with(&session).await, 401);
}

#[tokio::test]
async fn the_last_admin_of_a_space_stays_without_a_group() {
    let oidc = OidcTest::new().await;
    oidc.test.administer(&["space", "create", "new", "--name", "New"]).await;
    oidc.test.administer(&["group", "set", "new", "admins", "admin"]).await;
    let mut claims = person(json!({"groups": ["admins"]}));
    let session = oidc.sign_in(&claims).await;
    claims["groups"] = json!([]);
    oidc.sign_in(&claims).await;
    assert_eq!(oidc.roles(&session).await, json!({"new": "admin"}));
}

#[tokio::test]
async fn id_tokens_that_are_not_for_this_sign_in_are_refused() {
    let oidc = OidcTest::new().await;
    for token in [
        json!({"aud": "another-client"}),
        json!({"aud": ["console", "another-client"]}),
        json!({"iss": "https://another.example"}),
        json!({"nonce": "another"}),
        json!({"nonce": null}),
        json!({"exp": -600}),
        json!({"iat": 600, "exp": 1_200}),
        json!({"nbf": 600}),
        json!({"sub": null}),
        json!({"$key": "foreign"}),
    ] {
        let claims = person(json!({"token": token}));
        assert_eq!(oidc.refused_with(claims).await, "invalid_token", "{token}");
    }
    // Clocks differ a little.
    oidc.sign_in(&person(json!({"token": {"exp": -20, "iat": 20, "nbf": 20}}))).await;
    assert_eq!(oidc.test.number("select count(*) from sessions").await, 1);
}

#[tokio::test]
async fn only_the_browser_that_began_a_sign_in_finishes_it_and_once() {
    let oidc = OidcTest::new().await;
    let claims = person(json!({}));
    let returning = oidc.authenticated(&claims).await;
    let without_cookie = Returning { url: returning.url.clone(), cookie: "a=b".to_owned() };
    assert_eq!(oidc.refused(&without_cookie).await, "not_pending");
    let (_, other_cookie) = oidc.begin("/").await;
    let of_another = Returning { url: returning.url.clone(), cookie: other_cookie };
    assert_eq!(oidc.refused(&of_another).await, "not_pending");
    let mut unknown_state = Returning { url: returning.url.clone(), cookie: returning.cookie.clone() };
    let pairs: Vec<_> = returning.url.query_pairs().filter(|(name, _)| name != "state").collect();
    unknown_state.url.query_pairs_mut().clear().extend_pairs(&pairs).append_pair("state", "unknown");
    assert_eq!(oidc.refused(&unknown_state).await, "not_pending");
    oidc.come_back(&returning).await.expect(303);
    assert_eq!(oidc.refused(&returning).await, "refused", "the code is used");
    assert_eq!(oidc.test.number("select count(*) from sessions").await, 1);
}

#[tokio::test]
async fn a_code_of_another_request_is_refused() {
    let oidc = OidcTest::new().await;
    let claims = person(json!({})).to_string();
    // The nonce, and then the challenge of PKCE, are replaced on the way to the provider.
    for (name, problem) in [("nonce", "invalid_token"), ("code_challenge", "refused")] {
        let (mut url, cookie) = oidc.begin("/").await;
        let pairs: Vec<_> = url.query_pairs().into_owned().filter(|pair| pair.0 != name).collect();
        url.query_pairs_mut().clear().extend_pairs(pairs).append_pair(name, &"a".repeat(43));
        let url = oidc.authenticate(url, &claims).await;
        assert_eq!(oidc.refused(&Returning { url, cookie }).await, problem, "{name}");
    }
    // The person says no.
    let (url, cookie) = oidc.begin("/").await;
    let url = oidc.authenticate(url, "").await;
    assert_eq!(oidc.refused(&Returning { url, cookie }).await, "refused");
}

#[tokio::test]
async fn an_address_finds_its_user_only_if_the_provider_vouches_for_it() {
    let oidc = OidcTest::new().await;
    let session = oidc.sign_in(&person(json!({"email": "Edith@x.org", "name": "Edith"}))).await;
    assert_eq!(oidc.roles(&session).await, json!({"finance": "editor"}));
    assert_eq!(
        oidc.refused_with(person(json!({"email": "edith@x.org"}))).await,
        "email_taken",
        "a second one"
    );
    for verified in [json!(null), json!(false)] {
        let claims = person(json!({"email": "victor@x.org", "email_verified": verified}));
        let expected = if verified.is_null() { "email_taken" } else { "no_email" };
        assert_eq!(oidc.refused_with(claims).await, expected);
    }
    assert_eq!(oidc.refused_with(person(json!({"email": null}))).await, "no_email");
    let trusting = OidcTest::with(|setup| setup.oidc.oidc_trust_email = true).await;
    let claims = person(json!({"email": "victor@x.org", "email_verified": null}));
    let session = trusting.sign_in(&claims).await;
    assert_eq!(trusting.roles(&session).await, json!({"finance": "viewer"}));
}

#[tokio::test]
async fn a_disabled_user_is_signed_out_and_cannot_sign_in() {
    let oidc = OidcTest::new().await;
    let claims = person(json!({}));
    let session = oidc.sign_in(&claims).await;
    let email = claims["email"].as_str().unwrap();
    oidc.test.administer(&["user", "disable", email]).await;
    assert_eq!(oidc.test.status_with(&session).await, 401);
    assert_eq!(oidc.refused_with(claims.clone()).await, "disabled");
    oidc.test.administer(&["user", "enable", email]).await;
    oidc.sign_in(&claims).await;
}
