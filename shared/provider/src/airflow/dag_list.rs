//! The list of DAGs, one DAG, its tasks and its parameters. The versions of the REST API differ in the query
//! and the fields of a DAG.

use super::body_reader::BODY_LIMIT;
use super::client::is_addressable;
use super::fields::RowFields;
use super::look_up::LookUp;
use super::pages::{PagePosition, PagedList};
use super::rows::RowDecoder;
use super::session::{QueryParameters, Retries, Session};
use super::{error_body, model, parameters, wire};
use crate::{Decoded, Page, PageToken, ProviderError, RunParameter};

/// The list of all DAGs, inactive ones included, in the order of their ids.
pub(super) struct DagList<'a, F> {
    pub session: &'a Session,
    /// The first segments of the API's paths.
    pub api: [&'a str; 2],
    pub query: QueryParameters<'a>,
    pub decoder: RowDecoder<F>,
}

impl<F: Fn(&mut RowFields<'_>) -> Option<model::Dag>> DagList<'_, F> {
    pub(super) async fn page(&self, page: Option<&PageToken>) -> Result<Page<model::Dag>, ProviderError> {
        let position = PagePosition::at(page, PagePosition::start())?;
        let path = self.path(&[]);
        let list =
            PagedList { session: self.session, path: &path, query: &self.query, decoder: &self.decoder };
        list.page(&position).await
    }

    /// Whether the server has a DAG. One without a path of its own is looked up in the list; a response that
    /// says nothing about a DAG is an error, because it must not look like a deletion.
    pub(super) async fn has(&self, dag: &str) -> Result<bool, ProviderError> {
        let found = match self.session.find(&self.path(&[dag])).await {
            Err(ProviderError::Unaddressable { .. }) if !is_addressable(dag) => {
                return self.is_listed(dag).await;
            }
            found => found?,
        };
        let found = found.map(|response| self.decoder.single(&response, &[dag])).transpose()?;
        Ok(found.is_some())
    }

    async fn is_listed(&self, dag: &str) -> Result<bool, ProviderError> {
        let mut query = self.query.clone();
        query.push(("dag_id_pattern", dag.replace('\\', "_")));
        let list = LookUp { session: self.session, path: self.path(&[]), query, id: dag };
        let found = list.find(&self.decoder, |listed| listed.dag_id == dag).await?;
        Ok(found.is_some())
    }

    pub(super) async fn tasks(&self, dag: &str) -> Result<Decoded<Vec<model::Task>>, ProviderError> {
        let path = self.path(&[dag, "tasks"]);
        let response = self.session.send_get(&path, Vec::new()).await?;
        wire::tasks(&response, dag).map_err(|error| error_body::of_list(error, &path))
    }

    /// Reads the time zone of a DAG's schedule, which no list contains. A 500 is not retried, because nothing
    /// depends on the time zone.
    pub(super) async fn time_zone(&self, dag: &str) -> Result<Option<String>, ProviderError> {
        let path = self.path(&[dag, "details"]);
        let response =
            self.session.send_list_get(&path, Vec::new(), Retries::OfConnection, BODY_LIMIT).await?;
        wire::time_zone(&response)
    }

    /// The parameters of a DAG; none if the server does not have it.
    pub(super) async fn parameters(&self, dag: &str) -> Result<Option<Vec<RunParameter>>, ProviderError> {
        let response = self.session.send_get(&self.path(&[dag, "details"]), Vec::new()).await?;
        let found = error_body::if_found(response, dag)?;
        found.map(|response| parameters::parameters(&response, dag)).transpose()
    }

    fn path<'p>(&'p self, segments: &[&'p str]) -> Vec<&'p str> {
        [&self.api[..], &["dags"], segments].concat()
    }
}
