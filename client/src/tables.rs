//! Tables of the pool's catalog: add, list, show, drop.

use whimbrel_proto::v1::table_service_client::TableServiceClient;
use whimbrel_proto::v1::{
    AddTableRequest, DropTableRequest, GetTableRequest, ListTablesRequest, Table,
};

use crate::connect::Client;
use crate::error::{Error, Result};

impl Client {
    /// Names a dataset.
    pub async fn add_table(&self, request: AddTableRequest) -> Result<Table> {
        let answer = TableServiceClient::new(self.service())
            .add_table(request)
            .await;
        opened(
            answer
                .map_err(|status| self.failed(status))?
                .into_inner()
                .table,
        )
    }

    /// Every table of the pool.
    pub async fn list_tables(&self) -> Result<Vec<Table>> {
        let answer = TableServiceClient::new(self.service())
            .list_tables(ListTablesRequest {})
            .await;
        Ok(answer
            .map_err(|status| self.failed(status))?
            .into_inner()
            .tables)
    }

    /// One table with its columns.
    pub async fn get_table(&self, name: &str) -> Result<Table> {
        let request = GetTableRequest {
            name: name.to_owned(),
        };
        let answer = TableServiceClient::new(self.service())
            .get_table(request)
            .await;
        opened(
            answer
                .map_err(|status| self.failed(status))?
                .into_inner()
                .table,
        )
    }

    /// Forgets a table; its files stay.
    pub async fn drop_table(&self, name: &str) -> Result<()> {
        let request = DropTableRequest {
            name: name.to_owned(),
        };
        let answer = TableServiceClient::new(self.service())
            .drop_table(request)
            .await;
        answer.map(drop).map_err(|status| self.failed(status))
    }
}

fn opened(table: Option<Table>) -> Result<Table> {
    table.ok_or_else(|| Error::Protocol {
        what: "an answer",
        reason: "it holds no table".to_owned(),
    })
}
