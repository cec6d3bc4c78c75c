//! Serves the two ports: which services, with which limits, behind which door.

use std::net::SocketAddr;
use std::sync::Arc;

use arrow_flight::flight_service_server::FlightServiceServer;
use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{from_fn_with_state, map_request};
use axum::serve::ListenerExt;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpcServer;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tonic::service::RoutesBuilder;
use whimbrel_access::ServerTls;
use whimbrel_proto::v1::cluster_service_server::ClusterServiceServer;
use whimbrel_proto::v1::job_service_server::JobServiceServer;
use whimbrel_proto::v1::link_service_server::LinkServiceServer;
use whimbrel_proto::v1::model_service_server::ModelServiceServer;
use whimbrel_proto::v1::pool_service_server::PoolServiceServer;
use whimbrel_proto::v1::table_service_server::TableServiceServer;

use super::secure::{Peer, Secure};
use crate::auth;
use crate::flight::{Flight, Service};
use crate::grpc::cluster::Cluster;
use crate::grpc::jobs::JobDesk;
use crate::grpc::links::LinkDesk;
use crate::grpc::models::Models;
use crate::grpc::pool::PoolState;
use crate::grpc::tables::Tables;
use crate::health;
use crate::pool::Pool;

/// What clients reach.
pub(super) fn client_routes(pool: &Arc<Pool>) -> Router {
    let most = pool.max_message_bytes;
    let mut routes = RoutesBuilder::default();
    routes
        .add_service(
            FlightServiceServer::new(Service::new(Flight::new(Arc::clone(pool))))
                .max_decoding_message_size(most)
                // One batch of rows is one message; its size is not the sender's to refuse.
                .max_encoding_message_size(usize::MAX),
        )
        .add_service(
            ModelServiceServer::new(Models::new(Arc::clone(&pool.models)))
                .max_decoding_message_size(most),
        )
        .add_service(
            LinkServiceServer::new(LinkDesk::new(Arc::clone(pool.models.sources())))
                .max_decoding_message_size(most),
        )
        .add_service(
            TableServiceServer::new(Tables::new(Arc::clone(&pool.catalog)))
                .max_decoding_message_size(most),
        )
        .add_service(
            JobServiceServer::new(JobDesk::new(Arc::clone(pool))).max_decoding_message_size(most),
        )
        .add_service(PoolServiceServer::new(PoolState::new(Arc::clone(pool))));
    let door = Arc::clone(&pool.door);
    health::routes(Arc::clone(pool))
        .merge(routes.routes().into_axum_router())
        .layer(from_fn_with_state(door, auth::check))
}

/// What executors reach.
pub(super) fn cluster_routes(pool: &Arc<Pool>) -> Router {
    let most = pool.max_message_bytes;
    let gate = pool.engine.gate(Arc::clone(&pool.executors));
    let mut routes = RoutesBuilder::default();
    routes
        .add_service(
            SchedulerGrpcServer::new(gate)
                .max_decoding_message_size(most)
                .max_encoding_message_size(most),
        )
        .add_service(
            ClusterServiceServer::new(Cluster::new(Arc::clone(pool)))
                .max_decoding_message_size(most),
        );
    routes.routes().into_axum_router()
}

/// A listener, and the TLS that it speaks.
pub(super) struct Port {
    pub(super) listener: TcpListener,
    pub(super) tls: Option<ServerTls>,
}

/// Serves until `stop`, then lets open calls end. Should the listener fail, `failed` is raised.
pub(super) async fn serve(
    port: Port,
    routes: Router,
    stop: CancellationToken,
    failed: CancellationToken,
) {
    let Port { listener, tls } = port;
    let served = match tls {
        None => {
            let service = routes.into_make_service_with_connect_info::<SocketAddr>();
            let listener = listener.tap_io(|connection| at_once(connection));
            axum::serve(listener, service)
                .with_graceful_shutdown(stop.cancelled_owned())
                .await
        }
        Some(tls) => {
            let routes = routes.layer(map_request(named_as_plain));
            let service = routes.into_make_service_with_connect_info::<Peer>();
            axum::serve(Secure::start(listener, tls), service)
                .with_graceful_shutdown(stop.cancelled_owned())
                .await
        }
    };
    if let Err(error) = served {
        tracing::error!(error = %error, "a port of the scheduler serves no longer");
        failed.cancel();
    }
}

/// What asks for a caller's address asks for one of a plain connection.
async fn named_as_plain(mut request: Request) -> Request {
    let peer = request.extensions().get::<ConnectInfo<Peer>>();
    if let Some(ConnectInfo(Peer(address))) = peer.copied() {
        request.extensions_mut().insert(ConnectInfo(address));
    }
    request
}

/// Small messages are not kept back.
pub(super) fn at_once(connection: &TcpStream) {
    if let Err(error) = connection.set_nodelay(true) {
        tracing::debug!(error = %error, "a connection keeps small messages back");
    }
}
