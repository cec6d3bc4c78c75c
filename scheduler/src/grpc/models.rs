//! `ModelService`: convert, call the registry, convert.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use whimbrel_predict::binding::Binding;
use whimbrel_proto::Error;
use whimbrel_proto::v1::model_service_server::ModelService;
use whimbrel_proto::v1::{
    self, BindModelRequest, BindModelResponse, GetModelRequest, GetModelResponse,
    ListModelVersionsRequest, ListModelVersionsResponse, ListModelsRequest, ListModelsResponse,
    UnbindModelRequest, UnbindModelResponse,
};

use crate::models::{BindModel, Registry};

/// Serves the bindings on the client port.
#[derive(Clone, Debug)]
pub struct Models {
    registry: Arc<Registry>,
}

impl Models {
    /// The service over `registry`.
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }
}

impl From<BindModelRequest> for BindModel {
    fn from(request: BindModelRequest) -> Self {
        let BindModelRequest {
            alias,
            uri,
            returns,
            runtime,
            columns,
            options,
        } = request;
        let columns = columns
            .into_iter()
            .map(|pair| (pair.input, pair.column))
            .collect();
        Self {
            alias,
            uri,
            returns,
            runtime,
            columns,
            options: options
                .into_iter()
                .map(|option| (option.key, option.value))
                .collect(),
            if_absent: false,
        }
    }
}

fn wire(binding: &Binding) -> Result<v1::Binding, Error> {
    v1::Binding::try_from(binding)
}

#[tonic::async_trait]
impl ModelService for Models {
    async fn bind_model(
        &self,
        request: Request<BindModelRequest>,
    ) -> Result<Response<BindModelResponse>, Status> {
        let binding = self.registry.bind(request.into_inner().into()).await?;
        let binding = Some(wire(&binding)?);
        Ok(Response::new(BindModelResponse { binding }))
    }

    async fn list_models(
        &self,
        request: Request<ListModelsRequest>,
    ) -> Result<Response<ListModelsResponse>, Status> {
        let ListModelsRequest {} = request.into_inner();
        let bindings = self
            .registry
            .list()
            .iter()
            .map(|binding| wire(binding))
            .collect::<Result<_, _>>()?;
        Ok(Response::new(ListModelsResponse { bindings }))
    }

    async fn get_model(
        &self,
        request: Request<GetModelRequest>,
    ) -> Result<Response<GetModelResponse>, Status> {
        let GetModelRequest { alias } = request.into_inner();
        let binding = Some(wire(self.registry.get(&alias)?.as_ref())?);
        Ok(Response::new(GetModelResponse { binding }))
    }

    async fn unbind_model(
        &self,
        request: Request<UnbindModelRequest>,
    ) -> Result<Response<UnbindModelResponse>, Status> {
        let UnbindModelRequest { alias } = request.into_inner();
        self.registry.unbind(&alias).await?;
        Ok(Response::new(UnbindModelResponse {}))
    }
    async fn list_model_versions(
        &self,
        request: Request<ListModelVersionsRequest>,
    ) -> Result<Response<ListModelVersionsResponse>, Status> {
        let ListModelVersionsRequest { uri } = request.into_inner();
        let versions = self.registry.sources().versions(&uri).await?;
        let versions = versions.into_iter().map(v1::ModelVersion::from).collect();
        Ok(Response::new(ListModelVersionsResponse { versions }))
    }
}
