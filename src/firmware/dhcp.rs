//! Runs a [`Client`] on a network interface with blocking system calls.
//!
//! Replies are always read from a packet socket: it works without an address,
//! and it sees frames before the firewall, so no port has to be opened. It is
//! open only while a reply is due; a bound client uses no socket at all.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Instant;

use nix::sys::socket::{LinkAddr, bind};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};

use crate::dhcp::wire::{self, Mac};
use crate::dhcp::{Client, Config, Lease, Loss, Output, Packet};

const ETH_P_IP: u16 = 0x0800;
const ARPHRD_ETHER: u16 = 1;
/// Larger than any frame the filter lets through without jumbo frames.
const FRAME_LEN: usize = 2048;

/// What happened to the interface's lease.
#[derive(Debug)]
pub enum Event {
    /// Apply these settings; sent again on every renewal.
    Acquired(Lease),
    /// Remove the address.
    Lost(Loss),
    /// A message could not be sent or received; the client keeps trying.
    Failed(io::Error),
}

/// Runs a client on `interface`, which must be up, until `stop` is readable.
///
/// # Errors
///
/// If the interface does not exist or is no Ethernet, or waiting fails.
pub fn run(
    interface: &str,
    host_name: &str,
    stop: BorrowedFd,
    mut on_event: impl FnMut(Event),
) -> io::Result<()> {
    let mut link = Link::find(interface)?;
    let config = Config { mac: link.mac, host_name: host_name.to_owned() };
    let mut client = Client::new(config, RandomState::new().hash_one(interface), Instant::now());
    loop {
        while let Some(output) = client.poll(Instant::now()) {
            match output {
                Output::Send(packet) => {
                    if let Err(error) = link.send(&packet) {
                        on_event(Event::Failed(error));
                    }
                }
                Output::Acquired(lease) => on_event(Event::Acquired(lease)),
                Output::Lost(loss) => on_event(Event::Lost(loss)),
            }
        }
        if !client.is_listening() {
            link.close();
        }
        match link.wait(client.next_deadline(), stop)? {
            Wake::Stop => return Ok(()),
            Wake::Deadline => {}
            Wake::Frame => {
                if let Err(error) = link.receive(|payload| client.handle(payload, Instant::now())) {
                    link.close();
                    on_event(Event::Failed(error));
                }
            }
        }
    }
}

/// Why [`Link::wait`] returned.
enum Wake {
    Stop,
    Deadline,
    Frame,
}

/// The interface and the sockets open on it.
struct Link {
    interface: String,
    address: LinkAddr,
    mac: Mac,
    /// Receives every reply and sends broadcasts.
    packet: Option<Socket>,
    /// Sends unicasts, for which the kernel finds the next hop. Never read, but
    /// kept open lest the kernel answers the reply with "port unreachable".
    unicast: Option<Socket>,
}

impl Link {
    fn find(interface: &str) -> io::Result<Self> {
        let mut addresses = nix::ifaddrs::getifaddrs()?.filter(|a| a.interface_name == interface);
        let address = addresses.find_map(|a| a.address?.as_link_addr().copied());
        let address = address.filter(|a| a.hatype() == ARPHRD_ETHER);
        let (address, mac) = address
            .and_then(|address| Some((address, address.addr()?)))
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such Ethernet interface"))?;
        Ok(Self { interface: interface.to_owned(), address, mac, packet: None, unicast: None })
    }

    /// Sends a packet and makes sure that the reply will be seen.
    fn send(&mut self, packet: &Packet) -> io::Result<()> {
        let socket = match self.packet.take() {
            Some(socket) => socket,
            None => open_packet(&self.address)?,
        };
        let mut socket = &*self.packet.insert(socket);
        match packet.server {
            None => socket.write_all(&wire::frame(&packet.payload, self.mac, packet.source)),
            Some(server) => self.send_unicast(packet, server),
        }
    }

    fn send_unicast(&mut self, packet: &Packet, server: Ipv4Addr) -> io::Result<()> {
        self.unicast = None;
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.bind_device(Some(self.interface.as_bytes()))?;
        socket.bind(&SockAddr::from(SocketAddrV4::new(packet.source, wire::CLIENT_PORT)))?;
        let server = SockAddr::from(SocketAddrV4::new(server, wire::SERVER_PORT));
        socket.send_to(&packet.payload, &server)?;
        self.unicast = Some(socket);
        Ok(())
    }

    fn receive(&self, mut on_payload: impl FnMut(&[u8])) -> io::Result<()> {
        let Some(mut socket) = self.packet.as_ref() else { return Ok(()) };
        let mut frame = [0; FRAME_LEN];
        loop {
            match socket.read(&mut frame) {
                Ok(len) => {
                    if let Some(payload) = wire::unframe(&frame[..len]) {
                        on_payload(payload);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn close(&mut self) {
        self.packet = None;
        self.unicast = None;
    }

    fn wait(&self, deadline: Option<Instant>, stop: BorrowedFd) -> io::Result<Wake> {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = vec![PollFd::from_borrowed_fd(stop, PollFlags::IN)];
        fds.extend(self.packet.iter().map(|s| PollFd::from_borrowed_fd(s.as_fd(), PollFlags::IN)));
        match poll(&mut fds, timeout.as_ref()) {
            Err(Errno::INTR) | Ok(0) => Ok(Wake::Deadline),
            Err(error) => Err(error.into()),
            Ok(_) if fds[0].revents().is_empty() => Ok(Wake::Frame),
            Ok(_) => Ok(Wake::Stop),
        }
    }
}

/// Opens a packet socket for DHCP replies on one interface.
fn open_packet(address: &LinkAddr) -> io::Result<Socket> {
    let protocol = Protocol::from(i32::from(ETH_P_IP.to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), Some(protocol))?;
    socket.attach_filter(&reply_filter())?;
    // `getifaddrs` leaves the protocol of the address zero, which keeps the
    // protocol of the socket.
    bind(socket.as_raw_fd(), address)?;
    Ok(socket)
}

/// Classic BPF: unfragmented IPv4 UDP to the client port. The offsets in jumps
/// count from the next instruction.
fn reply_filter() -> [SockFilter; 11] {
    let op = SockFilter::new;
    [
        op(0x28, 0, 0, 12), // load half word: Ethernet type
        op(0x15, 0, 8, ETH_P_IP.into()),
        op(0x30, 0, 0, 23), // load byte: IPv4 protocol
        op(0x15, 0, 6, 17),
        op(0x28, 0, 0, 20), // load half word: fragment offset
        op(0x45, 4, 0, 0x1fff),
        op(0xb1, 0, 0, 14), // index: IPv4 header length
        op(0x48, 0, 0, 16), // load half word: UDP destination port
        op(0x15, 0, 1, wire::CLIENT_PORT.into()),
        op(0x06, 0, 0, 0xffff), // accept
        op(0x06, 0, 0, 0),      // drop
    ]
}
