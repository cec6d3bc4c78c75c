//! Models: bind, list, show, unbind.

use whimbrel_proto::v1::model_service_client::ModelServiceClient;
use whimbrel_proto::v1::{
    BindModelRequest, Binding, GetModelRequest, ListModelVersionsRequest, ListModelsRequest,
    ModelVersion, UnbindModelRequest,
};

use crate::connect::Client;
use crate::error::{Error, Result};

impl Client {
    /// Binds an alias to a model; the alias's next generation where it is bound already.
    pub async fn bind_model(&self, request: BindModelRequest) -> Result<Binding> {
        let answer = ModelServiceClient::new(self.service())
            .bind_model(request)
            .await;
        opened(
            answer
                .map_err(|status| self.failed(status))?
                .into_inner()
                .binding,
        )
    }

    /// Every binding of the pool.
    pub async fn list_models(&self) -> Result<Vec<Binding>> {
        let answer = ModelServiceClient::new(self.service())
            .list_models(ListModelsRequest {})
            .await;
        Ok(answer
            .map_err(|status| self.failed(status))?
            .into_inner()
            .bindings)
    }

    /// One binding.
    pub async fn get_model(&self, alias: &str) -> Result<Binding> {
        let request = GetModelRequest {
            alias: alias.to_owned(),
        };
        let answer = ModelServiceClient::new(self.service())
            .get_model(request)
            .await;
        opened(
            answer
                .map_err(|status| self.failed(status))?
                .into_inner()
                .binding,
        )
    }

    /// Every version of a registry's entry, newest first.
    pub async fn list_model_versions(&self, uri: &str) -> Result<Vec<ModelVersion>> {
        let request = ListModelVersionsRequest {
            uri: uri.to_owned(),
        };
        let answer = ModelServiceClient::new(self.service())
            .list_model_versions(request)
            .await;
        Ok(answer
            .map_err(|status| self.failed(status))?
            .into_inner()
            .versions)
    }

    /// Removes a binding; running queries keep theirs.
    pub async fn unbind_model(&self, alias: &str) -> Result<()> {
        let request = UnbindModelRequest {
            alias: alias.to_owned(),
        };
        let answer = ModelServiceClient::new(self.service())
            .unbind_model(request)
            .await;
        answer.map(drop).map_err(|status| self.failed(status))
    }
}

fn opened(binding: Option<Binding>) -> Result<Binding> {
    binding.ok_or_else(|| Error::Protocol {
        what: "an answer",
        reason: "it holds no binding".to_owned(),
    })
}
