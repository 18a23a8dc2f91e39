//! A page of a list: the order of the list, which rows are requested, and the rows that were found.
//!
//! A page begins at a number of rows from the start, or behind a row, whose sort key and id are its position.
//! The latter costs the same at any depth.

mod order;

use std::fmt::Display;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Postgres, QueryBuilder, Row};

pub(super) use self::order::CURSOR_KEY;
pub use self::order::{KeyKind, KeyValue, ListOrder, Position};

/// Rows per page when the client names no size.
pub const DEFAULT_PAGE_SIZE: i64 = 100;
/// The largest page size; a larger request is cut down to it.
pub const MAX_PAGE_SIZE: i64 = 500;
/// Rows are counted up to this number, unless their number is stored.
pub const MAX_COUNTED: i64 = 10_000;
/// The number of rows from the start at which the last numbered page ends.
pub const MAX_PAGED: i64 = 100_000;

/// The page of a list that is requested.
#[derive(Clone, Debug, PartialEq)]
pub struct Paging {
    order: ListOrder,
    start: PageStart,
    size: i64,
}

#[derive(Clone, Debug, PartialEq)]
enum PageStart {
    /// The page with this number, from 1.
    Number(i64),
    After(Position),
}

impl Paging {
    /// Returns a page; its number counts from 1. `size` is cut down to [`MAX_PAGE_SIZE`].
    pub fn new(order: ListOrder, number: i64, size: i64) -> Self {
        Self { order, start: PageStart::Number(number), size: size.min(MAX_PAGE_SIZE) }
    }

    /// Returns the page that follows a position.
    pub fn after(order: ListOrder, position: Position, size: i64) -> Self {
        Self { order, start: PageStart::After(position), size: size.min(MAX_PAGE_SIZE) }
    }

    /// Returns a page with the same start.
    pub(super) fn resized(&self, size: usize) -> Self {
        Self { size: size as i64, ..self.clone() }
    }

    /// Returns the page's number, from 1; none for a page that follows a position.
    pub fn number(&self) -> Option<i64> {
        match self.start {
            PageStart::Number(number) => Some(number),
            PageStart::After(_) => None,
        }
    }

    /// Returns whether the list begins with the largest keys, and every row has one.
    pub(super) fn is_by_newest(&self) -> bool {
        self.order.is_descending && !self.order.is_nullable
    }

