//! A server whose handlers tell what they saw, and a caller that speaks HTTP/2 frame by frame.

use std::{net::SocketAddr, pin::Pin, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::Stream;
use h2::{RecvStream, SendStream, client};
use hyper_util::{rt::TokioExecutor, rt::TokioIo, server::conn::auto, service::TowerToHyperService};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};
use tonic::{Request, Response, Status, Streaming, codec::CompressionEncoding, transport::Channel};
use tower::Layer as _;

use crate::{
    error::{Error, Reason},
    grpc::{deadline::Received, rescue, rescue::StreamFault, status::status},
    pb::{self, campaigns_service_server as server},
};

#[derive(Debug, PartialEq)]
pub(super) enum End {
    HalfClosed { messages: usize },
    Fault(StreamFault),
}

#[derive(Debug)]
enum Seen {
    Message,
    End(End),
}

#[derive(Clone)]
struct Handlers(mpsc::UnboundedSender<Seen>);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl server::CampaignsService for Handlers {
    type IngestAudienceStream = Answers<pb::IngestAudienceResponse>;
    type CancelMessagesStream = Answers<pb::CancelMessagesResponse>;
    type WatchMessagesStream = Answers<pb::WatchMessagesResponse>;

    async fn add_audience(
        &self,
        request: Request<Streaming<pb::AddAudienceRequest>>,
    ) -> Answer<pb::AddAudienceResponse> {
        let seen = self.0.clone();
        // In a task of its own, as a write is: it outlives a caller who hangs up, and so sees how the
        // stream ends.
        let read = async move {
            let (mut stream, mut messages) = (request.into_inner(), 0);
            let end = loop {
                match rescue::receive(&mut stream).await {
                    Ok(Some(_)) => {
                        messages += 1;
                        let _ = seen.send(Seen::Message);
                    }
                    Ok(None) => break End::HalfClosed { messages },
                    Err(fault) => break End::Fault(fault),
                }
            };
            let _ = seen.send(Seen::End(end));
        };
        tokio::spawn(read).await.unwrap();
        Ok(Response::new(pb::AddAudienceResponse::default()))
    }

    async fn get_message(&self, request: Request<pb::GetMessageRequest>) -> Answer<pb::GetMessageResponse> {
        assert!(request.extensions().get::<Received>().is_some());
        let error = Error::new(Reason::MessageNotFound, "").retry_after(std::time::Duration::from_secs(9));
        Err(status(&error))
    }

    async fn count_messages(
        &self,
        request: Request<pb::CountMessagesRequest>,
    ) -> Answer<pb::CountMessagesResponse> {
        panic!("{request:?}");
    }

    async fn ingest_audience(
        &self,
        _: Request<Streaming<pb::IngestAudienceRequest>>,
    ) -> Answer<Self::IngestAudienceStream> {
        Err(Status::unimplemented(""))
    }

    async fn get_ingestion(&self, _: Request<pb::GetIngestionRequest>) -> Answer<pb::GetIngestionResponse> {
        Err(Status::unimplemented(""))
    }

    async fn list_messages(&self, _: Request<pb::ListMessagesRequest>) -> Answer<pb::ListMessagesResponse> {
        Err(Status::unimplemented(""))
    }

    async fn cancel_message(
        &self,
        _: Request<pb::CancelMessageRequest>,
    ) -> Answer<pb::CancelMessageResponse> {
        Err(Status::unimplemented(""))
    }

    async fn cancel_messages(
        &self,
        _: Request<pb::CancelMessagesRequest>,
    ) -> Answer<Self::CancelMessagesStream> {
        Err(Status::unimplemented(""))
    }

    async fn watch_messages(
        &self,
        _: Request<pb::WatchMessagesRequest>,
    ) -> Answer<Self::WatchMessagesStream> {
        Err(Status::unimplemented(""))
    }
}

/// Longer than any of these tests waits.
pub(super) const IDLE: Duration = Duration::from_secs(600);

pub(super) struct Server {
    address: SocketAddr,
    seen: mpsc::UnboundedReceiver<Seen>,
    accepting: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server {
    pub(super) async fn start() -> Self {
        #[allow(clippy::disallowed_methods, reason = "a test sends a handful")]
        let (sender, seen) = mpsc::unbounded_channel();
        let service = server::CampaignsServiceServer::new(Handlers(sender))
            .accept_compressed(CompressionEncoding::Gzip);
        let routes = tonic::service::Routes::new(service).prepare();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = TowerToHyperService::new(rescue::RescueLayer::new(IDLE).layer(routes.clone()));
                tokio::spawn(async move {
                    let builder = auto::Builder::new(TokioExecutor::new()).http2_only();
                    let _ = builder.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { address, seen, accepting }
    }

    pub(super) async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    /// Opens a call on a connection of its own.
    pub(super) async fn call(&self, path: &str) -> Call {
        let socket = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = client::handshake(socket).await.unwrap();
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        let request = http::Request::post(format!("http://{}{path}", self.address))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let (response, stream) = sender.send_request(request, false).unwrap();
        Call { response, stream, connection }
    }

    /// Waits until the handler has read this many messages.
    pub(super) async fn reads(&mut self, messages: usize) {
        for _ in 0..messages {
            assert!(matches!(self.seen.recv().await, Some(Seen::Message)));
        }
    }

    /// Waits for how the handler's stream ends.
    pub(super) async fn end(&mut self) -> End {
        loop {
            match self.seen.recv().await.unwrap() {
                Seen::Message => {}
                Seen::End(end) => return end,
            }
        }
    }
}

pub(super) struct Call {
    response: client::ResponseFuture,
    stream: SendStream<Bytes>,
    connection: JoinHandle<()>,
}

impl Call {
    pub(super) fn send(&mut self, bytes: Bytes, last: bool) {
        self.stream.send_data(bytes, last).unwrap();
    }

    pub(super) fn reset(mut self, reason: h2::Reason) {
        self.stream.send_reset(reason);
    }

    pub(super) fn disconnect(self) {
        self.connection.abort();
    }

    /// The call's status, from its headers or its trailers.
    pub(super) async fn status(self) -> Status {
        let (head, mut body): (_, RecvStream) = self.response.await.unwrap().into_parts();
        if let Some(status) = Status::from_header_map(&head.headers) {
            return status;
        }
        while let Some(data) = body.data().await {
            let _ = body.flow_control().release_capacity(data.unwrap().len());
        }
        Status::from_header_map(&body.trailers().await.unwrap().unwrap()).unwrap()
    }
}

/// A message as gRPC frames it.
pub(super) fn frame(flag: u8, payload: Vec<u8>) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(flag);
    bytes.put_u32(u32::try_from(payload.len()).unwrap());
    bytes.put(&payload[..]);
    bytes.freeze()
}
