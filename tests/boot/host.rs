//! The host's side: a network namespace of the test's own, with a local network that the board is on.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::board::Board;

/// Set in the namespace.
const INSIDE: &str = "OSMIA_BOOT_TEST_INSIDE";

/// Hardware address of the board's link to [`Lan`].
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
    let mut command = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let error = command
        .args(["--net", "--kill-child"])
        .arg(std::env::current_exe().unwrap())
        .env(INSIDE, "1")
        // Built outside, as its sources may have to be fetched.
        .env("OSMIA_BOOT_TEST_IMAGE", crate::card::build_image())
        .exec();
    panic!("unshare: {error}");
}

fn install_packages() {
    let needed =
        [("dnsmasq", "dnsmasq-base"), ("ip", "iproute2"), ("unshare", "util-linux"), ("e2fsck", "e2fsprogs")];
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
        ip("address add 10.77.0.1/24 dev osmia0");
        ip("link set osmia0 up");
        let leases = folder().join("leases");
        let _ = fs::remove_file(&leases);
        let dhcp = Command::new("/usr/sbin/dnsmasq")
            .args(["--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--pid-file="])
            .args(["--interface=osmia0", "--bind-interfaces", "--dhcp-range=10.77.0.50,10.77.0.99,2m"])
            .arg(format!("--dhcp-leasefile={}", leases.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { dhcp, leases }
    }

    /// The address that the board got.
    pub(crate) fn address_of_board(&self, board: &Board) -> Ipv4Addr {
        board.wait_for("a lease on the second link", || self.lease().is_some());
        let address = self.lease().unwrap();
        // The server has granted it; the board applies it a moment later.
        board.wait_for("the API on the second link", || {
            let api = SocketAddr::from((address, 14_265));
            std::net::TcpStream::connect_timeout(&api, Duration::from_secs(2)).is_ok()
        });
        address
    }

    fn lease(&self) -> Option<Ipv4Addr> {
        let text = fs::read_to_string(&self.leases).unwrap_or_default();
        let line = text.lines().find(|line| line.contains(MAC))?;
        line.split(' ').nth(2)?.parse().ok()
    }

    pub(crate) fn link_local_of_board(&self) -> IpAddrWithScope {
        // Any socket will do to ask through; /sys shows the network of the namespace outside.
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let scope = rustix::net::netdevice::name_to_index(&socket, Self::LINK).unwrap();
        IpAddrWithScope { address: LINK_LOCAL.into(), scope }
    }

    /// Whether the board asks for an address; the lease of an earlier board is forgotten first.
    pub(crate) fn board_gets_an_address_within(&self, limit: Duration) -> bool {
        let before = fs::metadata(&self.leases).and_then(|about| about.modified()).ok();
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if fs::metadata(&self.leases).and_then(|about| about.modified()).ok() != before {
                return true;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        false
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
