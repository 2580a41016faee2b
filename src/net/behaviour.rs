//! Streams of one protocol within libp2p: whoever dialled a connection opens the one stream on it; whoever was dialled waits
//! for it (HORNET). A connection without a stream is closed by the swarm when it was idle for long enough.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::PeerId;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
    Stream, StreamProtocol, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};

/// HORNET: > a stream is open within 4 s
const OPEN_WITHIN: Duration = Duration::from_secs(4);

/// Who opens the one stream of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opens {
    /// Whoever dialled it.
    Dialler,
    /// Not this node.
    Never,
}

/// What became of a stream.
#[derive(Debug)]
pub(super) enum Event {
    /// It is open.
    Open {
        /// The bytes.
        stream: Stream,
        /// This node opened it.
        opened: bool,
    },
    /// The other side does not speak this network's protocol, or not in time.
    Failed,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Behaviour {
    protocol: StreamProtocol,
    opens: Opens,
    events: VecDeque<(PeerId, ConnectionId, Event)>,
}

impl Behaviour {
    /// For `/iota-gossip/<network id>/1.0.0`, or another one.
    pub(super) fn new(protocol: StreamProtocol, opens: Opens) -> Self {
        Self { protocol, opens, events: VecDeque::new() }
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = (PeerId, ConnectionId, Event);

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler { protocol: self.protocol.clone(), open: false, events: VecDeque::new() })
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let open = self.opens == Opens::Dialler;
        Ok(Handler { protocol: self.protocol.clone(), open, events: VecDeque::new() })
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.events.push_back((peer, connection, event));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        match self.events.pop_front() {
            Some(event) => Poll::Ready(ToSwarm::GenerateEvent(event)),
            // The swarm polls again after each event of a handler.
            None => Poll::Pending,
        }
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Handler {
    protocol: StreamProtocol,
    /// A stream is to be opened.
    open: bool,
    events: VecDeque<Event>,
}

impl Handler {
    fn upgrade(&self) -> SubstreamProtocol<ReadyUpgrade<StreamProtocol>> {
        SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), ()).with_timeout(OPEN_WITHIN)
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Event;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        self.upgrade()
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
        if std::mem::take(&mut self.open) {
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                protocol: self.upgrade(),
            });
        }
        match self.events.pop_front() {
            Some(event) => Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event)),
            None => Poll::Pending,
        }
    }

    fn on_behaviour_event(&mut self, event: Self::FromBehaviour) {
        match event {}
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "the enum is not exhaustive: nothing else is of interest"
    )]
    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: stream, .. }) => {
                self.events.push_back(Event::Open { stream, opened: false });
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: stream, ..
            }) => {
                self.events.push_back(Event::Open { stream, opened: true });
            }
            ConnectionEvent::DialUpgradeError(_) => self.events.push_back(Event::Failed),
            _ => {}
        }
    }
}
