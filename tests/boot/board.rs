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
}

impl Board {
    /// Port of the host that leads to the board's API, as in `cargo image run`.
    const API: u16 = 14_265;

    /// Switches a board on. `kernel_arguments` are added to those on the card.
    pub(crate) fn boot(card: &Card, kernel_arguments: &[&str]) -> Self {
        let file = |name: &str| host::folder().join(name);
        let (console, serial, control) = (file("console.log"), file("serial.sock"), file("control.sock"));
        for old in [&console, &serial, &control] {
            let _ = fs::remove_file(old);
        }
        let socket = |path: &PathBuf| format!("path={},server=on,wait=off", path.display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_mkimage"));
        command.args(["qemu", "--disk"]).arg(&card.path);
        for argument in kernel_arguments {
            command.args(["--append", argument]);
        }
        command
            .args(["--", "-no-reboot"])
            .args(["-netdev", &format!("user,id=user,hostfwd=tcp:127.0.0.1:{}-:14265", Self::API)])
            .args(["-device", "virtio-net-pci,netdev=user,romfile="])
            .args(["-netdev", &format!("tap,id=tap,ifname={},script=no,downscript=no", host::Lan::LINK)])
            .args(["-device", &format!("virtio-net-pci,netdev=tap,romfile=,mac={}", host::MAC)])
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
        Self { qemu: RefCell::new(qemu), console, serial, control }
    }

    pub(crate) fn api(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], Self::API))
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

    fn console(&self) -> String {
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
        let mut serial = UnixStream::connect(&self.serial).unwrap();
        self.control("\"chardev-send-break\",\"arguments\":{\"id\":\"serial\"}");
        serial.write_all(b"f").unwrap();
        // The socket must stay open until the board has read the letter.
        self.console_says("node ended");
    }

    /// One QMP command.
    fn control(&self, command: &str) {
        let mut control = UnixStream::connect(&self.control).unwrap();
        control.set_read_timeout(Some(LIMIT)).unwrap();
        let mut lines = BufReader::new(control.try_clone().unwrap()).lines();
        let mut answer = || lines.next().unwrap().unwrap();
        answer();
        for command in ["\"qmp_capabilities\"", command] {
            writeln!(control, "{{\"execute\":{command}}}").unwrap();
            let answer = answer();
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
