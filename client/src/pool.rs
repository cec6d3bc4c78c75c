//! The pool itself: who is in it, what runs, how far a query is, and ending one.

use futures::{Stream, StreamExt};
use whimbrel_proto::ids::QueryId;
use whimbrel_proto::v1::pool_service_client::PoolServiceClient;
use whimbrel_proto::v1::{
    CancelQueryRequest, GetPoolStatusRequest, GetPoolStatusResponse, QueryProgress,
    WatchQueryRequest,
};

use crate::connect::Client;
use crate::error::Result;

impl Client {
    /// Executors and queries of the pool.
    pub async fn pool_status(&self) -> Result<GetPoolStatusResponse> {
        let answer = PoolServiceClient::new(self.service())
            .get_pool_status(GetPoolStatusRequest {})
            .await;
        Ok(answer.map_err(|status| self.failed(status))?.into_inner())
    }

    /// How far a query is, until it ends. Ends at once where the pool does not know the query.
    pub async fn watch_query(
        &self,
        query: &QueryId,
    ) -> Result<impl Stream<Item = Result<QueryProgress>> + use<>> {
        let request = WatchQueryRequest {
            query_id: query.to_string(),
        };
        let answer = PoolServiceClient::new(self.service())
            .watch_query(request)
            .await;
        let stream = answer.map_err(|status| self.failed(status))?.into_inner();
        let client = self.clone();
        Ok(stream.map(move |progress| progress.map_err(|status| client.failed(status))))
    }

    /// Ends a query; false where it had ended already.
    pub async fn cancel_query(&self, query: &QueryId) -> Result<bool> {
        let request = CancelQueryRequest {
            query_id: query.to_string(),
        };
        let answer = PoolServiceClient::new(self.service())
            .cancel_query(request)
            .await;
        Ok(answer
            .map_err(|status| self.failed(status))?
            .into_inner()
            .cancelled)
    }
}
