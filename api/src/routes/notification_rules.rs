//! The rules that choose which incidents are reported to which channel. Admins read and write them.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use contract::ids::{ChannelId, PipelineId, RuleId, TeamId};
use contract::state::Criticality;
use platform::notifications::INCIDENT_KINDS;
use strum::VariantArray;
use utoipa::{IntoParams, ToSchema};

use crate::auth::{Forbidden, SpaceAdmin};
use crate::http::BASE_PATH;
use crate::http::error::{ApiError, ApiResult};
use crate::http::pagination::{PageResponse, RequestUri, read_paging};
use crate::http::request::{Body, Fields, Id, Query, body, list as list_of};
use crate::state::App;
use crate::store::notification_rules::{
    self as rules, NotificationRule, RuleKindWord, RuleRejection, RuleTerms,
};

const MAX_TAG_LENGTH: usize = 200;

impl From<RuleRejection> for ApiError {
    fn from(rejection: RuleRejection) -> Self {
        match rejection {
            RuleRejection::NotFound(what) => Self::NotFound(what),
            RuleRejection::TooMany => {
                Self::Conflict("The space has 1000 rules; delete one that is not needed")
            }
        }
    }
}

/// A rule to be created. A condition that is left out holds for every incident.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct NewRule {
    #[schema(value_type = Uuid)]
    channel_id: ChannelId,
    #[schema(required = false, default = true)]
    is_active: Option<bool>,
    /// The kinds of incidents; none for all
    #[schema(required = false, value_type = Option<Vec<RuleKindWord>>, max_items = 5)]
    kinds: Option<Vec<String>>,
    /// The least criticality of the pipeline
    #[schema(required = false)]
    min_criticality: Option<Criticality>,
    #[schema(required = false, value_type = Option<Uuid>)]
    team_id: Option<TeamId>,
    /// A tag of the pipeline
    #[schema(required = false, min_length = 1, max_length = 200)]
    tag: Option<String>,
    #[schema(required = false, value_type = Option<Uuid>)]
    pipeline_id: Option<PipelineId>,
}

/// What of a rule is to change; what is left out stays, and null removes a condition.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct RulePatch {
    #[schema(required = false, nullable = false, value_type = Option<Uuid>)]
    channel_id: Option<ChannelId>,
    #[schema(required = false, nullable = false)]
    is_active: Option<bool>,
    #[schema(required = false, value_type = Option<Vec<RuleKindWord>>, max_items = 5)]
    kinds: Option<Vec<String>>,
    #[schema(required = false)]
    min_criticality: Option<Criticality>,
    #[schema(required = false, value_type = Option<Uuid>)]
    team_id: Option<TeamId>,
    #[schema(required = false, min_length = 1, max_length = 200)]
    tag: Option<String>,
    #[schema(required = false, value_type = Option<Uuid>)]
    pipeline_id: Option<PipelineId>,
}

/// Conditions on rules.
#[derive(Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RuleFilter {
    /// The channel that is reported to
    #[param(value_type = Option<Uuid>)]
    channel_id: Option<ChannelId>,
}

/// List the rules of the space, oldest first.
#[utoipa::path(
    get, path = "/notifications/rules", operation_id = "get_notifications_rules", tag = "Notifications",
    params(RuleFilter),
    responses(
        (status = 200, description = "Rules, oldest first", body = [NotificationRule]),
        (status = 403, response = Forbidden),
    ),
)]
pub(super) async fn list(
    space: SpaceAdmin,
    State(app): State<App>,
    uri: RequestUri,
    mut query: Query,
) -> ApiResult<PageResponse<NotificationRule>> {
    let filter = RuleFilter { channel_id: query.id("channel_id") };
    let page = read_paging(&mut query, uri, rules::ORDER);
    query.finish()?;
    let rows = rules::list(&app.db, space.space, filter.channel_id, &page.paging).await?;
    Ok(PageResponse::new(rows, page))
}

