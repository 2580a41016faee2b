//! A port scan: every TCP port, by thousands of unfinished connections at a time.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Socket, Type};

use crate::host::IpAddrWithScope;

/// Connections under way at once; also the number of file descriptors needed.
const WINDOW: usize = 6_000;

/// Connections begun in one turn of a few milliseconds: more than a queue on the way holds would be lost.
const BURST: usize = 32;

/// A first packet that is lost is sent again after one second and after three.
const PATIENCE: Duration = Duration::from_millis(3_500);

/// What the ports answered; those that did not are in neither list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) open: Vec<u16>,
    pub(crate) refused: Vec<u16>,
}

/// Tries all 65,535 ports.
pub(crate) fn tcp(target: IpAddrWithScope) -> Ports {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let wanted = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, wanted).unwrap();
    let mut ports = Ports { open: Vec::new(), refused: Vec::new() };
    let mut left = 1..=u16::MAX;
    let mut waiting = VecDeque::new();
    loop {
        let room = WINDOW.saturating_sub(waiting.len()).min(BURST);
        waiting.extend(left.by_ref().take(room).map(|port| Attempt::start(target, port)));
        if waiting.is_empty() {
            return ports;
        }
        collect(&mut waiting, &mut ports);
    }
}

/// A connection that was begun.
struct Attempt {
    port: u16,
    socket: Socket,
    until: Instant,
}

impl Attempt {
    fn start(target: IpAddrWithScope, port: u16) -> Self {
        let address = target.port(port);
        let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None).unwrap();
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
            Err(error) => panic!("port {port}: {error}"),
        }
        Self { port, socket, until: Instant::now() + PATIENCE }
    }
}

/// Takes the answers that came within a few milliseconds, and gives up on attempts that are too old.
fn collect(waiting: &mut VecDeque<Attempt>, ports: &mut Ports) {
    let mut fds =
        waiting.iter().map(|attempt| PollFd::new(&attempt.socket, PollFlags::OUT)).collect::<Vec<_>>();
    let turn = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
    poll(&mut fds, Some(&turn)).unwrap();
    let answered = fds.iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<_>>();
    drop(fds);
    let now = Instant::now();
    let mut answered = answered.into_iter();
    waiting.retain(|attempt| {
        if !answered.next().unwrap() {
            return attempt.until > now;
        }
        match attempt.socket.take_error().unwrap() {
            None => ports.open.push(attempt.port),
            Some(_) => ports.refused.push(attempt.port),
        }
        false
    });
}

/// Opens connections to one port at once, from one address; gives those that came about, held.
pub(crate) fn connections(from: IpAddr, to: SocketAddr, count: usize) -> Vec<Socket> {
    let open = move || {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(from, 0).into()).unwrap();
        socket.connect_timeout(&to.into(), PATIENCE).ok().map(|()| socket)
    };
    let attempts = (0..count).map(|_| std::thread::spawn(open)).collect::<Vec<_>>();
    attempts.into_iter().filter_map(|attempt| attempt.join().unwrap()).collect()
}

/// Datagrams under way at once; also the number of file descriptors needed.
const BATCH: usize = 4_000;

/// Sends a datagram to each of the 65,535 UDP ports; gives those that answered or refused.
pub(crate) fn udp(target: IpAddrWithScope) -> Vec<u16> {
    let ports = (1..=u16::MAX).collect::<Vec<_>>();
    let mut answered = Vec::new();
    for batch in ports.chunks(BATCH) {
        let open = |port: &u16| {
            let address = target.port(*port);
            let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking(), None).unwrap();
            socket.connect(&address.into()).unwrap();
            socket
        };
        let sockets = batch.iter().map(open).collect::<Vec<_>>();
        for burst in sockets.chunks(BURST) {
            for socket in burst {
                // Refused by an answer to an earlier one, which shows below.
                let _ = socket.send(b"?");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(500));
        let heard = |socket: &Socket| {
            let mut byte = [std::mem::MaybeUninit::<u8>::uninit()];
            socket.take_error().unwrap().is_some() || socket.recv(&mut byte).is_ok()
        };
        answered
            .extend(batch.iter().zip(&sockets).filter(|(_, socket)| heard(socket)).map(|(port, _)| *port));
    }
    answered
}
