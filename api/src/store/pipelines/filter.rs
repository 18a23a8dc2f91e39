//! The conditions on a list of pipelines.

use contract::ids::{ConnectorId, PipelineId, SpaceId, TeamId, UserId};
use contract::state::Criticality;
use derive_more::Display;
use sqlx::{Postgres, QueryBuilder};
use strum::VariantArray;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::facets::Facet;
use crate::store::page::push_contains;
use crate::store::schema::{CriticalityOrNone, IdOrNone, SearchText};

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

/// The values that a column may have. `none` finds rows without a value.
#[derive(Debug)]
pub struct AnyOf<T> {
    pub values: Vec<T>,
    pub none: bool,
}

impl<T> Default for AnyOf<T> {
    fn default() -> Self {
        Self { values: Vec::new(), none: false }
    }
}

impl<T> FromIterator<Option<T>> for AnyOf<T> {
    fn from_iter<I: IntoIterator<Item = Option<T>>>(values: I) -> Self {
        let mut all = Self::default();
        for value in values {
            match value {
                Some(value) => all.values.push(value),
                None => all.none = true,
            }
        }
        all
    }
}

impl<T> AnyOf<T> {
    fn is_empty(&self) -> bool {
        self.values.is_empty() && !self.none
    }
}

/// The conditions on pipelines. Every condition must hold. A list holds when one of its values does; an empty
/// list always holds.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PipelineFilter {
    #[param(ignore)]
    pub ids: Vec<PipelineId>,
    pub provider: Option<String>,
    /// Any of these among the owners; `none` for no owner
    #[param(value_type = Option<Vec<String>>)]
    pub owner: AnyOf<String>,
    /// Any of these; `none` for no criticality
    #[param(value_type = Option<Vec<CriticalityOrNone>>, inline)]
    pub criticality: AnyOf<Criticality>,
    /// Any of these teams; `none` for no team
    #[param(value_type = Option<Vec<IdOrNone>>, inline)]
    pub team_id: AnyOf<TeamId>,
    #[param(value_type = Option<Vec<Uuid>>)]
    pub connector_id: Vec<ConnectorId>,
    #[doc = "Words that must all be found in the name, the external id, the description, the owners or the \
             tags, in any case; 8 different ones at most"]
    #[param(rename = "q", value_type = Option<SearchText>, inline)]
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
        self.is_active.is_none() && !self.is_selective()
    }

    /// Returns whether there is a condition that few pipelines may meet.
    pub(super) fn is_selective(&self) -> bool {
        let is_plain = self.ids.is_empty()
            && self.provider.is_none()
            && self.owner.is_empty()
            && self.criticality.is_empty()
            && self.team_id.is_empty()
            && self.connector_id.is_empty()
            && self.words.is_empty()
            && !self.watched_only
            && self.is_paused.is_none()
            && self.is_active != Some(false)
            && self.tag.is_empty();
        !is_plain
    }

    /// Adds the conditions to a statement in which `p` is the pipeline, `c` its connector and `g` its
    /// governance.
    pub(in crate::store) fn push(&self, sql: &mut QueryBuilder<Postgres>, space: SpaceId, user: UserId) {
        self.push_without_facets(sql, space, user);
        for facet in [Facet::Owner, Facet::Tag, Facet::Criticality, Facet::Team, Facet::Connector] {
            if self.has(facet) {
                sql.push(" and ");
                self.push_facet(sql, facet);
            }
        }
    }

    /// Adds the conditions on the governance `g` of a pipeline.
    pub(in crate::store) fn push_governance(&self, sql: &mut QueryBuilder<Postgres>) {
        for facet in [Facet::Criticality, Facet::Team] {
            if self.has(facet) {
                sql.push(" and ");
                self.push_facet(sql, facet);
            }
        }
    }

    /// Adds the conditions on what has no facet.
    pub(super) fn push_without_facets(&self, sql: &mut QueryBuilder<Postgres>, space: SpaceId, user: UserId) {
        sql.push(" where p.space_id = ").push_bind(space);
        if !self.ids.is_empty() {
            sql.push(" and p.id = any(").push_bind(self.ids.clone()).push(")");
        }
        if let Some(provider) = &self.provider {
            sql.push(" and p.provider = ").push_bind(provider.clone());
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

    /// Returns whether there is a condition on this facet. The status and the health are no part of this
    /// filter.
    pub(super) fn has(&self, facet: Facet) -> bool {
        match facet {
            Facet::Status | Facet::Health => false,
            Facet::Owner => !self.owner.is_empty(),
            Facet::Tag => !self.tag.is_empty(),
            Facet::Criticality => !self.criticality.is_empty(),
            Facet::Team => !self.team_id.is_empty(),
            Facet::Connector => !self.connector_id.is_empty(),
        }
    }

    /// Adds the condition on a facet as an expression.
    pub(super) fn push_facet(&self, sql: &mut QueryBuilder<Postgres>, facet: Facet) {
        match facet {
            Facet::Owner => {
                sql.push("(p.owners && ").push_bind(self.owner.values.clone());
                sql.push(if self.owner.none { " or p.owners = '{}')" } else { ")" });
            }
            Facet::Tag => {
                sql.push("p.tags && ").push_bind(self.tag.clone());
            }
            Facet::Criticality => {
                let words: Vec<_> = self.criticality.values.iter().map(ToString::to_string).collect();
                sql.push("(g.criticality = any(").push_bind(words);
                sql.push(if self.criticality.none { ") or g.criticality is null)" } else { "))" });
            }
            Facet::Team => {
                sql.push("(g.team_id = any(").push_bind(self.team_id.values.clone());
                sql.push(if self.team_id.none { ") or g.team_id is null)" } else { "))" });
            }
            Facet::Connector => {
                sql.push("p.connector_id = any(").push_bind(self.connector_id.clone()).push(")");
            }
            Facet::Status | Facet::Health => {
                sql.push("true");
            }
        }
    }

    /// Adds the search for words.
    fn push_words(&self, sql: &mut QueryBuilder<Postgres>) {
        for word in &self.words {
            sql.push(" and p.search_text");
            push_contains(sql, word);
        }
    }
}
