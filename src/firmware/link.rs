//! Links, IPv4 addresses and the default route, over rtnetlink.

use std::net::{IpAddr, Ipv4Addr};

use netlink_bindings::rt_addr::{self, Ifaddrmsg};
use netlink_bindings::rt_link::{self, IfinfoFlags, Ifinfomsg};
use netlink_bindings::rt_route::{self, Rtmsg};
use netlink_socket2::NetlinkSocket;

use crate::firmware::netlink::{During, NetError, Result};

const AF_INET: u8 = 2;
/// `RT_TABLE_MAIN`
const MAIN_TABLE: u8 = 254;
/// `RTPROT_STATIC`: set by the administrator.
const STATIC_PROTOCOL: u8 = 4;
/// `RT_SCOPE_UNIVERSE`: the destination is beyond a gateway.
const UNIVERSE_SCOPE: u8 = 0;
/// `RT_SCOPE_NOWHERE`: in a deletion, any scope.
const ANY_SCOPE: u8 = 255;
/// `RTN_UNICAST`
const UNICAST: u8 = 1;

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Number in the kernel.
    pub index: u32,
    /// Name; never to be relied on.
    pub name: String,
    /// Hardware address; `None` if there is none, or it is not Ethernet-like.
    pub mac: Option<[u8; 6]>,
    /// `IFF_*` bits.
    pub flags: u32,
}

impl Link {
    /// Whether this is `lo`.
    pub fn is_loopback(&self) -> bool {
        self.flags & IfinfoFlags::Loopback as u32 != 0
    }

    /// Whether the administrator has set it up.
    pub fn is_up(&self) -> bool {
        self.flags & IfinfoFlags::Up as u32 != 0
    }

    /// Whether the physical layer has signal.
    pub fn has_carrier(&self) -> bool {
        self.flags & IfinfoFlags::LowerUp as u32 != 0
    }
}

/// An IPv4 address on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// Index of the link.
    pub link: u32,
    /// The address.
    pub ip: Ipv4Addr,
    /// Length of the subnet's prefix.
    pub prefix: u8,
}

/// A default route of the main table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultRoute {
    /// Index of the link.
    pub link: u32,
    /// Next hop.
    pub gateway: Ipv4Addr,
}

/// All links of the network namespace.
pub fn list_links() -> Result<Vec<Link>> {
    let mut socket = NetlinkSocket::new();
    let request = rt_link::Request::new().op_getlink_dump(&Ifinfomsg::new());
    let mut reply = socket.request(&request).during("asking for links")?;
    let mut links = Vec::new();
    while let Some((header, attributes)) = reply.recv().transpose().during("reading links")? {
        links.push(Link {
            index: header.ifi_index.cast_unsigned(),
            name: attributes.get_ifname().during("reading a link's name")?.to_string_lossy().into_owned(),
            mac: attributes.get_address().ok().and_then(|bytes| bytes.try_into().ok()),
            flags: header.ifi_flags,
        });
    }
    Ok(links)
}

/// Set a link administratively up. Carrier may come later.
pub fn set_link_up(index: u32) -> Result<()> {
    let up = IfinfoFlags::Up as u32;
    let header = Ifinfomsg {
        ifi_index: index.cast_signed(),
        ifi_flags: up,
        ifi_change: up, // only this bit
        ..Default::default()
    };
    let request = rt_link::Request::new().op_setlink_do(&header);
    let mut socket = NetlinkSocket::new();
    socket.request(&request).during("sending link up")?.recv_ack().during("setting a link up")
}

/// IPv4 addresses of one link.
pub fn list_addresses(link: u32) -> Result<Vec<Address>> {
    let header = Ifaddrmsg { ifa_family: AF_INET, ..Default::default() };
    let request = rt_addr::Request::new().op_getaddr_dump(&header);
    let mut socket = NetlinkSocket::new();
    let mut reply = socket.request(&request).during("asking for addresses")?;
    let mut addresses = Vec::new();
    while let Some((header, attributes)) = reply.recv().transpose().during("reading addresses")? {
        // Without strict checking the kernel ignores a link filter in the request.
        if header.ifa_index != link {
            continue;
        }
        if let IpAddr::V4(ip) = attributes.get_local().during("reading an address")? {
            addresses.push(Address { link, ip, prefix: header.ifa_prefixlen });
        }
    }
    Ok(addresses)
}

