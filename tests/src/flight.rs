//! A Flight client that knows nothing of Whimbrel: arrow-flight's own, with headers that any client can send.

use std::path::Path;

use anyhow::{Context, Result, bail};
use arrow::array::RecordBatch;
use arrow_flight::error::FlightError;
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, Any, CommandStatementQuery, CommandStatementUpdate,
    ProstMessageExt,
};
use arrow_flight::{Action, FlightClient, FlightData, FlightDescriptor, FlightInfo, Ticket};
use futures::TryStreamExt;
use prost::Message;
use prost::bytes::Bytes;
use tonic::Code;
use tonic::metadata::MetadataMap;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// What a peer answers, in its own words.
pub type Answer<T> = std::result::Result<T, FlightError>;

/// The class of an error; one that no server sent is unknown.
pub fn code(error: &FlightError) -> Code {
    match error {
        FlightError::Tonic(status) => status.code(),
        _ => Code::Unknown,
    }
}

/// The refusal that is due; its words.
pub fn refused<T>(answer: Answer<T>, due: &[Code]) -> Result<String> {
    match answer {
        Ok(_) => bail!("was let through, and {due:?} is due"),
        Err(FlightError::Tonic(status)) if due.contains(&status.code()) => {
            Ok(status.message().to_owned())
        }
        Err(error) => bail!("{error}, and {due:?} is due"),
    }
}

/// A query, as Flight SQL describes it.
pub fn statement(sql: &str) -> FlightDescriptor {
    let command = CommandStatementQuery {
        query: sql.to_owned(),
        transaction_id: None,
    };
    FlightDescriptor::new_cmd(command.as_any().encode_to_vec())
}

/// Certificates of a client: the CA that it believes, and what it shows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Papers<'a> {
    pub ca: Option<&'a Path>,
    pub own: Option<(&'a Path, &'a Path)>,
}

/// Connects to a URI of gRPC or Flight.
pub async fn dial(uri: &str, papers: Papers<'_>) -> Result<Channel> {
    let uri = uri
        .replace("grpc+tcp://", "http://")
        .replace("grpc+tls://", "https://");
    let mut endpoint = Endpoint::from_shared(uri.clone())?;
    if uri.starts_with("https://") {
        let mut tls = ClientTlsConfig::new();
        if let Some(ca) = papers.ca {
            tls = tls.ca_certificate(Certificate::from_pem(std::fs::read(ca)?));
        }
        if let Some((cert, key)) = papers.own {
            tls = tls.identity(Identity::from_pem(
                std::fs::read(cert)?,
                std::fs::read(key)?,
            ));
        }
        endpoint = endpoint.tls_config(tls)?;
    }
    endpoint
        .connect()
        .await
        .with_context(|| format!("connect to {uri}"))
}

/// One connection, and what it sends with every call.
#[derive(Clone, Debug)]
pub struct Visitor {
    channel: Channel,
    headers: MetadataMap,
}

impl Visitor {
    /// Shows this token, or none.
    pub async fn connect(uri: &str, token: Option<&str>, papers: Papers<'_>) -> Result<Self> {
        let visitor = Self {
            channel: dial(uri, papers).await?,
            headers: MetadataMap::new(),
        };
        match token {
            Some(token) => visitor.with("authorization", &format!("Bearer {token}")),
            None => Ok(visitor),
        }
    }

    /// Without TLS.
    pub async fn plain(uri: &str, token: Option<&str>) -> Result<Self> {
        Self::connect(uri, token, Papers::default()).await
    }

    /// The same connection with one header more, or with another value of it.
    pub fn with(mut self, key: &'static str, value: &str) -> Result<Self> {
        self.headers.insert(key, value.parse()?);
        Ok(self)
    }

    pub fn client(&self) -> FlightClient {
        let mut client = FlightClient::new(self.channel.clone());
        *client.metadata_mut() = self.headers.clone();
        client
    }

    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub async fn info(&self, sql: &str) -> Answer<FlightInfo> {
        self.client().get_flight_info(statement(sql)).await
    }

    /// All rows behind a ticket.
    pub async fn get(&self, ticket: impl Into<Bytes>) -> Answer<Vec<RecordBatch>> {
        let ticket = Ticket {
            ticket: ticket.into(),
        };
        self.client().do_get(ticket).await?.try_collect().await
    }

    /// All answers of an action.
    pub async fn act(&self, kind: &str, body: Vec<u8>) -> Answer<Vec<Bytes>> {
        let action = Action::new(kind, body);
        self.client().do_action(action).await?.try_collect().await
    }

    /// A statement as a change: its first answer.
    pub async fn update(&self, sql: &str) -> Answer<Option<Bytes>> {
        let command = CommandStatementUpdate {
            query: sql.to_owned(),
            transaction_id: None,
        };
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let data = FlightData::new().with_descriptor(descriptor);
        let mut answers = self
            .client()
            .do_put(futures::stream::iter([Ok(data)]))
            .await?;
        let first = answers.try_next().await?;
        Ok(first.map(|answer| answer.app_metadata))
    }

    pub async fn prepare(&self, sql: &str) -> Answer<Vec<Bytes>> {
        let request = ActionCreatePreparedStatementRequest {
            query: sql.to_owned(),
            transaction_id: None,
        };
        let body: Any = request.as_any();
        self.act("CreatePreparedStatement", body.encode_to_vec())
            .await
    }

    /// Runs a query to its end, every row through this connection.
    pub async fn rows(&self, sql: &str) -> Answer<Vec<RecordBatch>> {
        let info = self.info(sql).await?;
        let mut all = Vec::new();
        for endpoint in info.endpoint {
            all.extend(self.get(endpoint.ticket.unwrap_or_default().ticket).await?);
        }
        Ok(all)
    }
}

pub fn count(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

/// Where the rows of an endpoint lie: the URI of its first location.
pub fn first_way(info: &FlightInfo, endpoint: usize) -> Result<String> {
    let endpoint = info.endpoint.get(endpoint).context("an endpoint")?;
    let first = endpoint.location.first().context("a location")?;
    Ok(first.uri.clone())
}

/// The ticket of an endpoint.
pub fn ticket(info: &FlightInfo, endpoint: usize) -> Result<Bytes> {
    let endpoint = info.endpoint.get(endpoint).context("an endpoint")?;
    Ok(endpoint.ticket.clone().context("a ticket")?.ticket)
}
