//! Connections that one address may have to this node: strangers from one place must not keep the others out. And one that this
//! node dialled to each peer: it may be found at several addresses.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::task::{Context, Poll};

use libp2p::PeerId;
use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::{
    ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, ListenFailure, NetworkBehaviour, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};

use super::tcp;

/// Several nodes may be behind one router.
const MOST: usize = 8;

/// One place may have so many of the places for strangers, out of so many, rounded up.
const SHARE: usize = 2;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Behaviour {
    /// Those that were dialled by others, pending or there: at most as many as the swarm's own limits let in.
    connections: HashMap<ConnectionId, IpAddr>,
    /// Those that this node dialled, and are there.
    dialled: HashMap<ConnectionId, PeerId>,
}

#[derive(Debug, thiserror::Error)]
#[error("{MOST} connections came from {0} already")]
struct Crowded(IpAddr);

#[derive(Debug, thiserror::Error)]
#[error("dialled by another address already")]
struct Dialled;

/// What counts as one place: whoever has one IPv6 address has the 2^64 around it. Nodes of this machine have none.
pub(super) fn place(ip: IpAddr) -> Option<IpAddr> {
    match ip.to_canonical() {
        ip if ip.is_loopback() => None,
        ip @ IpAddr::V4(_) => Some(ip),
        IpAddr::V6(ip) => Some(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into()),
    }
}

/// Whether one more stranger from `at` may be let in beside those from `there`, of whom `most` may be here. Nodes on this
/// machine may have all places.
pub(super) fn has_room(most: usize, there: &[Option<IpAddr>], at: Option<IpAddr>) -> bool {
    let from = |at: IpAddr| there.iter().flatten().filter(|one| place(**one) == Some(at)).count();
    there.len() < most && at.and_then(place).is_none_or(|at| from(at) < most.div_ceil(SHARE))
}

impl Behaviour {
    fn enter(&mut self, connection: ConnectionId, from: IpAddr) -> Result<(), Crowded> {
        let Some(from) = place(from) else { return Ok(()) };
        let there = self.connections.values().filter(|other| **other == from).count();
        if there >= MOST {
            return Err(Crowded(from));
        }
        self.connections.insert(connection, from);
        Ok(())
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        match tcp::socket_address(remote) {
            Some(remote) => self.enter(connection, remote.ip()).map_err(ConnectionDenied::new),
            None => Ok(()),
        }
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        // The other side could not tell a second one from a new one after a power cut, and would end the first.
        if self.dialled.values().any(|other| *other == peer) {
            return Err(ConnectionDenied::new(Dialled));
        }
        Ok(dummy::ConnectionHandler)
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the enum is not exhaustive: nothing else is of interest"
    )]
    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(established) if established.endpoint.is_dialer() => {
                self.dialled.insert(established.connection_id, established.peer_id);
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. })
            | FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => {
                self.connections.remove(&connection_id);
                self.dialled.remove(&connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use libp2p::swarm::ConnectionId;

    use super::{Behaviour, MOST, has_room};

    #[test]
    fn one_place_has_half_of_the_places_for_strangers() {
        let ip = |text: &str| Some(text.parse().unwrap());
        let (one, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
        assert!(has_room(1, &[], one) && !has_room(1, &[one], other) && !has_room(0, &[], one));
        assert!(
            has_room(4, &[one], one) && !has_room(4, &[one, one], one) && has_room(4, &[one, one], other)
        );
        assert!(!has_room(4, &[one, one], ip("::ffff:192.0.2.1")));
        assert!(!has_room(3, &[ip("2001:db8::1"), ip("2001:db8::2")], ip("2001:db8::3")));
        let own = ip("127.0.0.1");
        assert!(has_room(4, &[own, own, own], own) && !has_room(4, &[own, own, own, own], own));
    }

    #[test]
    fn one_address_may_have_some_connections_and_a_whole_ipv6_network_counts_as_one() {
        let mut crowd = Behaviour::default();
        let mut number = 0;
        let mut enter = |ip: &str| {
            number += 1;
            crowd.enter(ConnectionId::new_unchecked(number), ip.parse().unwrap()).is_ok()
        };
        for last in 1..=MOST {
            assert!(enter("192.0.2.1") && enter(&format!("2001:db8::{last}")));
        }
        assert!(!enter("192.0.2.1") && !enter("::ffff:192.0.2.1") && !enter("2001:db8::ffff"));
        assert!(enter("192.0.2.2") && enter("2001:db8:0:1::1"));
        crowd.connections.remove(&ConnectionId::new_unchecked(1));
        assert!(crowd.enter(ConnectionId::new_unchecked(99), "192.0.2.1".parse().unwrap()).is_ok());
    }
}
