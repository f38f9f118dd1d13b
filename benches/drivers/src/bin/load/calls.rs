//! Calls, frame by frame: what a call asks is built once and its answer is not decoded, so that one core can load
//! a service that has another.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use drivers::{Fault, pb};
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request, Uri};
use prost::Message;
use tokio::{net::TcpStream, time::timeout};

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// With this gRPC code.
    Code(u8),
    /// The deadline passed before anything came.
    Late,
    /// The server said that it did not take it: the connection was to end, or there was none.
    NotTaken,
    /// It was taken, and broke off without a status.
    Cut,
}

/// What is asked.
#[derive(Clone)]
pub struct Ask {
    uri: Uri,
    body: Bytes,
    key: &'static str,
}

const SERVICE: &str = "http://service/blubash.campaigns.v1.CampaignsService";

impl Ask {
    fn new(method: &str, message: &impl Message, key: &'static str) -> Result<Self, Fault> {
        let message = message.encode_to_vec();
        let mut body = vec![0];
        body.extend(u32::try_from(message.len())?.to_be_bytes());
        body.extend(message);
        Ok(Self { uri: format!("{SERVICE}/{method}").parse()?, body: body.into(), key })
    }

    /// A message, asked of the upstream each time.
    pub fn get(key: &'static str) -> Result<Self, Fault> {
        let message = pb::GetMessageRequest {
            campaign_id: "c".into(),
            message_id: "msg_1".into(),
            max_staleness: Some(prost_types::Duration::default()),
        };
        Self::new("GetMessage", &message, key)
    }

    /// A page of 50, asked of the upstream each time.
    pub fn list(key: &'static str) -> Result<Self, Fault> {
        let message = pb::ListMessagesRequest {
            campaign_id: "c".into(),
            page_size: 50,
            max_staleness: Some(prost_types::Duration::default()),
            ..Default::default()
        };
        Self::new("ListMessages", &message, key)
    }

    /// Ten contacts.
    pub fn add(key: &'static str) -> Result<Self, Fault> {
        let item = |n: usize| pb::AudienceItem {
            recipient: Some(pb::audience_item::Recipient::Identifier(format!("55119{n:08}"))),
            schedule: Some(pb::Schedule { when: Some(pb::schedule::When::Immediate(pb::Immediate {})) }),
            ..Default::default()
        };
        let items = (0..10).map(item).collect();
        Self::new(
            "AddAudience",
            &pb::AddAudienceRequest { campaign_id: "c".into(), items, options: None },
            key,
        )
    }
}

/// Connects.
pub async fn connect(addr: SocketAddr) -> Result<SendRequest<Bytes>, Fault> {
    let socket = TcpStream::connect(addr).await?;
    socket.set_nodelay(true)?;
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(64 << 20)
        .handshake(socket)
        .await?;
    tokio::spawn(async move {
        // What broke it shows in its calls.
        let _ = connection.await;
    });
    Ok(sender)
}

/// Makes a call. Its deadline counts from now on, waiting for a stream included.
pub async fn call(sender: &SendRequest<Bytes>, ask: &Ask, deadline: Duration) -> End {
    match timeout(deadline, answer(sender.clone(), ask, deadline)).await {
        Ok(end) => end,
        Err(_) => End::Late,
    }
}

async fn answer(sender: SendRequest<Bytes>, ask: &Ask, deadline: Duration) -> End {
    let Ok(mut sender) = sender.ready().await else { return End::NotTaken };
    let request = Request::post(ask.uri.clone())
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", format!("{}m", deadline.as_millis()))
        .header("x-api-key", ask.key)
        .body(());
    let Ok(request) = request else { return End::NotTaken };
    let Ok((response, mut stream)) = sender.send_request(request, false) else { return End::NotTaken };
    if stream.send_data(ask.body.clone(), true).is_err() {
        return End::NotTaken;
    }
    read(response).await.unwrap_or_else(|fault| {
        // A stream above the last that the server took: GOAWAY or REFUSED_STREAM says so (RFC 9113, 6.8 and 8.7).
        let untaken = fault.is_go_away() || fault.reason() == Some(h2::Reason::REFUSED_STREAM);
        if untaken { End::NotTaken } else { End::Cut }
    })
}

async fn read(response: ResponseFuture) -> Result<End, h2::Error> {
    let (head, mut body) = response.await?.into_parts();
    if let Some(code) = code(&head.headers) {
        return Ok(End::Code(code));
    }
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
    }
    Ok(body.trailers().await?.as_ref().and_then(code).map_or(End::Cut, End::Code))
}

fn code(headers: &HeaderMap) -> Option<u8> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}
