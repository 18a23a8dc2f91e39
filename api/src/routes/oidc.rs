//! The way to the company's OpenID Connect provider and back. Browsers open both addresses, and so the
//! sign-in page explains a problem: they are sent there.

use std::collections::HashMap;

use axum::extract::{RawQuery, State};
use axum::http::header::{LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use platform::audit::Actor;
use url::form_urlencoded;

use super::sessions;
use crate::auth::count_sign_in;
use crate::auth::sessions::Cookie;
use crate::http::error::{ApiError, ApiResult};
use crate::oidc::{Callback, OidcClient, PENDING_TTL, SIGN_IN_PAGE};
use crate::state::App;
use crate::store::group_mappings;
use crate::store::identities::{self, Identity, IdentityOutcome};
use crate::store::users::User;

/// Sign in at the OpenID Connect provider: a browser opens this address.
#[utoipa::path(
    get, path = "/session/oidc", operation_id = "get_session_oidc", tag = "Sessions",
    description = "Sends the browser to the provider. The query `return_to` is the path of the page to show \
        afterwards. When the provider does not answer, the browser sees the sign-in page, with a `problem`.",
    responses(
        (status = 303, description = "To the provider",
         headers(("Location" = String), ("Set-Cookie" = String))),
        (status = 404, description = "No provider is configured"),
    ),
)]
pub(super) async fn begin(
    State(app): State<App>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> ApiResult<Response> {
    let client = client(&app)?;
    let query = parameters(query);
    let return_to = query.get("return_to").map_or("/", String::as_str);
    let config = &app.authenticator.sessions;
    Ok(match client.begin(return_to).await {
        Ok(request) => {
            let cookie = config.set_cookie(&headers, Cookie::SignIn, &request.pending, PENDING_TTL);
            see_other(request.url.as_str(), &[cookie])
        }
        Err(error) => {
            tracing::warn!(%error, "sign-in at the OpenID Connect provider did not begin");
            problem(error.code(), &[config.remove_cookie(&headers, Cookie::SignIn)])
        }
    })
}

/// The way back from the OpenID Connect provider.
#[utoipa::path(
    get, path = "/session/oidc/callback", operation_id = "get_session_oidc_callback", tag = "Sessions",
    description = "The provider sends the browser here. Who has signed in gets a session, and sees the page \
        that was asked for; otherwise the browser sees the sign-in page, with a `problem`.",
    responses(
        (status = 303, description = "Back to the console",
         headers(("Location" = String), ("Set-Cookie" = String))),
        (status = 404, description = "No provider is configured"),
    ),
)]
pub(super) async fn finish(
    State(app): State<App>,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> ApiResult<Response> {
    let client = client(&app)?;
    let mut query = parameters(query);
    let callback = Callback {
        state: query.remove("state"),
        code: query.remove("code"),
        error: query.remove("error"),
        issuer: query.remove("iss"),
    };
    let config = &app.authenticator.sessions;
    // It is good for one attempt.
    let removed = config.remove_cookie(&headers, Cookie::SignIn);
    let pending = config.read_cookie(&headers, Cookie::SignIn);
    let (identity, return_to) = match client.finish(pending, &callback).await {
        Ok(finished) => finished,
        Err(error) => {
            tracing::warn!(%error, "sign-in at the OpenID Connect provider failed");
            return Ok(problem(error.code(), &[removed]));
        }
    };
    match find_user(&app, &identity).await? {
        IdentityOutcome::Found(user) => {
            let (cookie, _) = sessions::begin(&app, &headers, user.id, None).await?;
            Ok(see_other(&return_to, &[removed, cookie]))
        }
        IdentityOutcome::Disabled => Ok(problem("disabled", &[removed])),
        IdentityOutcome::EmailTaken => Ok(problem("email_taken", &[removed])),
    }
}

/// Sign out at the OpenID Connect provider: a browser opens this address after its session has ended.
#[utoipa::path(
    get, path = "/session/oidc/sign-out", operation_id = "get_session_oidc_sign_out", tag = "Sessions",
    description = "Sends the browser to the provider, which asks the person and sends it to the sign-in page \
        of the console. A provider that has no such address, or does not answer, is left out.",
    responses(
        (status = 303, description = "To the provider, or to the sign-in page",
         headers(("Location" = String))),
        (status = 404, description = "No provider is configured"),
    ),
)]
pub(super) async fn sign_out(State(app): State<App>) -> ApiResult<Response> {
    let url = client(&app)?.sign_out_url().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "sign-out at the OpenID Connect provider did not begin");
        None
    });
    Ok(see_other(url.as_ref().map_or(SIGN_IN_PAGE, |url| url.as_str()), &[]))
}

/// Finds or inserts the user of an identity, and gives them the roles of their groups.
async fn find_user(app: &App, identity: &Identity) -> ApiResult<IdentityOutcome> {
    let mut tx = app.db.begin().await?;
    let outcome = identities::sign_in(&mut tx, identity).await?;
    if let IdentityOutcome::Found(User { id, .. }) = &outcome {
        group_mappings::update_memberships(&mut tx, Actor::User(*id), None, Some(*id)).await?;
        tx.commit().await?;
    } else {
        tracing::warn!(subject = identity.subject, ?outcome, "sign-in of a person without access refused");
    }
    Ok(outcome)
}

fn client(app: &App) -> ApiResult<&OidcClient> {
    app.oidc.as_ref().ok_or(ApiError::NotFound("OpenID Connect provider"))
}

/// Returns the parameters of a query. The sign-in page explains what is wrong with them.
fn parameters(query: Option<String>) -> HashMap<String, String> {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect()
}

/// Sends the browser to the sign-in page after an attempt that failed.
fn problem(code: &str, cookies: &[HeaderValue]) -> Response {
    count_sign_in(false);
    see_other(&format!("{SIGN_IN_PAGE}?problem={code}"), cookies)
}

fn see_other(location: &str, cookies: &[HeaderValue]) -> Response {
    let location = HeaderValue::try_from(location).unwrap_or(HeaderValue::from_static(SIGN_IN_PAGE));
    let cookies = cookies.iter().map(|cookie| (SET_COOKIE, cookie.clone()));
    (StatusCode::SEE_OTHER, [(LOCATION, location)], AppendHeaders(cookies.collect::<Vec<_>>()))
        .into_response()
}
