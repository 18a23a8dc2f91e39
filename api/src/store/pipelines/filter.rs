//! Which pipelines a list is about.

use contract::ids::{ConnectorId, SpaceId, TeamId, UserId};
use contract::state::Criticality;
use sqlx::{Postgres, QueryBuilder};
use utoipa::IntoParams;

use crate::openapi::{Activity, CriticalityWord};

/// Which pipelines. Every condition must hold; of the values of a list one is enough, and an empty list asks nothing.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PipelineFilter {
    pub provider: Option<String>,
    /// Any of these among the owners
    #[param(required = false)]
    pub owner: Vec<String>,
    #[param(required = false, value_type = Vec<CriticalityWord>, inline)]
    pub criticality: Vec<Criticality>,
    #[param(value_type = Option<Uuid>)]
    pub team_id: Option<TeamId>,
    #[param(value_type = Option<Uuid>)]
    pub connector_id: Option<ConnectorId>,
    /// Words that must all be found in the name, the external id, the description, the owners or the tags, in any case
    #[param(rename = "q", value_type = Option<String>)]
    pub words: Vec<String>,
    /// Only those that the person with this key watches
    #[param(required = false)]
    pub watched_only: bool,
    pub is_paused: Option<bool>,
    /// Whether the provider still has it; `any` for both
    #[param(value_type = Option<Activity>, inline)]
    pub is_active: Option<bool>,
    /// Any of these among the tags
    #[param(required = false)]
    pub tag: Vec<String>,
}

impl PipelineFilter {
    /// Whether it asks nothing.
    pub fn is_open(&self) -> bool {
        self.provider.is_none()
            && self.owner.is_empty()
            && self.criticality.is_empty()
            && self.team_id.is_none()
            && self.connector_id.is_none()
            && self.words.is_empty()
            && !self.watched_only
            && self.is_paused.is_none()
            && self.is_active.is_none()
            && self.tag.is_empty()
    }

    /// Adds its conditions to a statement that knows the pipeline as `p`, its connector as `c` and its governance as
    /// `g`.
    pub(in crate::store) fn push(&self, sql: &mut QueryBuilder<Postgres>, space: SpaceId, user: UserId) {
        sql.push(" where p.space_id = ").push_bind(space);
        if let Some(provider) = &self.provider {
            sql.push(" and p.provider = ").push_bind(provider.clone());
        }
        if !self.owner.is_empty() {
            sql.push(" and p.owners && ").push_bind(self.owner.clone());
        }
        if !self.tag.is_empty() {
            sql.push(" and p.tags && ").push_bind(self.tag.clone());
        }
        if !self.criticality.is_empty() {
            let words: Vec<_> = self.criticality.iter().map(ToString::to_string).collect();
            sql.push(" and g.criticality = any(").push_bind(words).push(")");
        }
        if let Some(team) = self.team_id {
            sql.push(" and g.team_id = ").push_bind(team);
        }
        if let Some(connector) = self.connector_id {
            sql.push(" and p.connector_id = ").push_bind(connector);
        }
        if let Some(paused) = self.is_paused {
            sql.push(" and p.is_paused = ").push_bind(paused);
        }
        if let Some(active) = self.is_active {
            sql.push(" and (p.is_active and c.deleted_at is null) = ").push_bind(active);
        }
        if self.watched_only {
            sql.push(
                " and exists (select from pipeline_watches w where w.pipeline_id = p.id and w.user_id = ",
            )
            .push_bind(user)
            .push(")");
        }
        if !self.words.is_empty() {
            // Places, not patterns: % and _ are plain characters. Lines keep a word from matching across fields.
            sql.push(" and not exists (select from unnest(").push_bind(self.words.clone()).push(
                r#") as word where strpos(lower(concat_ws(E'\n', p.name, p.external_id, p.description,
                   array_to_string(p.owners, E'\n'), array_to_string(p.tags, E'\n')) collate "und-x-icu"),
                   lower(word collate "und-x-icu")) = 0)"#,
            );
        }
    }
}