    /// Returns the SQL expression of the sort key.
    pub(super) fn order_key(&self) -> &'static str {
        self.order.key
    }

    /// Returns the maximum number of rows on the page.
    pub fn limit(&self) -> i64 {
        self.size
    }

    /// Returns the number of rows on all pages before this one, or from the position on.
    pub fn offset(&self) -> i64 {
        self.number().map_or(0, |number| (number - 1).saturating_mul(self.size))
    }

    /// Adds the column with the sort key, which [`Self::rows`] needs besides the column `id`.
    pub(super) fn push_key(&self, sql: &mut QueryBuilder<Postgres>) {
        sql.push(format_args!(", {} as {CURSOR_KEY}", self.order.key));
    }

    /// Adds `order by`.
    pub(super) fn push_order(&self, sql: &mut QueryBuilder<Postgres>) {
        self.order.push(sql);
    }

    /// Ends a statement that has conditions: adds the position as another one, the order and the limit, which
    /// is one row more than the page has, so that it is known whether another page follows.
    pub(super) fn push_page(&self, sql: &mut QueryBuilder<Postgres>) {
        if let PageStart::After(position) = &self.start {
            self.order.push_after(sql, position);
        }
        self.order.push(sql);
        sql.push(" limit ").push_bind(self.size + 1);
        if self.offset() > 0 {
            sql.push(" offset ").push_bind(self.offset());
        }
    }

    /// Adds a statement that yields the ids and sort keys of the page's rows from a subquery of candidates
    /// with the columns `id` and [`CURSOR_KEY`].
    pub(super) fn push_page_of_subquery(&self, sql: &mut QueryBuilder<Postgres>, from: &str) {
        sql.push(format_args!("select id, {CURSOR_KEY} from {from} where true"));
        Self { order: self.order.of_subquery(), ..self.clone() }.push_page(sql);
    }

    /// Adds the columns `id` and [`CURSOR_KEY`] of a subquery.
    pub(super) fn push_id_and_key(&self, sql: &mut QueryBuilder<Postgres>) {
        sql.push(format_args!("select {} as id", self.order.id));
        self.push_key(sql);
    }

    /// Ends a subquery of candidates: adds the position, the order, and the number of rows up to the page's
    /// end as the limit.
    pub(super) fn push_candidates(&self, sql: &mut QueryBuilder<Postgres>) {
        if let PageStart::After(position) = &self.start {
            self.order.push_after(sql, position);
        }
        self.order.push(sql);
        sql.push(" limit ").push_bind(self.end());
    }

    /// Adds a statement that walks along an index in the order of the list, which yields the ids and sort
    /// keys of the page's rows. Each of the `parts` is a condition; every row with a key fulfils one of them.
    ///
    /// Rows with and without a key are parts, too: no index has those without a key last in both directions.
    pub(super) fn push_walk(
        &self,
        sql: &mut QueryBuilder<Postgres>,
        parts: &[ListPart],
        matching: impl Fn(&mut QueryBuilder<Postgres>),
    ) {
        if let ([ListPart { condition: None }], false) = (parts, self.order.is_nullable) {
            self.push_id_and_key(sql);
            matching(sql);
            return self.push_page(sql);
        }
        let valued = parts.iter().map(|part| (*part, false));
        let unvalued = self.order.is_nullable.then_some((ListPart::ALL, true));
        sql.push("with ");
        let mut previous = String::new();
        for (index, (part, is_unvalued)) in valued.chain(unvalued).enumerate() {
            sql.push(format_args!("{}part_{index} as materialized (", if index > 0 { ", " } else { "" }));
            self.push_id_and_key(sql);
            matching(sql);
            part.push(sql);
            self.push_half(sql, is_unvalued);
            self.order.push_alike(sql);
            sql.push(" limit ").push_bind(self.end());
            // Rows without a key are read only if those with a key do not fill the page.
            if is_unvalued {
                sql.push(format_args!(" - (select count(*) from ({previous}) valued)"));
            }
            sql.push(")");
            let union = if previous.is_empty() { "" } else { " union all " };
            previous += &format!("{union}select * from part_{index}");
        }
        sql.push(format_args!(" select id, {CURSOR_KEY} from ({previous}) page"));
        self.order.of_subquery().push(sql);
        sql.push(" limit ").push_bind(self.size + 1).push(" offset ").push_bind(self.offset());
    }

    /// Adds the conditions that a row has a key, or has none, and comes after the position.
    fn push_half(&self, sql: &mut QueryBuilder<Postgres>, is_unvalued: bool) {
        if self.order.is_nullable {
            let condition = if is_unvalued { "null" } else { "not null" };
            sql.push(format_args!(" and {} is {condition}", self.order.key));
        }
        if let PageStart::After(position) = &self.start {
            match (position.key == KeyValue::Null, is_unvalued) {
                (true, false) => {
                    sql.push(" and false");
                }
                (false, true) => {}
                _ => ListOrder { is_nullable: false, ..self.order }.push_after(sql, position),
            }
        }
    }

    /// Returns the number of rows from the start, or the position, to the end of the page, and one more.
    pub(super) fn end(&self) -> i64 {
        self.offset() + self.size + 1
    }

    /// Converts the rows that a statement with [`Self::push_key`] and [`Self::push_page`] has found.
    pub(super) fn rows<T>(&self, mut found: Vec<PgRow>, total: Total) -> sqlx::Result<Rows<T>>
    where
        T: for<'r> FromRow<'r, PgRow>,
    {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        let has_next = found.len() > size;
        found.truncate(size);
        let next = match found.last().filter(|_| has_next) {
            Some(row) => Some(Position { key: self.order.read_key(row)?, id: row.try_get("id")? }),
            None => None,
        };
        // Each row is dropped as soon as it is converted.
        let rows: Vec<T> = found.into_iter().map(|row| T::from_row(&row)).collect::<sqlx::Result<_>>()?;
        let seen = self.offset() + rows.len() as i64 + i64::from(has_next);
        let total = if rows.is_empty() { total } else { total.at_least(seen) };
        Ok(Rows { rows, total, next })
    }
}

/// The number of rows in a whole list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Total {
    pub rows: i64,
    /// Whether there are so many rows, or at least so many.
    pub is_exact: bool,
}

impl Total {
    pub(super) fn exact(rows: i64) -> Self {
        Self { rows, is_exact: true }
    }

    /// Returns the total of a statement by [`push_count`].
    pub(super) fn counted(rows: i64) -> Self {
        Self { rows: rows.min(MAX_COUNTED), is_exact: rows <= MAX_COUNTED }
    }

    fn at_least(self, seen: i64) -> Self {
        if self.is_exact { self } else { Self { rows: self.rows.max(seen), ..self } }
    }
}

