//! `LinkService`: convert, call the links, convert.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use whimbrel_proto::v1::link_service_server::LinkService;
use whimbrel_proto::v1::{
    self, AddLinkRequest, AddLinkResponse, GetLinkRequest, GetLinkResponse, ListLinksRequest,
    ListLinksResponse, RemoveLinkRequest, RemoveLinkResponse, TestLinkRequest, TestLinkResponse,
};
use whimbrel_proto::{Error, ErrorCode};

use crate::links::Link;
use crate::models::Sources;

/// Serves the links on the client port.
#[derive(Clone, Debug)]
pub struct LinkDesk {
    sources: Arc<Sources>,
}

impl LinkDesk {
    /// The service over the links of `sources`.
    pub fn new(sources: Arc<Sources>) -> Self {
        Self { sources }
    }
}

#[tonic::async_trait]
impl LinkService for LinkDesk {
    async fn add_link(
        &self,
        request: Request<AddLinkRequest>,
    ) -> Result<Response<AddLinkResponse>, Status> {
        let AddLinkRequest { link, replace } = request.into_inner();
        let link =
            link.ok_or_else(|| Error::new(ErrorCode::Invalid, "the request names no link"))?;
        let link = self
            .sources
            .links()
            .add(Link::try_from(link)?, replace)
            .await?;
        let link = Some(link.as_ref().into());
        Ok(Response::new(AddLinkResponse { link }))
    }

    async fn list_links(
        &self,
        request: Request<ListLinksRequest>,
    ) -> Result<Response<ListLinksResponse>, Status> {
        let ListLinksRequest {} = request.into_inner();
        let links = self.sources.links().list();
        let links = links
            .iter()
            .map(|link| v1::Link::from(link.as_ref()))
            .collect();
        Ok(Response::new(ListLinksResponse { links }))
    }

    async fn get_link(
        &self,
        request: Request<GetLinkRequest>,
    ) -> Result<Response<GetLinkResponse>, Status> {
        let GetLinkRequest { name } = request.into_inner();
        let link = Some(self.sources.links().get(&name)?.as_ref().into());
        Ok(Response::new(GetLinkResponse { link }))
    }

    async fn test_link(
        &self,
        request: Request<TestLinkRequest>,
    ) -> Result<Response<TestLinkResponse>, Status> {
        let TestLinkRequest { name } = request.into_inner();
        let checks = self.sources.test_link(&name).await?;
        let checks = checks.into_iter().map(v1::LinkCheck::from).collect();
        Ok(Response::new(TestLinkResponse { checks }))
    }

    async fn remove_link(
        &self,
        request: Request<RemoveLinkRequest>,
    ) -> Result<Response<RemoveLinkResponse>, Status> {
        let RemoveLinkRequest { name } = request.into_inner();
        self.sources.links().remove(&name).await?;
        Ok(Response::new(RemoveLinkResponse {}))
    }
}
