//! A running board: qemu on a card, its console, its power button and its plug.

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::card::Card;
use crate::{client, host};

/// Emulation varies threefold, and the machine may be busy: what has not happened by then never will.
const LIMIT: Duration = Duration::from_secs(600);

pub(crate) struct Board {
    qemu: RefCell<Child>,
    console: PathBuf,
    serial: PathBuf,
    control: PathBuf,
    /// Of its link to the test's network.
    pub(crate) mac: &'static str,
    /// Port of the host that leads to its API.
    api: u16,
}

impl Board {
    /// Port of the host that leads to the board's API, as in `cargo image run`.
    pub(crate) const API: u16 = 14_265;

    /// Switches the `virt` board on. `kernel_arguments` are added to those on the card.
    pub(crate) fn boot(card: &Card, kernel_arguments: &[&str]) -> Self {
        let network = [
            format!("-netdev {}", Self::user_network(Self::API)),
            "-device virtio-net-pci,netdev=user,romfile=".to_owned(),
            format!("-device virtio-net-pci,netdev=tap,romfile=,mac={}", host::MAC),
        ];
        Self::start("virt", card, kernel_arguments, &network)
    }

    /// Switches a `virt` board on that is on no network but that of `cargo image run`, its API at that port.
    pub(crate) fn boot_apart(name: &str, card: &Card, api: u16) -> Self {
        let network = ["-device virtio-net-pci,netdev=user,romfile=".to_owned()];
        let mut board =
            Self::start_named(name, "virt", card, &[], &Self::user_network(api), &network, host::MAC);
        board.api = api;
        board
    }

    fn user_network(api: u16) -> String {
        format!("user,id=user,hostfwd=tcp:127.0.0.1:{api}-:14265")
    }

    /// Switches one of several `virt` boards on, whose link is a wire: its port, and that of the other end.
    pub(crate) fn boot_on_wire(name: &str, card: &Card, (of, to): (u16, u16), mac: &'static str) -> Self {
        let network = [format!("-device virtio-net-pci,netdev=tap,romfile=,mac={mac}")];
        let link = format!("socket,id=tap,udp=127.0.0.1:{to},localaddr=127.0.0.1:{of}");
        Self::start_named(name, "virt", card, &[], &link, &network, mac)
    }

    /// Switches the `virt` board with a simulated light and button on.
    pub(crate) fn boot_with_panel(card: &Card, kernel_arguments: &[&str]) -> Self {
        let network = [format!("-device virtio-net-pci,netdev=tap,romfile=,mac={}", host::MAC)];
        Self::start("virt --panel", card, kernel_arguments, &network)
    }

    /// Switches a Raspberry Pi on, with a network adapter on USB.
    pub(crate) fn boot_pi(machine: &str, card: &Card) -> Self {
        let mut devices = vec![format!("-device usb-net,netdev=tap,mac={}", host::PI_MAC)];
        if machine == "raspi3b" {
            devices.push("-device ssd0303,bus=i2c-bus.1,address=0x3c,id=oled".to_owned());
        }
        Self::start(machine, card, &[], &devices)
    }

    /// Whether the emulated display shows these two lines, as far as it can: it has the dots of columns 36 to 127 and
    /// rows 0 to 15, four times as large.
    pub(crate) fn display_shows(&self, lines: [&str; 2]) -> bool {
        const SEEN: std::ops::Range<usize> = 36..128;
        let path = host::folder().join("display.ppm");
        let _ = fs::remove_file(&path);
        self.control(&format!(
            "\"screendump\",\"arguments\":{{\"filename\":\"{}\",\"device\":\"oled\"}}",
            path.display()
        ));
        let header = b"P6\n384 64\n255\n";
        let picture = fs::read(&path).unwrap_or_default();
        if !picture.starts_with(header) || picture.len() != header.len() + 384 * 64 * 3 {
            return false;
        }
        let lit = |x: usize, y: usize| picture[header.len() + 3 * (384 * (4 * y + 2) + 4 * x + 2)] > 127;
        lines.iter().enumerate().all(|(page, line)| {
            let expected = &osmia::hardware::display::dots(line)[1..];
            SEEN.clone().zip(0..).take(92).all(|(column, x)| {
                (0..8).all(|row| lit(x, 8 * page + row) == (expected[column] >> row & 1 == 1))
            })
        })
    }

    fn start(machine: &str, card: &Card, kernel_arguments: &[&str], network: &[String]) -> Self {
        let link = format!("tap,id=tap,ifname={},script=no,downscript=no", host::Lan::LINK);
        let mac = if machine.starts_with("virt") { host::MAC } else { host::PI_MAC };
        Self::start_named("", machine, card, kernel_arguments, &link, network, mac)
    }

