//! A small switch between links: tap devices of this machine and sockets of emulators. It delays frames, loses some, and can
//! be cut in two.

#![expect(unsafe_code, reason = "ioctl(2) takes a number and a pointer that only the kernel can match")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::ioctl::{IntegerSetter, Setter, ioctl};

/// `_IOW('T', 202, int)` (linux/if_tun.h).
const TUNSETIFF: rustix::ioctl::Opcode = 0x4004_54ca;
/// `_IOW('T', 208, unsigned int)`; the number is passed by value.
const TUNSETOFFLOAD: rustix::ioctl::Opcode = 0x4004_54d0;
const IFF_TAP: i16 = 2;
const IFF_NO_PI: i16 = 0x1000;

/// Longest frame: 1500 bytes and the header.
const FRAME_BYTES: usize = 2_048;

/// Frames on their way; more are lost, as on a real wire.
const MOST_FRAMES: usize = 10_000;

/// `struct ifreq` as far as `TUNSETIFF` reads it.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: i16,
    rest: [u8; 22],
}

/// A tap device by that name, made in this network namespace; it may be moved to another one.
fn tap(name: &str) -> File {
    let device = OpenOptions::new().read(true).write(true).open("/dev/net/tun").unwrap();
    let mut request = Request { name: [0; 16], flags: IFF_TAP | IFF_NO_PI, rest: [0; 22] };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    // JUSTIFICATION: neither std nor rustix has TUNSETIFF.
    // SAFETY: the control reads and writes one `struct ifreq`, which has the kernel's layout and outlives the call.
    unsafe { ioctl(&device, Setter::<TUNSETIFF, Request>::new(request)) }.unwrap();
    // An emulator that had the device before leaves its offloads on: the kernel would hand out TCP without checksums.
    // JUSTIFICATION: neither std nor rustix has TUNSETOFFLOAD.
    // SAFETY: the control takes a number and no pointer.
    unsafe { ioctl(&device, IntegerSetter::<TUNSETOFFLOAD>::new_usize(0)) }.unwrap();
    device
}

/// The switch's end of a link.
enum Link {
    Tap(File),
    /// Of qemu's `socket` network: a frame is a datagram.
    Wire(UdpSocket),
}

impl Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tap(device) => device.as_fd(),
            Self::Wire(socket) => socket.as_fd(),
        }
    }

    /// Waits for a frame, but not for long.
    fn receive(&self, frame: &mut [u8]) -> io::Result<usize> {
        let limit = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        if poll(&mut [PollFd::new(&self.as_fd(), PollFlags::IN)], Some(&limit))? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match self {
            Self::Tap(device) => (&*device).read(frame),
            Self::Wire(socket) => socket.recv(frame),
        }
    }

    fn send(&self, frame: &[u8]) {
        // Its other end is down: lost.
        let _ = match self {
            Self::Tap(device) => (&*device).write(frame),
            Self::Wire(socket) => socket.send(frame),
        };
    }
}

#[derive(Default)]
struct State {
    links: Vec<Arc<Link>>,
    /// By the time at which they arrive.
    frames: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    sequence: u64,
    /// Links on one side of a cut.
    apart: BTreeSet<usize>,
    random: u64,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    delay: std::ops::Range<Duration>,
    /// One frame of so many is lost.
    loss: u64,
    ended: AtomicBool,
}

/// See the module. Its links are free again when it is dropped.
pub(crate) struct Switch {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Switch {
    pub(crate) fn start(delay: std::ops::Range<Duration>, loss: u64) -> Self {
        let state = Mutex::new(State { random: 7, ..State::default() });
        let shared =
            Arc::new(Shared { state, changed: Condvar::new(), delay, loss, ended: AtomicBool::new(false) });
        let sender = shared.clone();
        let threads = Mutex::new(vec![std::thread::spawn(move || sender.deliver())]);
        Self { shared, threads }
    }

    /// Adds a tap device; gives the number of its link.
    pub(crate) fn tap(&self, name: &str) -> usize {
        self.add(Link::Tap(tap(name)))
    }

    /// Adds an emulator, which is to send from port `of` of this machine to the port `to`.
    #[allow(dead_code, reason = "not all tests have emulators")]
    pub(crate) fn wire(&self, of: u16, to: u16) -> usize {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, to)).unwrap();
        socket.connect((Ipv4Addr::LOCALHOST, of)).unwrap();
        self.add(Link::Wire(socket))
    }

    fn add(&self, end: Link) -> usize {
        let reader = Arc::new(end);
        let mut state = self.shared.state.lock().unwrap();
        let link = state.links.len();
        state.links.push(reader.clone());
        drop(state);
        let shared = self.shared.clone();
        self.threads.lock().unwrap().push(std::thread::spawn(move || {
            let mut frame = [0; FRAME_BYTES];
            while !shared.ended.load(Ordering::Relaxed) {
                match reader.receive(&mut frame) {
                    Ok(length) => shared.take(link, &frame[..length]),
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                    // Its other end is down at the moment.
                    Err(_) => std::thread::sleep(Duration::from_millis(50)),
                }
            }
        }));
        link
    }

    #[allow(dead_code, reason = "not all tests cut")]
    /// From now on, these links reach each other alone, and so do the others.
    pub(crate) fn cut(&self, apart: &[usize]) {
        self.shared.state.lock().unwrap().apart = apart.iter().copied().collect();
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
        for thread in self.threads.get_mut().unwrap().drain(..) {
            // A thread that panicked has told why.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// A frame goes to every other link on the same side.
    fn take(&self, from: usize, frame: &[u8]) {
        let mut state = self.state.lock().unwrap();
        for to in 0..state.links.len() {
            let cut = state.apart.contains(&from) != state.apart.contains(&to);
            let random = state.next();
            if to == from || cut || random.is_multiple_of(self.loss) || state.frames.len() >= MOST_FRAMES {
                continue;
            }
            let span = u64::try_from((self.delay.end - self.delay.start).as_micros()).unwrap().max(1);
            let when = Instant::now() + self.delay.start + Duration::from_micros(state.next() % span);
            state.sequence += 1;
            let sequence = state.sequence;
            state.frames.insert((when, sequence), (to, frame.to_vec()));
        }
        self.changed.notify_all();
    }

    fn deliver(&self) {
        let mut state = self.state.lock().unwrap();
        while !self.ended.load(Ordering::Relaxed) {
            let now = Instant::now();
            let wait = match state.frames.first_key_value() {
                Some(((when, _), _)) if *when <= now => {
                    let (_, (to, frame)) = state.frames.pop_first().unwrap();
                    state.links[to].send(&frame);
                    continue;
                }
                Some(((when, _), _)) => *when - now,
                None => Duration::from_secs(1),
            };
            state = self.changed.wait_timeout(state, wait).unwrap().0;
        }
    }
}

impl State {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
