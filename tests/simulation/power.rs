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
    /// Always there, but for the end.
    socket: Option<TcpStream>,
    road: Road,
    world: World,
}

/// Its goodbye would be said in the order in which the process is torn down, which is never the same.
impl Drop for Powered {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take()
            && self.world.is_off()
        {
            self.world.bury(socket);
        }
    }
}

impl Powered {
    /// The service's own connection to the upstream.
    pub(crate) fn to_upstream(socket: TcpStream, world: World) -> Self {
        Self { socket: Some(socket), road: Road::ToUpstream(0), world }
    }

    fn poll_socket(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut TcpStream>>> {
        ready!(self.world.poll_power(cx));
        let socket = self.socket.as_mut().map(Pin::new);
        Poll::Ready(socket.ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}

impl AsyncRead for Powered {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(self.get_mut().poll_socket(cx))?.poll_read(cx, buf)
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
        let written = ready!(ready!(this.poll_socket(cx))?.poll_write(cx, part))?;
        if let Road::ToUpstream(all) = &mut this.road {
            *all += written;
        }
        if telling {
            this.world.pass(CrashPoint::AfterTelling);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.get_mut().poll_socket(cx))?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.get_mut().poll_socket(cx))?.poll_shutdown(cx)
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
        Ok(Powered { socket: Some(socket), road: Road::ToCaller, world: self.world.clone() })
    }
}