/// A part of a list: those of its rows for which a condition holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ListPart {
    /// A piece of SQL, the time behind it, and the pieces after that.
    condition: Option<(&'static str, DateTime<Utc>, &'static [&'static str])>,
}

impl ListPart {
    /// The whole list.
    pub(super) const ALL: Self = Self { condition: None };

    pub(super) fn of(before: &'static str, time: DateTime<Utc>, after: &'static [&'static str]) -> Self {
        Self { condition: Some((before, time, after)) }
    }

    fn push(self, sql: &mut QueryBuilder<Postgres>) {
        if let Some((before, time, after)) = self.condition {
            sql.push(before).push_bind(time);
            after.iter().for_each(|piece| {
                sql.push(piece);
            });
        }
    }
}

/// Adds the condition that a column has one of these words, unless there are none. They are part of the
/// statement, because only then PostgreSQL uses partial indexes.
pub(super) fn push_words<T: Display>(sql: &mut QueryBuilder<Postgres>, column: &str, words: &[T]) {
    if !words.is_empty() {
        let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        sql.push(format_args!(" and {column} in ({})", words.join(", ")));
    }
}

/// Adds to an expression of text in lower case the condition that it contains another text, in any case.
pub(super) fn push_contains(sql: &mut QueryBuilder<Postgres>, text: &str) {
    let escaped = text.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_");
    sql.push(" like '%' || lower(").push_bind(escaped).push(r#" collate "und-x-icu") || '%'"#);
}

/// Adds a count of the rows of a list, up to one more than are counted. `matching` adds `from` and `where`.
pub(super) fn push_count(
    sql: &mut QueryBuilder<Postgres>,
    matching: impl FnOnce(&mut QueryBuilder<Postgres>),
) {
    sql.push("select count(*) from (select");
    matching(sql);
    sql.push(format_args!(" limit {}) counted", MAX_COUNTED + 1));
}

/// The rows of one page, the number of rows in the whole list, and the position of the page's last row if
/// another page follows.
#[derive(Debug)]
pub struct Rows<T> {
    pub rows: Vec<T>,
    pub total: Total,
    pub next: Option<Position>,
}

/// Reads a page of a list, and counts the list. `columns` is the beginning of the statement, with a column
/// `id`; `matching` adds `from` and `where`.
pub(super) async fn read<T>(
    db: &PgPool,
    paging: &Paging,
    columns: &str,
    matching: impl Fn(&mut QueryBuilder<Postgres>),
) -> sqlx::Result<Rows<T>>
where
    T: for<'r> FromRow<'r, PgRow>,
{
    let mut sql = QueryBuilder::new(columns);
    paging.push_key(&mut sql);
    matching(&mut sql);
    paging.push_page(&mut sql);
    read_and_count(db, paging, sql, matching).await
}

/// The columns of a long list, its table with the alias that the columns have, and the tables that are joined
/// to it for the columns alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct LongList {
    pub columns: &'static str,
    pub table: &'static str,
    pub joins: &'static str,
}

impl LongList {
    /// Begins a statement that selects the columns, without conditions.
    pub(super) fn select(&self) -> QueryBuilder<Postgres> {
        let Self { columns, table, joins } = self;
        QueryBuilder::new(format!("{columns} from {table}{joins}"))
    }
}

/// Reads a page of a long list, and counts the list. The rows before the page are passed over in an index;
/// only those of the page are joined. `matching` adds `where` with conditions on the table.
pub(super) async fn read_long<T>(
    db: &PgPool,
    paging: &Paging,
    list: LongList,
    matching: impl Fn(&mut QueryBuilder<Postgres>),
) -> sqlx::Result<Rows<T>>
where
    T: for<'r> FromRow<'r, PgRow>,
{
    let LongList { columns, table, joins } = list;
    let matching = |sql: &mut QueryBuilder<Postgres>| {
        sql.push(format_args!(" from {table}"));
        matching(sql);
    };
    let mut sql = QueryBuilder::new(columns);
    paging.push_key(&mut sql);
    sql.push(" from (");
    paging.push_id_and_key(&mut sql);
    matching(&mut sql);
    paging.push_page(&mut sql);
    sql.push(format_args!(") page join {table} on {} = page.id{joins}", paging.order.id));
    paging.push_order(&mut sql);
    read_and_count(db, paging, sql, matching).await
}

async fn read_and_count<T>(
    db: &PgPool,
    paging: &Paging,
    mut page: QueryBuilder<Postgres>,
    matching: impl Fn(&mut QueryBuilder<Postgres>),
) -> sqlx::Result<Rows<T>>
where
    T: for<'r> FromRow<'r, PgRow>,
{
    let found = page.build().fetch_all(db).await?;
    let mut sql = QueryBuilder::new("");
    // In the order of an index, so that no more rows are read than are counted.
    push_count(&mut sql, |sql| {
        matching(sql);
        paging.push_order(sql);
    });
    let counted = sql.build_query_scalar().fetch_one(db).await?;
    paging.rows(found, Total::counted(counted))
}
