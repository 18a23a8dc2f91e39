//! The conditions on a list of pipelines.

use contract::ids::{ConnectorId, SpaceId, TeamId, UserId};
use contract::state::Criticality;
use derive_more::Display;
use sqlx::{Postgres, QueryBuilder};
use strum::VariantArray;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

/// The values of the parameter `is_active`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, VariantArray)]
#[display(rename_all = "snake_case")]
pub enum ActiveFilter {
    True,
    False,
    Any,
}

impl PartialSchema for ActiveFilter {
    fn schema() -> RefOr<Schema> {
        contract::openapi::string_enum(Self::VARIANTS)
    }
}

impl ToSchema for ActiveFilter {}

/// The conditions on pipelines. Every condition must hold. A list holds when one of its values does; an empty
/// list always holds.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PipelineFilter {
    pub provider: Option<String>,
    /// Any of these among the owners
    #[param(required = false)]
    pub owner: Vec<String>,
    #[param(required = false, inline)]
    pub criticality: Vec<Criticality>,
    #[param(value_type = Option<Uuid>)]
    pub team_id: Option<TeamId>,
    #[param(value_type = Option<Uuid>)]
    pub connector_id: Option<ConnectorId>,
    #[doc = "Words that must all be found in the name, the external id, the description, the owners or the \
             tags, in any case"]
    #[param(rename = "q", value_type = Option<String>)]
    pub words: Vec<String>,
    /// Only those that the person with this key watches
    #[param(required = false)]
    pub watched_only: bool,
    pub is_paused: Option<bool>,
    /// Whether the provider still has it; `any` for both
    #[param(value_type = Option<ActiveFilter>, inline)]
    pub is_active: Option<bool>,
    /// Any of these among the tags
    #[param(required = false)]
    pub tag: Vec<String>,
}

impl PipelineFilter {
    /// Returns whether there is no condition.
    pub fn is_empty(&self) -> bool {
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

    /// Adds the conditions to a statement in which `p` is the pipeline, `c` its connector and `g` its
    /// governance.
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
        self.push_words(sql);
    }

    /// Adds the search for words. `strpos` treats % and _ as plain characters; joining the fields with line
    /// breaks keeps a word from matching across two of them.
    fn push_words(&self, sql: &mut QueryBuilder<Postgres>) {
        if self.words.is_empty() {
            return;
        }
        sql.push(" and not exists (select from unnest(").push_bind(self.words.clone()).push(
            r#") as word where strpos(lower(concat_ws(E'\n', p.name, p.external_id, p.description,
               array_to_string(p.owners, E'\n'), array_to_string(p.tags, E'\n')) collate "und-x-icu"),
               lower(word collate "und-x-icu")) = 0)"#,
        );
    }
}
