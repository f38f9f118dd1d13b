//! The service's connections: when its power goes, not one byte more leaves or arrives, in the middle of
//! whatever it was doing. (Tearing the host down comes a moment later, and would say goodbye.)

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

use crate::{coverage::CrashPoint, world::World};

/// Which way a connection leads.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Road {
    ToCaller,
    /// With how much has been written.
    ToUpstream(usize),
}

/// The first part of a request to the upstream, in bytes: the power may go before the rest.
const FIRST_PART: usize = 100;

pub(crate) struct Powered {
    socket: TcpStream,
    road: Road,
    world: World,
}

impl Powered {
    /// The service's own connection to the upstream.
    pub(crate) fn to_upstream(socket: TcpStream, world: World) -> Self {
        Self { socket, road: Road::ToUpstream(0), world }
    }
}

impl AsyncRead for Powered {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.world.poll_power(cx));
        Pin::new(&mut this.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Powered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut part = buf;
        let telling = match this.road {
            Road::ToUpstream(0) => {
                part = &buf[..buf.len().min(FIRST_PART)];
                false
            }
            Road::ToUpstream(FIRST_PART) => {
                this.world.pass(CrashPoint::WhileSending);
                false
            }
            Road::ToUpstream(_) => false,
            Road::ToCaller if this.world.has_untold() => {
                this.world.pass(CrashPoint::BeforeTelling);
                true
            }
            Road::ToCaller => false,
        };
        ready!(this.world.poll_power(cx));
        let written = ready!(Pin::new(&mut this.socket).poll_write(cx, part))?;
        if let Road::ToUpstream(all) = &mut this.road {
            *all += written;
        }
        if telling {
            this.world.pass(CrashPoint::AfterTelling);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.world.poll_power(cx));
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.world.poll_power(cx));
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}

/// Where the callers' connections come in.
pub(crate) struct Door {
    pub(crate) listener: TcpListener,
    pub(crate) world: World,
}

impl blubash_grpc::server::Listener for Door {
    type Io = Powered;

    async fn accept(&mut self) -> io::Result<Powered> {
        let (socket, _) = self.listener.accept().await?;
        Ok(Powered { socket, road: Road::ToCaller, world: self.world.clone() })
    }
}
