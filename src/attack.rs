//! Attacks from inside, for a test build only (feature `attack`): what could a node do that somebody has taken over?
//!
//! PID 1 starts the runner as it starts a node. The runner starts one process for each attack, which gives up its
//! rights as a node does and then tries; the runner says what came of it: `attack <name> <ok|errno …|signal …>`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::Command;

use nix::sys::ptrace;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use socket2::{Domain, Protocol, Socket, Type};

use crate::confine::{self, Needs};

/// What an attack is given.
#[derive(Debug, Clone, Copy)]
struct Aim<'a> {
    /// Process of the same user: the node.
    victim: i32,
    /// The node's folder.
    data: &'a Path,
}

type Attack = (&'static str, fn(Aim<'_>) -> io::Result<()>);

/// Every attack, and three honest deeds that must work.
const ATTACKS: [Attack; 27] = [
    ("dev-mem", |_| File::open("/dev/mem").map(drop)),
    ("card", |_| File::open("/dev/vda").map(drop)),
    ("memory-of-pid-1", |_| File::open("/proc/1/mem").map(drop)),
    ("memory-of-node", |aim| File::open(format!("/proc/{}/mem", aim.victim)).map(drop)),
    ("ptrace", |aim| Ok(ptrace::attach(Pid::from_raw(aim.victim))?)),
    ("process-vm-readv", |aim| {
        let mut byte = [0];
        let remote = RemoteIoVec { base: 0x1_0000, len: 1 };
        process_vm_readv(Pid::from_raw(aim.victim), &mut [io::IoSliceMut::new(&mut byte)], &[remote])?;
        Ok(())
    }),
    ("kill-node", |aim| Ok(nix::sys::signal::kill(Pid::from_raw(aim.victim), None)?)),
    ("kill-pid-1", |_| Ok(nix::sys::signal::kill(Pid::from_raw(1), nix::sys::signal::SIGTERM)?)),
    ("raw-socket", |_| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).map(drop)),
    ("packet-socket", |_| Socket::new(Domain::PACKET, Type::DGRAM, None).map(drop)),
    ("netlink", |_| Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, None).map(drop)),
    ("udp", |_| UdpSocket::bind("127.0.0.1:0").map(drop)),
    ("connect", |_| TcpStream::connect("127.0.0.1:80").map(drop)),
    ("listen-elsewhere", |_| TcpListener::bind("0.0.0.0:8080").map(drop)),
    ("read-outside", |_| File::open("/data/probe").map(drop)),
    ("read-boot", |_| File::open("/boot/node.toml").map(drop)),
    ("write-outside", |_| fs::write("/run/osmia/attack", "x")),
    ("setuid-bit", |aim| {
        let path = aim.data.join("attack-setuid");
        fs::write(&path, "x")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o4755))
    }),
    ("fork-and-exec", |_| Command::new("/proc/self/exe").arg("--version").status().map(drop)),
    ("exec", |_| Err(Command::new("/proc/self/exe").arg("--version").exec())),
    ("load-module", |_| Ok(rustix::system::finit_module(io::stdin(), c"", 0)?)),
    ("mount", |_| {
        let flags = rustix::mount::MountFlags::empty();
        Ok(rustix::mount::mount("none", "/data", "tmpfs", flags, None)?)
    }),
    ("device-node", |aim| {
        let path = aim.data.join("attack-node");
        Ok(mknodat(CWD, path, FileType::CharacterDevice, Mode::RWXU, rustix::fs::makedev(1, 1))?)
    }),
    ("become-root", |_| Ok(rustix::thread::set_thread_uid(rustix::thread::Uid::ROOT)?)),
    ("honest-file", |aim| {
        fs::write(aim.data.join("attack-honest"), "x")?;
        fs::remove_file(aim.data.join("attack-honest"))
    }),
    ("honest-thread", |_| {
        std::thread::Builder::new().spawn(|| {})?.join().map_err(|_| io::ErrorKind::Other.into())
    }),
    ("many-threads", |_| {
        let (hold, wait) = std::sync::mpsc::channel::<()>();
        let wait = std::sync::Arc::new(std::sync::Mutex::new(wait));
        let mut threads = Vec::new();
        let all = (0..2_000).try_for_each(|_| {
            let wait = wait.clone();
            // Each waits for the lock, the first for the channel.
            threads.push(std::thread::Builder::new().stack_size(16 << 10).spawn(move || {
                let _ = wait.lock().map(|wait| wait.recv());
            })?);
            Ok(())
        });
        drop(hold);
        all
    }),
];

/// Runs every attack against the process `victim`; then uses memory without end.
///
/// # Errors
/// This program cannot be started again, or nobody reads what it says.
pub fn run(victim: i32, data: &Path) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for (name, _) in ATTACKS {
        let status = Command::new("/proc/self/exe")
            .args(["attack", "--victim", &victim.to_string(), "--only", name, "--data"])
            .arg(data)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .status()?;
        let result = match (status.signal(), status.code()) {
            (Some(signal), _) => format!("signal {signal}"),
            (None, Some(0)) => "ok".to_owned(),
            (None, code) => format!("errno {}", code.unwrap_or(-1)),
        };
        writeln!(out, "attack {name} {result}")?;
    }
    writeln!(out, "attack end")?;
    out.flush()?;
    let mut held = Vec::new();
    loop {
        held.push(vec![1_u8; 1 << 20]);
    }
}

/// Tries one attack; gives the number of the error as the process's exit code.
///
/// # Errors
/// The process cannot give up its rights.
pub fn try_one(name: &str, victim: i32, data: &Path) -> anyhow::Result<u8> {
    confine::enter(&Needs { write: Some(data), listen: vec![14_265], ..Needs::default() })?;
    let Some((_, attack)) = ATTACKS.iter().find(|(known, _)| *known == name) else { return Ok(255) };
    Ok(match attack(Aim { victim, data }) {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().and_then(|number| u8::try_from(number).ok()).unwrap_or(254),
    })
}

/// Takes the card away, as somebody does who pulls it.
///
/// # Errors
/// It is gone already.
pub fn pull_card() -> io::Result<()> {
    fs::write("/sys/block/vda/device/../remove", "1")
}

/// Looks at the simulated light for four seconds and says what it saw; then presses the simulated button as its
/// owner would for a factory reset. Once.
pub fn panel() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        std::thread::spawn(|| {
            if let Err(error) = use_panel() {
                tracing::error!(%error, "no panel");
            }
        });
    });
}

fn use_panel() -> io::Result<()> {
    let chips = fs::read_dir("/sys/devices/platform/gpio-sim")?.flatten().map(|entry| entry.path());
    let chip =
        chips.into_iter().find(|path| path.join("sim_gpio0").exists()).ok_or(io::ErrorKind::NotFound)?;
    let pause = |ms| std::thread::sleep(std::time::Duration::from_millis(ms));
    // The light's thread looks for it once a second.
    pause(2_000);
    let mut seen = Vec::new();
    for _ in 0..400 {
        seen.push(fs::read_to_string(chip.join("sim_gpio0/value"))?.trim() == "1");
        pause(10);
    }
    let lit = seen.iter().filter(|on| **on).count() / 4;
    let winks = seen.windows(2).filter(|pair| pair[0] && !pair[1]).count();
    tracing::info!("light lit={lit} winks={winks}");
    let press = |ms| {
        fs::write(chip.join("sim_gpio1/pull"), "pull-down")?;
        pause(ms);
        fs::write(chip.join("sim_gpio1/pull"), "pull-up")
    };
    press(11_000)?;
    pause(1_000);
    press(300)
}
