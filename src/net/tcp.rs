//! TCP under libp2p: listeners and dialled connections, with this node's limits, and without the netlink socket by which
//! libp2p's own transport watches the machine's addresses.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use libp2p::core::Multiaddr;
use libp2p::core::multiaddr::Protocol;
use libp2p::core::transport::{DialOpts, ListenerId, Transport, TransportError, TransportEvent};
use libp2p::futures::future::{BoxFuture, FutureExt, Ready, ready as resolved};
use libp2p::futures::{AsyncRead, AsyncWrite};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// A peer that takes nothing for that long is cut off.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Tcp {
    listeners: Vec<(ListenerId, TcpListener)>,
    /// Addresses that are not told yet.
    told: VecDeque<(ListenerId, Multiaddr)>,
    waker: Option<Waker>,
}

/// Opens a listening socket; an IPv6 one takes IPv6 alone.
pub(super) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

impl Tcp {
    /// A transport that listens already.
    pub(super) fn listening(listeners: Vec<std::net::TcpListener>) -> io::Result<Self> {
        let mut tcp = Self::default();
        for listener in listeners {
            let id = ListenerId::next();
            let listener = TcpListener::from_std(listener)?;
            tcp.told.push_back((id, multiaddr(listener.local_addr()?)));
            tcp.listeners.push((id, listener));
        }
        Ok(tcp)
    }
}

/// As libp2p writes an address.
pub(super) fn multiaddr(address: SocketAddr) -> Multiaddr {
    Multiaddr::from(address.ip()).with(Protocol::Tcp(address.port()))
}

/// Address and port; `None` when it is no `/ip4|ip6/…/tcp/…`.
#[allow(clippy::wildcard_enum_match_arm, reason = "the enum is not exhaustive: nothing else is spoken here")]
pub(super) fn socket_address(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    Some(match (parts.next()?, parts.next()?) {
        (Protocol::Ip4(ip), Protocol::Tcp(port)) => SocketAddr::new(IpAddr::V4(ip), port),
        (Protocol::Ip6(ip), Protocol::Tcp(port)) => SocketAddr::new(IpAddr::V6(ip), port),
        (_, _) => return None,
    })
}

fn prepared(stream: TcpStream) -> Connection {
    let socket = SockRef::from(&stream);
    for set in [socket.set_tcp_nodelay(true), socket.set_tcp_user_timeout(Some(WRITE_TIMEOUT))] {
        if let Err(error) = set {
            tracing::debug!(%error, "connection without a socket option");
        }
    }
    Connection(stream)
}

impl Transport for Tcp {
    type Output = Connection;
    type Error = io::Error;
    type ListenerUpgrade = Ready<Result<Connection, io::Error>>;
    type Dial = BoxFuture<'static, Result<Connection, io::Error>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        let to = socket_address(&address).ok_or(TransportError::MultiaddrNotSupported(address))?;
        let listener = bind(to).and_then(TcpListener::from_std).map_err(TransportError::Other)?;
        let local = listener.local_addr().map_err(TransportError::Other)?;
        self.told.push_back((id, multiaddr(local)));
        self.listeners.push((id, listener));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let before = self.listeners.len();
        self.listeners.retain(|(listener, _)| *listener != id);
        self.listeners.len() < before
    }

    fn dial(&mut self, address: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let to = socket_address(&address).ok_or(TransportError::MultiaddrNotSupported(address))?;
        Ok(async move { TcpStream::connect(to).await.map(prepared) }.boxed())
    }

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        if let Some((listener_id, listen_addr)) = self.told.pop_front() {
            return Poll::Ready(TransportEvent::NewAddress { listener_id, listen_addr });
        }
        for (id, listener) in &self.listeners {
            let listener_id = *id;
            match listener.poll_accept(context) {
                Poll::Pending => {}
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(TransportEvent::ListenerError { listener_id, error });
                }
                Poll::Ready(Ok((stream, from))) => {
                    let local_addr = stream.local_addr().map_or_else(|_| Multiaddr::empty(), multiaddr);
                    return Poll::Ready(TransportEvent::Incoming {
                        listener_id,
                        upgrade: resolved(Ok(prepared(stream))),
                        local_addr,
                        send_back_addr: multiaddr(from),
                    });
                }
            }
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// A connection, as libp2p reads and writes it.
#[derive(Debug)]
pub(super) struct Connection(TcpStream);

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.0).poll_read(context, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
