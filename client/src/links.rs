//! Links to model registries: add, list, show, test, remove.

use whimbrel_proto::v1::link_service_client::LinkServiceClient;
use whimbrel_proto::v1::{
    AddLinkRequest, GetLinkRequest, Link, LinkCheck, ListLinksRequest, RemoveLinkRequest,
    TestLinkRequest,
};

use crate::connect::Client;
use crate::error::{Error, Result};

impl Client {
    /// Names a model registry.
    pub async fn add_link(&self, link: Link, replace: bool) -> Result<Link> {
        let request = AddLinkRequest {
            link: Some(link),
            replace,
        };
        let answer = LinkServiceClient::new(self.service())
            .add_link(request)
            .await;
        opened(
            answer
                .map_err(|status| self.failed(status))?
                .into_inner()
                .link,
        )
    }

    /// Every link of the pool.
    pub async fn list_links(&self) -> Result<Vec<Link>> {
        let answer = LinkServiceClient::new(self.service())
            .list_links(ListLinksRequest {})
            .await;
        Ok(answer
            .map_err(|status| self.failed(status))?
            .into_inner()
            .links)
    }

    /// One link.
    pub async fn get_link(&self, name: &str) -> Result<Link> {
        let request = GetLinkRequest {
            name: name.to_owned(),
        };
        let answer = LinkServiceClient::new(self.service())
            .get_link(request)
            .await;
        opened(
            answer
                .map_err(|status| self.failed(status))?
                .into_inner()
                .link,
        )
    }

    /// Goes through a link step by step.
    pub async fn test_link(&self, name: &str) -> Result<Vec<LinkCheck>> {
        let request = TestLinkRequest {
            name: name.to_owned(),
        };
        let answer = LinkServiceClient::new(self.service())
            .test_link(request)
            .await;
        Ok(answer
            .map_err(|status| self.failed(status))?
            .into_inner()
            .checks)
    }

    /// Forgets a link.
    pub async fn remove_link(&self, name: &str) -> Result<()> {
        let request = RemoveLinkRequest {
            name: name.to_owned(),
        };
        let answer = LinkServiceClient::new(self.service())
            .remove_link(request)
            .await;
        answer.map(drop).map_err(|status| self.failed(status))
    }
}

fn opened(link: Option<Link>) -> Result<Link> {
    link.ok_or_else(|| Error::Protocol {
        what: "an answer",
        reason: "it holds no link".to_owned(),
    })
}
