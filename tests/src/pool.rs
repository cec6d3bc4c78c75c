//! A client of a pool under test: the calls that every suite makes.

use std::path::Path;

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;
use whimbrel::{Client, Token};
use whimbrel_proto::v1::{AddTableRequest, BindModelRequest, Binding, GetPoolStatusResponse};

use crate::data;
use crate::rows::Rows;

#[derive(Clone)]
pub struct Asker(pub Client);

impl Asker {
    pub async fn connect(address: &str) -> Result<Self> {
        Self::connect_as(address, "").await
    }

    /// Shows this token, where it is not empty.
    pub async fn connect_as(address: &str, token: &str) -> Result<Self> {
        let token = match token {
            "" => Token::none(),
            token => Token::new(token)?,
        };
        Ok(Self(Client::connect(address.parse()?, token).await?))
    }

    pub async fn add_table(&self, name: &str, path: &Path) -> Result<()> {
        self.add_table_at(name, &path.to_string_lossy()).await
    }

    /// Names the files of a URI; a table of that name makes room.
    pub async fn add_table_at(&self, name: &str, uri: &str) -> Result<()> {
        let request = AddTableRequest {
            name: name.to_owned(),
            uri: uri.to_owned(),
            replace: true,
            ..Default::default()
        };
        self.0
            .add_table(request)
            .await
            .with_context(|| format!("add table {name}"))?;
        Ok(())
    }

    /// Binds one of the models that `make` trains.
    pub async fn bind_model(&self, alias: &str, model: &str) -> Result<Binding> {
        self.bind(alias, &data::model(model)?.to_string_lossy())
            .await
    }

    /// As [`Asker::bind_model`], but for ONNX Runtime, whatever our own kernels cover: where scoring has to take its time, or the
    /// library matters.
    pub async fn bind_to_ort(&self, alias: &str, model: &str) -> Result<Binding> {
        let request = BindModelRequest {
            alias: alias.to_owned(),
            uri: data::model(model)?.to_string_lossy().into_owned(),
            runtime: "ort".to_owned(),
            ..Default::default()
        };
        self.0
            .bind_model(request)
            .await
            .with_context(|| format!("bind {alias}"))
    }

    /// Binds whatever lies at a path or URI.
    pub async fn bind(&self, alias: &str, uri: &str) -> Result<Binding> {
        let request = BindModelRequest {
            alias: alias.to_owned(),
            uri: uri.to_owned(),
            ..Default::default()
        };
        self.0
            .bind_model(request)
            .await
            .with_context(|| format!("bind {alias}"))
    }

    /// The result's schema and all its batches.
    pub async fn collect(&self, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let answer = self.0.sql(sql).await?;
        let schema = answer.schema();
        Ok((schema, answer.try_collect().await?))
    }

    pub async fn rows(&self, sql: &str, ordered: bool) -> Result<Rows> {
        let (schema, batches) = self.collect(sql).await?;
        Rows::new(&schema, &batches, ordered)
    }

    pub async fn status(&self) -> Result<GetPoolStatusResponse> {
        Ok(self.0.pool_status().await?)
    }
}