    fn start_named(
        name: &str,
        machine: &str,
        card: &Card,
        kernel_arguments: &[&str],
        link: &str,
        network: &[String],
        mac: &'static str,
    ) -> Self {
        let file = |end: &str| host::folder().join(format!("{name}{end}"));
        let (console, serial, control) = (file("console.log"), file("serial.sock"), file("control.sock"));
        for old in [&console, &serial, &control] {
            let _ = fs::remove_file(old);
        }
        let socket = |path: &PathBuf| format!("path={},server=on,wait=off", path.display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_mkimage"));
        command.args(["qemu", "--machine"]).args(machine.split(' ')).arg("--disk").arg(&card.path);
        for argument in kernel_arguments {
            command.args(["--append", argument]);
        }
        command
            .args(["--", "-no-reboot"])
            .args(["-netdev", link])
            .args(network.iter().flat_map(|option| option.split(' ')))
            .args([
                "-chardev",
                &format!("socket,id=serial,{},logfile={}", socket(&serial), console.display()),
            ])
            .args(["-serial", "chardev:serial"])
            .args(["-chardev", &format!("socket,id=control,{}", socket(&control))])
            .args(["-mon", "chardev=control,mode=control"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null());
        let qemu = command.spawn().unwrap();
        Self { qemu: RefCell::new(qemu), console, serial, control, mac, api: Self::API }
    }

    pub(crate) fn api(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.api))
    }

    /// Waits until `happened`; shows the console when it does not.
    pub(crate) fn wait_for(&self, what: &str, happened: impl Fn() -> bool) {
        let started = Instant::now();
        while !happened() {
            let ended = self.has_ended() && !happened();
            if ended || started.elapsed() > LIMIT {
                let why = if ended { "the board ended" } else { "time is up" };
                panic!("{why} while waiting for {what}; its console:\n{}", self.console());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub(crate) fn wait_healthy(&self) {
        self.wait_for("a healthy API", || client::is_healthy(self.api()));
    }

    pub(crate) fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.console).unwrap_or_default()).into_owned()
    }

    pub(crate) fn console_has(&self, text: &str) -> bool {
        self.console().contains(text)
    }

    pub(crate) fn console_says(&self, text: &str) {
        self.wait_for(&format!("the console to say {text:?}"), || self.console_has(text));
    }

    /// As the node itself says with its newest milestone.
    pub(crate) fn node_memory_mib(&self) -> u32 {
        let console = self.console();
        let number = console.rsplit("memory_mib=").next().unwrap_or_default();
        number.split_whitespace().next().unwrap_or_default().parse().unwrap()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.qemu.borrow_mut().try_wait().unwrap().is_some()
    }

    /// SIGKILL: what the board had not written to its card is gone.
    pub(crate) fn pull_plug(&self) {
        self.qemu.borrow_mut().kill().unwrap();
        self.qemu.borrow_mut().wait().unwrap();
    }

    pub(crate) fn press_power_button(&self) {
        self.control("\"system_powerdown\"");
    }

    /// Magic SysRq F: the kernel kills what uses most memory, which is the node.
    pub(crate) fn kill_node(&self) {
        self.magic_key('f');
        self.console_says("node ended");
    }

    /// A break on the serial line and a letter: an order to the kernel.
    pub(crate) fn magic_key(&self, letter: char) {
        let mut serial = UnixStream::connect(&self.serial).unwrap();
        self.control("\"chardev-send-break\",\"arguments\":{\"id\":\"serial\"}");
        serial.write_all(&[u8::try_from(letter).unwrap()]).unwrap();
        // Open until the board has read the letter; and emptied, as qemu waits for whoever is connected.
        let mut output = serial.try_clone().unwrap();
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        self.console_says("sysrq: ");
        serial.shutdown(std::net::Shutdown::Both).unwrap();
    }

    /// From now on the card takes one byte a second.
    pub(crate) fn freeze_disk(&self) {
        self.control(
            "\"block_set_io_throttle\",\"arguments\":{\"device\":\"card\",\"bps\":0,\"bps_rd\":0,\"bps_wr\":1,\
             \"iops\":0,\"iops_rd\":0,\"iops_wr\":0}",
        );
    }

    /// One QMP command.
    fn control(&self, command: &str) {
        let mut control = UnixStream::connect(&self.control).unwrap();
        control.set_read_timeout(Some(LIMIT)).unwrap();
        let mut lines = BufReader::new(control.try_clone().unwrap()).lines();
        let mut line = || lines.next().unwrap().unwrap();
        line();
        for command in ["\"qmp_capabilities\"", command] {
            writeln!(control, "{{\"execute\":{command}}}").unwrap();
            // Events may come in between.
            let answer = std::iter::repeat_with(&mut line).find(|line| !line.contains("\"event\"")).unwrap();
            assert!(!answer.contains("\"error\""), "{command}: {answer}");
        }
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        let _ = self.qemu.get_mut().kill();
        let _ = self.qemu.get_mut().wait();
    }
}
