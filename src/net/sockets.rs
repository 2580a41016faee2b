//! Where peers connect to: bound before anything runs.

use std::io;
use std::net::{SocketAddr, TcpListener};

use anyhow::Context;

use super::tcp;

/// Sockets that peers connect to, opened before the node gives up its rights to.
#[derive(Debug)]
pub struct Sockets(Vec<TcpListener>);

impl Sockets {
    /// Listens on each address. One of an address family that the machine has not is left out.
    ///
    /// # Errors
    /// An address that is taken.
    pub fn open(addresses: &[SocketAddr]) -> anyhow::Result<Self> {
        let mut sockets = Vec::new();
        for address in addresses {
            match tcp::bind(*address) {
                Ok(socket) => sockets.push(socket),
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable || is_no_family(&error) => {
                    tracing::warn!(%address, %error, "peers cannot connect to this address");
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("peering.bind: listening on {address}"));
                }
            }
        }
        Ok(Self(sockets))
    }

    pub(super) fn into_listeners(self) -> Vec<TcpListener> {
        self.0
    }

    /// Where peers connect to.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }
}

fn is_no_family(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}
