//! The host's side: a network namespace of the test's own, with a local network that the board is on.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::board::Board;

/// Set in the namespace.
const INSIDE: &str = "OSMIA_BOOT_TEST_INSIDE";

/// Hardware address of a Raspberry Pi's link; qemu has its own idea of the first byte.
pub(crate) const PI_MAC: &str = "40:54:00:0a:0b:0d";

/// Hardware address of the `virt` board's link to [`Lan`].
pub(crate) const MAC: &str = "52:54:00:0a:0b:0c";
/// Its IPv6 address follows from that (EUI-64).
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0x00ff, 0xfe0a, 0x0b0c);

/// Folder for everything the test writes.
pub(crate) fn folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/osmia/boot-test");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Runs a program to its end; a failure ends the test with what it printed.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}

/// Starts this program again in a network namespace of its own; comes back only inside it. What needs the
/// internet is done before.
pub(crate) fn enter_namespace() {
    if std::env::var_os(INSIDE).is_some() {
        run(Command::new("ip").args(["link", "set", "lo", "up"]));
        return;
    }
    crate::client::install();
    install_packages();
    run(Command::new(env!("CARGO_BIN_EXE_mkimage"))
        .args(["emulator", "--machine", "raspi4b"])
        .current_dir(env!("CARGO_MANIFEST_DIR")));
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let error = command
        // With its own process ids, nothing that it started outlives it.
        .args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe().unwrap())
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        // Built outside, as its sources may have to be fetched.
        .env("OSMIA_BOOT_TEST_IMAGE", crate::card::build_image())
        .env("OSMIA_BOOT_TEST_PI_IMAGE", crate::card::build_pi_image())
        .env("OSMIA_BOOT_TEST_ATTACK_IMAGE", crate::card::build_attack_image())
        .exec();
    panic!("unshare: {error}");
}

fn install_packages() {
    let needed = [
        ("dnsmasq", "dnsmasq-base"),
        ("ip", "iproute2"),
        ("unshare", "util-linux"),
        ("e2fsck", "e2fsprogs"),
        ("fsck.vfat", "dosfstools"),
    ];
    let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let present = |program: &str| folders.iter().any(|folder| PathBuf::from(folder).join(program).exists());
    let missing = needed.iter().filter(|(program, _)| !present(program)).map(|(_, package)| *package);
    let missing = missing.collect::<Vec<_>>();
    if missing.is_empty() {
        return;
    }
    println!("installing Debian packages: {}", missing.join(" "));
    run(Command::new("apt-get").args(["install", "-y", "--no-install-recommends"]).args(missing));
}

/// Addresses of the host in [`Lan`], each with a time server.
const TIME_SERVERS: [Ipv4Addr; 3] =
    [Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 2), Ipv4Addr::new(10, 77, 0, 3)];

/// Networks that are not private, by IPv6; a router announces both, as the board has another way out.
const WIDE_NETWORKS: [u16; 2] = [0x77, 0x78];

/// Addresses of the host: two in the first of these, one in the second.
pub(crate) const WIDE: [Ipv6Addr; 3] =
    [wide(WIDE_NETWORKS[0], 1), wide(WIDE_NETWORKS[0], 2), wide(WIDE_NETWORKS[1], 1)];

const fn wide(network: u16, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, network, 0, 0, 0, 0, host)
}

/// Two of these, to be two clients.
pub(crate) const SOURCES: [Ipv4Addr; 2] = [TIME_SERVERS[0], TIME_SERVERS[1]];

/// Answers SNTP (RFC 4330) with the host's time, from a thread of its own.
fn serve_time(address: Ipv4Addr) {
    let socket = UdpSocket::bind((address, 123)).unwrap();
    std::thread::spawn(move || {
        let mut question = [0; 64];
        while let Ok((length, client)) = socket.recv_from(&mut question) {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            let seconds = u32::try_from(now.as_secs() + 2_208_988_800).unwrap();
            let mut answer = [0; 48];
            // Version 4, server; stratum 1.
            (answer[0], answer[1]) = (0x24, 1);
            answer[24..32].copy_from_slice(&question[40..48]);
            for at in [32, 40] {
                answer[at..at + 4].copy_from_slice(&seconds.to_be_bytes());
                let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
                answer[at + 4..at + 8].copy_from_slice(&u32::try_from(fraction).unwrap().to_be_bytes());
            }
            if length == 48 {
                let _ = socket.send_to(&answer, client);
            }
        }
    });
}

