//! `TableService`: convert, call the catalog, convert.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use whimbrel_proto::v1::table_service_server::TableService;
use whimbrel_proto::v1::{
    AddTableRequest, AddTableResponse, DropTableRequest, DropTableResponse, GetTableRequest,
    GetTableResponse, ListTablesRequest, ListTablesResponse,
};

use crate::catalog::{AddTable, Catalog};

/// Serves the catalog on the client port.
#[derive(Clone, Debug)]
pub struct Tables {
    catalog: Arc<Catalog>,
}

impl Tables {
    /// The service over `catalog`.
    pub fn new(catalog: Arc<Catalog>) -> Self {
        Self { catalog }
    }
}

impl From<AddTableRequest> for AddTable {
    fn from(request: AddTableRequest) -> Self {
        let AddTableRequest {
            name,
            uri,
            format,
            header,
            delimiter,
            replace,
            quote,
            escape,
            comment,
            multiline,
            nulls,
            any_header,
            compression,
            encoding,
            infer_rows,
        } = request;
        Self {
            name,
            uri,
            format,
            header,
            delimiter,
            quote,
            escape,
            comment,
            multiline,
            nulls,
            any_header,
            compression,
            encoding,
            infer_rows,
            replace,
            columns: None,
            folders: Vec::new(),
        }
    }
}

#[tonic::async_trait]
impl TableService for Tables {
    async fn add_table(
        &self,
        request: Request<AddTableRequest>,
    ) -> Result<Response<AddTableResponse>, Status> {
        let table = self.catalog.add(request.into_inner().into()).await?;
        let table = Some(table.as_ref().into());
        Ok(Response::new(AddTableResponse { table }))
    }

    async fn list_tables(
        &self,
        request: Request<ListTablesRequest>,
    ) -> Result<Response<ListTablesResponse>, Status> {
        let ListTablesRequest {} = request.into_inner();
        let tables = self
            .catalog
            .list()
            .iter()
            .map(|table| table.as_ref().into())
            .collect();
        Ok(Response::new(ListTablesResponse { tables }))
    }

    async fn get_table(
        &self,
        request: Request<GetTableRequest>,
    ) -> Result<Response<GetTableResponse>, Status> {
        let GetTableRequest { name } = request.into_inner();
        let table = Some(self.catalog.get(&name)?.as_ref().into());
        Ok(Response::new(GetTableResponse { table }))
    }

    async fn drop_table(
        &self,
        request: Request<DropTableRequest>,
    ) -> Result<Response<DropTableResponse>, Status> {
        let DropTableRequest { name } = request.into_inner();
        self.catalog.drop_table(&name).await?;
        Ok(Response::new(DropTableResponse {}))
    }
}
