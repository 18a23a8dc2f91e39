//! The order of a list, and the position of a row in it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder, Row};
use uuid::Uuid;

/// The total order of a list: by a key, rows without a key last, rows with equal keys by their id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListOrder {
    /// The SQL expression of the key.
    pub(super) key: &'static str,
    pub(super) kind: KeyKind,
    /// The SQL expression of the id.
    pub(super) id: &'static str,
    pub(super) is_nullable: bool,
    pub(super) is_descending: bool,
    pub(super) is_id_descending: bool,
}

/// The type of a sort key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    Time,
    /// `float8`.
    Number,
    Text,
}

/// The value of a sort key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum KeyValue {
    Null,
    Time(DateTime<Utc>),
    /// The bits of the number, because they survive any encoding.
    Number(u64),
    Text(String),
}

impl ListOrder {
    /// Orders by a key that every row has; the ids of rows with equal keys are in the same direction.
    pub const fn by(key: &'static str, kind: KeyKind, id: &'static str) -> Self {
        Self { key, kind, id, is_nullable: false, is_descending: false, is_id_descending: false }
    }

    /// The key may be missing.
    #[must_use]
    pub const fn nullable(self) -> Self {
        Self { is_nullable: true, ..self }
    }

    /// The keys descend, and the ids too.
    #[must_use]
    pub const fn descending(self) -> Self {
        Self { is_descending: true, is_id_descending: true, ..self }
    }

    /// The ids ascend, whatever the direction of the keys.
    #[must_use]
    pub const fn ascending_ids(self) -> Self {
        Self { is_id_descending: false, ..self }
    }

    /// Returns whether a position with this key can belong to a list in this order.
    pub fn accepts(&self, key: &KeyValue) -> bool {
        match key {
            KeyValue::Null => self.is_nullable,
            KeyValue::Time(_) => self.kind == KeyKind::Time,
            KeyValue::Number(_) => self.kind == KeyKind::Number,
            KeyValue::Text(_) => self.kind == KeyKind::Text,
        }
    }

    /// The same order of the rows of a subquery with the columns `id` and [`CURSOR_KEY`].
    pub(super) fn of_subquery(self) -> Self {
        Self { key: CURSOR_KEY, id: "id", ..self }
    }

    /// Adds `order by` for rows that all have a key, or all have none. An index on the key and the id has
    /// this order, forwards or backwards.
    pub(super) fn push_alike(&self, sql: &mut QueryBuilder<Postgres>) {
        Self { is_nullable: false, ..*self }.push(sql);
    }

    /// Adds `order by`.
    pub(super) fn push(&self, sql: &mut QueryBuilder<Postgres>) {
        let Self { key, id, .. } = self;
        let [direction, id_direction] =
            [self.is_descending, self.is_id_descending].map(|descends| if descends { "desc" } else { "asc" });
        let nulls = if self.is_nullable { " nulls last" } else { "" };
        sql.push(format_args!(" order by {key} {direction}{nulls}, {id} {id_direction}"));
    }

    /// Adds the condition that a row comes after a position.
    pub(super) fn push_after(&self, sql: &mut QueryBuilder<Postgres>, position: &Position) {
        let Self { key, id, .. } = self;
        let [beyond, id_beyond] =
            [self.is_descending, self.is_id_descending].map(|descends| if descends { "<" } else { ">" });
        if position.key == KeyValue::Null {
            sql.push(format_args!(" and {key} is null and {id} {id_beyond} ")).push_bind(position.id);
            return;
        }
        sql.push(" and (");
        if self.is_descending == self.is_id_descending {
            sql.push(format_args!("({key}, {id}) {beyond} ("));
            push_key_value(sql, &position.key);
            sql.push(", ").push_bind(position.id).push(")");
        } else {
            sql.push(format_args!("{key} {beyond} "));
            push_key_value(sql, &position.key);
            sql.push(format_args!(" or {key} = "));
            push_key_value(sql, &position.key);
            sql.push(format_args!(" and {id} {id_beyond} ")).push_bind(position.id);
        }
        if self.is_nullable {
            sql.push(format_args!(" or {key} is null"));
        }
        sql.push(")");
    }

    pub(super) fn read_key(&self, row: &PgRow) -> sqlx::Result<KeyValue> {
        let key = match self.kind {
            KeyKind::Time => row.try_get::<Option<_>, _>(CURSOR_KEY)?.map(KeyValue::Time),
            KeyKind::Number => {
                row.try_get::<Option<f64>, _>(CURSOR_KEY)?.map(|key| KeyValue::Number(key.to_bits()))
            }
            KeyKind::Text => row.try_get::<Option<_>, _>(CURSOR_KEY)?.map(KeyValue::Text),
        };
        Ok(key.unwrap_or(KeyValue::Null))
    }
}

/// The column with the sort key of a row.
pub(in crate::store) const CURSOR_KEY: &str = "cursor_key";

fn push_key_value(sql: &mut QueryBuilder<Postgres>, key: &KeyValue) {
    match key {
        KeyValue::Null => sql.push("null"),
        KeyValue::Time(time) => sql.push_bind(*time),
        KeyValue::Number(bits) => sql.push_bind(f64::from_bits(*bits)),
        KeyValue::Text(text) => sql.push_bind(text.clone()),
    };
}

/// The place of a row in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    pub key: KeyValue,
    pub id: Uuid,
}