/// Add an address. If the same address and prefix are there, it is a success;
/// other addresses of the link stay.
pub fn add_address(address: &Address) -> Result<()> {
    let mut request = rt_addr::Request::new()
        .set_change() // create or replace
        .op_newaddr_do(&address_header(address)?);
    let attributes = request.encode().push_local(address.ip.into());
    let attributes = attributes.push_address(address.ip.into());
    // "/31" and "/32" have no broadcast address.
    if address.prefix < 31 {
        let host_bits = u32::MAX >> address.prefix;
        attributes.push_broadcast(Ipv4Addr::from_bits(address.ip.to_bits() | host_bits));
    } else {
        drop(attributes); // ends the mutable borrow of `request`
    }
    let mut socket = NetlinkSocket::new();
    socket.request(&request).during("sending an address")?.recv_ack().during("adding an address")
}

/// Delete an address. Deleting the primary address of a subnet also deletes the
/// secondary ones, unless the `promote_secondaries` sysctl is set.
pub fn delete_address(address: &Address) -> Result<()> {
    let mut request = rt_addr::Request::new().op_deladdr_do(&address_header(address)?);
    // The kernel compares the prefix length only if IFA_ADDRESS is present.
    request.encode().push_local(address.ip.into()).push_address(address.ip.into());
    let mut socket = NetlinkSocket::new();
    socket.request(&request).during("sending an address deletion")?.recv_ack().during("deleting an address")
}

fn address_header(address: &Address) -> Result<Ifaddrmsg> {
    if address.prefix > 32 {
        return Err(NetError::new(format!("IPv4 prefix length {}", address.prefix)));
    }
    Ok(Ifaddrmsg {
        ifa_family: AF_INET,
        ifa_prefixlen: address.prefix,
        ifa_index: address.link,
        ..Default::default()
    })
}

/// Make this the default route, in place of the default route of the same
/// metric that the main table has, whatever its link.
pub fn replace_default_route(route: DefaultRoute) -> Result<()> {
    let header = Rtmsg {
        rtm_family: AF_INET,
        rtm_table: MAIN_TABLE,
        rtm_protocol: STATIC_PROTOCOL,
        rtm_scope: UNIVERSE_SCOPE,
        rtm_type: UNICAST,
        ..Default::default()
    };
    let mut request = rt_route::Request::new().set_change().op_newroute_do(&header);
    request.encode().push_gateway(route.gateway.into()).push_oif(route.link);
    let mut socket = NetlinkSocket::new();
    socket.request(&request).during("sending a default route")?.recv_ack().during("setting the default route")
}

/// Delete a default route.
pub fn delete_default_route(route: DefaultRoute) -> Result<()> {
    let header =
        Rtmsg { rtm_family: AF_INET, rtm_table: MAIN_TABLE, rtm_scope: ANY_SCOPE, ..Default::default() };
    let mut request = rt_route::Request::new().op_delroute_do(&header);
    request.encode().push_gateway(route.gateway.into()).push_oif(route.link);
    let mut socket = NetlinkSocket::new();
    socket
        .request(&request)
        .during("sending a default route deletion")?
        .recv_ack()
        .during("deleting the default route")
}

/// IPv4 default routes of the main table that have a gateway.
pub fn list_default_routes() -> Result<Vec<DefaultRoute>> {
    let header = Rtmsg { rtm_family: AF_INET, ..Default::default() };
    let request = rt_route::Request::new().op_getroute_dump(&header);
    let mut socket = NetlinkSocket::new();
    let mut reply = socket.request(&request).during("asking for routes")?;
    let mut routes = Vec::new();
    while let Some((header, attributes)) = reply.recv().transpose().during("reading routes")? {
        if header.rtm_table != MAIN_TABLE || header.rtm_dst_len != 0 {
            continue;
        }
        if let (Ok(IpAddr::V4(gateway)), Ok(link)) = (attributes.get_gateway(), attributes.get_oif()) {
            routes.push(DefaultRoute { link, gateway });
        }
    }
    Ok(routes)
}
