//! Where connections come from.

use std::{future::Future, io, net::SocketAddr};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};

/// Where connections come from: a socket of this machine, or a simulation's.
pub trait Listener {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Waits for the next connection.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Io>> + Send;
}

impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let (socket, _) = Self::accept(self).await?;
        let _ = socket.set_nodelay(true);
        Ok(socket)
    }
}

/// Binds, or says what to do.
///
/// # Errors
/// Where the address is taken or not this machine's.
pub async fn listen(addr: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(addr).await.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("{addr} is taken by another program: stop it, or choose another port with --listen")
        }
        _ => format!("cannot listen on {addr}: {error}"),
    })
}
