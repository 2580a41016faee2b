//! The network: ports opened as configured, every Ethernet link brought up, a DHCP lease for each.

use std::collections::{BTreeMap, BTreeSet};
use std::io::PipeWriter;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::config::Config;
use crate::dhcp::Lease;
use crate::firmware::dhcp::{self, Event};
use crate::firmware::firewall::{self, AllowRule, Protocol, Source};
use crate::firmware::link::{self, Address, DefaultRoute, Link};
use crate::firmware::netlink;
use crate::net::lan;

/// Cables are plugged and pulled; links are looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is open: the status page always, REST API and gossip as the configuration says.
pub(super) fn allowed(config: Option<&Config>) -> Vec<AllowRule> {
    let tcp = |port, from| AllowRule { protocol: Protocol::Tcp, port, from, group: None };
    let page = tcp(80, Source::PrivateRanges);
    let rest = config.filter(|config| !config.rest_bind.ip().is_loopback()).map(|config| {
        let from = if config.rest_public { Source::Any } else { Source::PrivateRanges };
        tcp(config.rest_bind.port(), from)
    });
    // Other nodes come from anywhere: what they may do is bounded by the node.
    let peering =
        config.iter().flat_map(|config| &config.peering.bind).filter(|address| !address.ip().is_loopback());
    let ports = peering.map(SocketAddr::port).collect::<BTreeSet<_>>();
    let gossip = ports.into_iter().map(|port| tcp(port, Source::Any));
    let lan_port = config.and_then(|config| config.peering.lan_port(&config.peering.bind));
    let mdns = AllowRule {
        protocol: Protocol::Udp,
        port: lan::PORT,
        from: Source::PrivateRanges,
        group: Some(*lan::GROUP.ip()),
    };
    let auto = config.and_then(|config| config.autopeering.as_ref()).map(|auto| AllowRule {
        protocol: Protocol::Udp,
        port: auto.bind.port(),
        from: Source::Any,
        group: None,
    });
    std::iter::once(page).chain(rest).chain(gossip).chain(lan_port.map(|_| mdns)).chain(auto).collect()
}

/// Replaces the closed firewall by the configured one.
pub(super) fn open_ports(config: Option<&Config>) -> netlink::Result<()> {
    let allowed = allowed(config);
    firewall::apply_firewall(&allowed)?;
    for rule in allowed {
        tracing::info!(port = rule.port, protocol = ?rule.protocol, from = ?rule.from, "port open");
    }
    Ok(())
}

/// Watches the links from a thread of its own; DHCP servers are told `host_name`.
pub(super) fn start(host_name: &str, events: &SyncSender<super::Event>) {
    let context = Context { host_name: host_name.to_owned(), events: events.clone() };
    std::thread::spawn(move || {
        let mut clients: BTreeMap<u32, Client> = BTreeMap::new();
        loop {
            match link::list_links() {
                Ok(links) => {
                    // An adapter that was pulled out is not listed any more.
                    clients.retain(|index, _| links.iter().any(|link| link.index == *index));
                    links.iter().for_each(|link| tend(link, &mut clients, &context));
                }
                Err(error) => tracing::warn!(%error, "links not listed"),
            }
            std::thread::sleep(LOOK_EVERY);
        }
    });
}

/// What every DHCP client needs.
#[derive(Clone)]
struct Context {
    host_name: String,
    events: SyncSender<super::Event>,
}

/// A DHCP client on a link. Dropping the pipe ends it.
struct Client {
    _stop: PipeWriter,
    thread: JoinHandle<()>,
}

/// Brings a link up; starts DHCP when its cable is plugged in, ends it when that is pulled.
fn tend(link: &Link, clients: &mut BTreeMap<u32, Client>, context: &Context) {
    if link.is_loopback() || link.mac.is_none() {
        if link.is_loopback() && !link.is_up() {
            bring_up(link);
        }
        return;
    }
    if !link.is_up() {
        bring_up(link);
    } else if !link.has_carrier() {
        if clients.remove(&link.index).is_some() {
            tracing::info!(link = %link.name, "cable pulled");
        }
    } else if clients.get(&link.index).is_none_or(|client| client.thread.is_finished()) {
        match std::io::pipe() {
            Ok((stop, stopper)) => {
                let index = link.index;
                let (link, context) = (link.clone(), context.clone());
                let thread = std::thread::spawn(move || lease(&link, &stop, &context));
                clients.insert(index, Client { _stop: stopper, thread });
            }
            Err(error) => tracing::warn!(link = %link.name, %error, "no DHCP"),
        }
    }
}

fn bring_up(link: &Link) {
    if let Err(error) = link::set_link_up(link.index) {
        tracing::warn!(link = %link.name, %error, "link not brought up");
    }
}

/// Holds a lease on a link until its cable is pulled.
fn lease(link: &Link, stop: &impl AsFd, context: &Context) {
    // PID 1 may be ending.
    let tell = |lease: Option<Lease>| drop(context.events.send(super::Event::Lease(link.index, lease)));
    let mut held: Option<Lease> = None;
    let ended = dhcp::run(&link.name, &context.host_name, stop.as_fd(), |event| match event {
        Event::Acquired(lease) => {
            let news = held.as_ref().is_none_or(|before| before.address != lease.address);
            if news {
                tracing::info!(link = %link.name, address = %lease.address, prefix = lease.prefix, "address");
                drop_address(link, held.take());
            }
            if let Err(error) = apply(link, &lease) {
                tracing::warn!(link = %link.name, %error, "lease not applied");
            }
            tell(Some(lease.clone()));
            held = Some(lease);
        }
        Event::Lost(loss) => {
            tracing::warn!(link = %link.name, ?loss, "address lost");
            drop_address(link, held.take());
            tell(None);
        }
        Event::Failed(error) => tracing::debug!(link = %link.name, %error, "DHCP message failed"),
    });
    drop_address(link, held);
    tell(None);
    if let Err(error) = ended {
        tracing::warn!(link = %link.name, %error, "DHCP ended");
    }
}

fn apply(link: &Link, lease: &Lease) -> netlink::Result<()> {
    link::add_address(&Address { link: link.index, ip: lease.address, prefix: lease.prefix })?;
    match lease.routers.first() {
        Some(gateway) => link::replace_default_route(DefaultRoute { link: link.index, gateway: *gateway }),
        None => Ok(()),
    }
}

fn drop_address(link: &Link, lease: Option<Lease>) {
    let Some(lease) = lease else { return };
    if let Some(gateway) = lease.routers.first() {
        // Another link may have taken the place over.
        let _ = link::delete_default_route(DefaultRoute { link: link.index, gateway: *gateway });
    }
    let address = Address { link: link.index, ip: lease.address, prefix: lease.prefix };
    if let Err(error) = link::delete_address(&address) {
        tracing::debug!(link = %link.name, %error, "address not removed");
    }
}