/// Create a rule: incidents for which all of its conditions hold are reported to its channel.
#[utoipa::path(
    post, path = "/notifications/rules", operation_id = "post_notifications_rules", tag = "Notifications",
    request_body = NewRule,
    responses(
        (status = 201, description = "The rule", body = NotificationRule, headers(("Location" = String))),
        (status = 404, description = "The space, or what the rule names, was not found"),
        (status = 409, description = "There are too many rules"),
    ),
)]
pub(super) async fn create(
    space: SpaceAdmin,
    State(app): State<App>,
    body: Body,
) -> ApiResult<impl IntoResponse> {
    let mut fields = body.fields()?;
    let channel_id = fields.required("channel_id", body::id);
    let is_active = fields.optional("is_active", body::boolean).unwrap_or(true);
    let unconditional = RuleTerms {
        channel_id: channel_id.unwrap_or(ChannelId(uuid::Uuid::nil())),
        is_active,
        kinds: Vec::new(),
        min_criticality: None,
        team_id: None,
        tag: None,
        pipeline_id: None,
    };
    let terms = read_conditions(&mut fields, unconditional);
    fields.finish()?;
    let mut tx = app.db.begin().await?;
    let id = rules::insert(&mut tx, space.space, space.user.id, &terms).await??;
    tx.commit().await?;
    let rule = find(&app, &space, id).await?;
    let location = format!("{BASE_PATH}/spaces/{}/orchestration/notifications/rules/{id}", space.slug);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], rule))
}

/// Get a rule.
#[utoipa::path(
    get, path = "/notifications/rules/{rule_id}", operation_id = "get_notifications_rules_by_rule_id",
    tag = "Notifications",
    responses(
        (status = 200, description = "The rule", body = NotificationRule),
        (status = 403, response = Forbidden),
    ),
)]
pub(super) async fn get(
    space: SpaceAdmin,
    State(app): State<App>,
    Id(rule): Id<RuleId>,
) -> ApiResult<Json<NotificationRule>> {
    find(&app, &space, rule).await
}

/// Change a rule. What is left out stays; null removes a condition.
#[utoipa::path(
    patch, path = "/notifications/rules/{rule_id}", operation_id = "patch_notifications_rules_by_rule_id",
    tag = "Notifications", request_body = RulePatch,
    responses((status = 200, description = "The rule", body = NotificationRule)),
)]
pub(super) async fn update(
    space: SpaceAdmin,
    State(app): State<App>,
    Id(rule): Id<RuleId>,
    body: Body,
) -> ApiResult<Json<NotificationRule>> {
    let mut tx = app.db.begin().await?;
    let before = rules::find(&mut *tx, space.space, rule).await?.ok_or(ApiError::NotFound("Rule"))?;
    let mut fields = body.fields()?;
    let mut terms = RuleTerms::from(before.clone());
    if let Some(channel) = fields.if_present("channel_id", body::id) {
        terms.channel_id = channel;
    }
    if let Some(is_active) = fields.if_present("is_active", body::boolean) {
        terms.is_active = is_active;
    }
    let terms = read_conditions(&mut fields, terms);
    fields.finish()?;
    rules::update(&mut tx, space.space, space.user.id, before, &terms).await??;
    tx.commit().await?;
    find(&app, &space, rule).await
}

/// Delete a rule.
#[utoipa::path(
    delete, path = "/notifications/rules/{rule_id}", operation_id = "delete_notifications_rules_by_rule_id",
    tag = "Notifications",
    responses((status = 204, description = "Deleted")),
)]
pub(super) async fn delete(
    space: SpaceAdmin,
    State(app): State<App>,
    Id(rule): Id<RuleId>,
) -> ApiResult<StatusCode> {
    let mut tx = app.db.begin().await?;
    if !rules::delete(&mut tx, space.space, space.user.id, rule).await? {
        return Err(ApiError::NotFound("Rule"));
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Reads the given conditions into the terms; null removes one.
fn read_conditions(fields: &mut Fields, mut terms: RuleTerms) -> RuleTerms {
    if fields.has("kinds") {
        let kinds = list_of::distinct(0..=INCIDENT_KINDS.len(), |kind| body::one_of(&INCIDENT_KINDS)(kind));
        let kinds = fields.optional("kinds", kinds).unwrap_or_default();
        terms.kinds = kinds.into_iter().map(ToOwned::to_owned).collect();
    }
    if fields.has("min_criticality") {
        terms.min_criticality = fields.optional("min_criticality", body::one_of(Criticality::VARIANTS));
    }
    if fields.has("team_id") {
        terms.team_id = fields.optional("team_id", body::id);
    }
    if fields.has("tag") {
        terms.tag = fields.optional("tag", body::text_of(1..=MAX_TAG_LENGTH));
    }
    if fields.has("pipeline_id") {
        terms.pipeline_id = fields.optional("pipeline_id", body::id);
    }
    terms
}

async fn find(app: &App, space: &SpaceAdmin, rule: RuleId) -> ApiResult<Json<NotificationRule>> {
    let found = rules::find(&app.db, space.space, rule).await?;
    found.map(Json).ok_or(ApiError::NotFound("Rule"))
}
