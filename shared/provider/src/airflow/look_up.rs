//! Looks a row up in a list, where its id does not survive in a path.

use super::fields::RowFields;
use super::pages::{PagePosition, PagedList};
use super::rows::RowDecoder;
use super::session::{QueryParameters, Session};
use crate::{Decoded, Page, PagePermit, ProviderError, UnreadableRows};
use contract::events::UnreadableEntry;
use contract::state::EntityKind;

/// How many pages of a list are read to find one row.
const MAX_PAGES: usize = 10;

/// A list in which a row is looked up.
pub(super) struct LookUp<'a> {
    pub session: &'a Session,
    pub path: Vec<&'a str>,
    pub query: QueryParameters<'a>,
    /// The id of the row, for the error.
    pub id: &'a str,
}

impl LookUp<'_> {
    /// Returns the row that is wanted, or none if the list is complete without it.
    ///
    /// # Errors
    /// `Unaddressable` if the list is too long, or has rows that cannot be read.
    pub(super) async fn find<T>(
        &self,
        decoder: &RowDecoder<impl Fn(&mut RowFields<'_>) -> Option<T>>,
        is_wanted: impl Fn(&T) -> bool,
    ) -> Result<Option<Decoded<T>>, ProviderError> {
        let mut position = PagePosition::start();
        let list = PagedList { session: self.session, path: &self.path, query: &self.query, decoder };
        for _ in 0..MAX_PAGES {
            let Page { items, unreadable, next, .. } = list.page(&position).await?;
            let is_complete = unreadable.lost == 0;
            if let Some(value) = items.into_iter().find(&is_wanted) {
                return Ok(Some(Decoded { value, unreadable }));
            }
            match next {
                None if is_complete => return Ok(None),
                Some(next) if is_complete => position = PagePosition::at(Some(&next), PagePosition::start())?,
                _ => break,
            }
        }
        Err(ProviderError::unaddressable(self.id))
    }
}

/// The task runs of a run that the provider has no path to: they are in other lists.
pub(super) fn unaddressable_page<T>(run: &str) -> Page<T> {
    let reason = "the id does not survive in a path, so that its task runs cannot be asked for";
    let mut unreadable = UnreadableRows::default();
    unreadable.push(UnreadableEntry::new(EntityKind::Run, run, reason), true);
    Page { items: Vec::new(), unreadable, next: None, permit: PagePermit::default() }
}