/// A network with a DHCP server, 10.77.0.0/24.
pub(crate) struct Lan {
    dhcp: Child,
    leases: PathBuf,
}

impl Lan {
    /// Name of the link on the host.
    pub(crate) const LINK: &'static str = "osmia0";

    pub(crate) fn start() -> Self {
        let ip = |arguments: &str| run(Command::new("ip").args(arguments.split(' ')));
        ip("tuntap add osmia0 mode tap");
        for server in TIME_SERVERS {
            ip(&format!("address add {server}/24 dev osmia0"));
            serve_time(server);
        }
        for address in WIDE {
            ip(&format!("address add {address}/64 dev osmia0 nodad"));
        }
        ip("link set osmia0 up");
        let leases = folder().join("leases");
        let _ = fs::remove_file(&leases);
        let dhcp = Command::new("/usr/sbin/dnsmasq")
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file="])
            .args(["--no-resolv", "--no-hosts"])
            .arg(format!("--address=/{}/{}", crate::web::NAME, SOURCES[0]))
            .args(["--interface=osmia0", "--bind-interfaces", "--dhcp-range=10.77.0.50,10.77.0.99,2m"])
            .arg("--enable-ra")
            .args(WIDE_NETWORKS.map(|network| format!("--dhcp-range={},ra-only", wide(network, 0))))
            .arg(format!(
                "--dhcp-option=option:ntp-server,{}",
                TIME_SERVERS.map(|one| one.to_string()).join(",")
            ))
            .arg(format!("--dhcp-leasefile={}", leases.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { dhcp, leases }
    }

    /// Forgets what earlier boards got.
    pub(crate) fn forget(&self) {
        // The server keeps its own list; the file is only what this test reads.
        let _ = fs::write(&self.leases, "");
    }

    /// The address that the board got.
    pub(crate) fn lease_of_board(&self, board: &Board) -> Ipv4Addr {
        board.wait_for("a lease", || self.lease(board.mac).is_some());
        self.lease(board.mac).unwrap()
    }

    /// The same, once its API answers there.
    pub(crate) fn address_of_board(&self, board: &Board) -> Ipv4Addr {
        let address = self.lease_of_board(board);
        // The server has granted it; the board applies it a moment later.
        board.wait_for("the API on the second link", || {
            let api = SocketAddr::from((address, 14_265));
            std::net::TcpStream::connect_timeout(&api, Duration::from_secs(2)).is_ok()
        });
        address
    }

    fn lease(&self, mac: &str) -> Option<Ipv4Addr> {
        let text = fs::read_to_string(&self.leases).unwrap_or_default();
        let line = text.lines().find(|line| line.contains(mac))?;
        line.split(' ').nth(2)?.parse().ok()
    }

    /// The address that the board makes itself in the first of [`WIDE_NETWORKS`], once it has.
    pub(crate) fn wide_address_of_board(board: &Board) -> Ipv6Addr {
        let (network, host) = (WIDE[0].segments(), LINK_LOCAL.segments());
        let segments: [u16; 8] = std::array::from_fn(|at| if at < 4 { network[at] } else { host[at] });
        let address = Ipv6Addr::from(segments);
        board.wait_for("its address by IPv6", || {
            std::net::TcpStream::connect_timeout(&(address, 15_600).into(), Duration::from_secs(2)).is_ok()
        });
        address
    }

    pub(crate) fn link_local_of_board(&self) -> IpAddrWithScope {
        // Any socket will do to ask through; /sys shows the network of the namespace outside.
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let scope = rustix::net::netdevice::name_to_index(&socket, Self::LINK).unwrap();
        IpAddrWithScope { address: LINK_LOCAL.into(), scope }
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        let _ = self.dhcp.kill();
        let _ = self.dhcp.wait();
    }
}

/// An address, for IPv6 with the link it is on.
#[derive(Clone, Copy)]
pub(crate) struct IpAddrWithScope {
    address: IpAddr,
    scope: u32,
}

impl From<Ipv4Addr> for IpAddrWithScope {
    fn from(address: Ipv4Addr) -> Self {
        Self { address: address.into(), scope: 0 }
    }
}

impl IpAddrWithScope {
    pub(crate) fn port(self, port: u16) -> SocketAddr {
        match self.address {
            IpAddr::V4(address) => (address, port).into(),
            IpAddr::V6(address) => SocketAddrV6::new(address, port, 0, self.scope).into(),
        }
    }
}
