//! Emulated boards: qemu on a card, as a tool of tests and for people.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::machine::Machine;
use crate::{dtb, host, plan, progress, rom};

/// Ports of the host that lead into the emulated board, by what they are for.
const FORWARDED: [(&str, u16); 3] = [("REST API", 14_265), ("gossip", 15_600), ("dashboard", 8_081)];

/// Size of the emulated card: the data partition grows into it.
const CARD_BYTES: u64 = 4 << 30;

/// Emulation is slow, and the host may be busy with something else.
const READY_WITHIN: Duration = Duration::from_secs(300);

/// The command that boots `card`, with more kernel arguments than those on it; `panel` adds simulated light and button.
fn command(machine: Machine, panel: bool, card: &Path, append: &[String]) -> anyhow::Result<Command> {
    let started = rom::start(card, machine.section(), machine.device_tree())?;
    let folder = card.with_extension("rom");
    fs::create_dir_all(&folder)?;
    let (kernel, initrd) = (folder.join("kernel"), folder.join("initrd"));
    fs::write(&kernel, &started.kernel)?;
    fs::write(&initrd, &started.initrd)?;
    progress::say(&format!("booting slot {:?}", started.slot));
    let cmdline = std::iter::once(machine.arguments(&started.cmdline)).chain(append.iter().cloned());
    let mut command = Command::new(machine.qemu(false)?);
    command
        .args(["-display", "none", "-monitor", "none", "-parallel", "none", "-action", "watchdog=reset"])
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(initrd)
        .args(["-append", &cmdline.collect::<Vec<_>>().join(" ")])
        .args(machine.options(card));
    let path = folder.join("device-tree");
    let tree = match (started.device_tree, panel) {
        (Some(tree), false) => machine.adapted(tree)?,
        (None, false) => return Ok(command),
        (None, true) => {
            let mut dump = Command::new(machine.qemu(false)?);
            let dump = dump.args(machine.options(card)).args(["-nic", "none", "-machine"]);
            host::run_quietly(dump.arg(format!("dumpdtb={}", path.display())))?;
            dtb::with_panel(&fs::read(&path)?)?
        }
        (Some(_), true) => bail!("--panel: for the virt machine only"),
    };
    fs::write(&path, tree)?;
    command.arg("-dtb").arg(path);
    Ok(command)
}

/// Becomes qemu: whoever started this program holds qemu's process.
pub(crate) fn replace_process(
    machine: Machine,
    panel: bool,
    card: &Path,
    append: &[String],
    options: &[String],
) -> anyhow::Result<()> {
    let error = command(machine, panel, card, append)?.args(options).exec();
    Err(error).context("starting qemu")
}

/// Fails when a port that leads into the board is taken.
pub(crate) fn check_ports() -> anyhow::Result<()> {
    for (what, port) in FORWARDED {
        if TcpStream::connect_timeout(&local(port), Duration::from_millis(200)).is_ok() {
            bail!("port {port} ({what}) of this machine is in use: end what listens there");
        }
    }
    Ok(())
}

/// Boots an image on a card that is kept between runs of the same image, until Ctrl-C.
pub(crate) fn run(image: &Path, fresh: bool, until_ready: bool) -> anyhow::Result<()> {
    let card = card_for(image, fresh)?;
    let control = plan::folder()?.join("qemu.sock");
    let _ = fs::remove_file(&control);
    let forwards = FORWARDED.map(|(_, port)| format!(",hostfwd=tcp:127.0.0.1:{port}-:{port}")).concat();
    let mut qemu = command(Machine::Virt, false, &card, &[])?
        .arg("-netdev")
        .arg(format!("user,id=net{forwards}"))
        .args(["-device", "virtio-net-pci,netdev=net,romfile=", "-serial", "stdio"])
        .arg("-qmp")
        .arg(format!("unix:{},server=on,wait=off", control.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // Ctrl-C is for us, who then ask the board to stop in order.
        .process_group(0)
        .spawn()
        .context("starting qemu")?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone())?;
    }
    show_console(&mut qemu)?;
    let result = watch(&mut qemu, &stop, until_ready);
    power_off(&mut qemu, &control)?;
    result
}

/// Prints what the board prints, from a thread of its own.
fn show_console(qemu: &mut Child) -> anyhow::Result<()> {
    let console = qemu.stdout.take().context("qemu has no console")?;
    std::thread::spawn(move || {
        for line in BufReader::new(console).lines().map_while(Result::ok) {
            progress::say(&format!("  | {}", line.trim_end()));
        }
    });
    Ok(())
}

fn watch(qemu: &mut Child, stop: &AtomicBool, until_ready: bool) -> anyhow::Result<()> {
    let started = Instant::now();
    let mut ready = false;
    while !stop.load(Ordering::Relaxed) {
        if let Some(status) = qemu.try_wait()? {
            if ready {
                return Ok(());
            }
            bail!("qemu ended: {status}");
        }
        if !ready && info().is_ok() {
            ready = true;
            show_ready(started.elapsed());
            if until_ready {
                return Ok(());
            }
        }
        if !ready && started.elapsed() > READY_WITHIN {
            bail!("no answer within {} s; the lines above tell how far it came", READY_WITHIN.as_secs());
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    Ok(())
}

fn show_ready(after: Duration) {
    progress::say(&format!("\nready after {:.1} s. Point a client at it:", after.as_secs_f32()));
    progress::say("  curl http://127.0.0.1:14265/api/core/v2/info");
    progress::say("  iota-sdk: ClientOptions(nodes=[\"http://127.0.0.1:14265\"])");
    progress::say("Ctrl-C stops the board in order; its card is kept for the next run.\n");
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// One request to the info route; any answer 200 will do.
fn info() -> anyhow::Result<()> {
    let mut stream = TcpStream::connect_timeout(&local(FORWARDED[0].1), Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /api/core/v2/info HTTP/1.1\r\nHost: osmia\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { bail!("{answer}") }
}

/// Presses the power button and waits for the end; pulls the plug when that takes too long.
fn power_off(qemu: &mut Child, control: &Path) -> anyhow::Result<()> {
    if qemu.try_wait()?.is_none() {
        progress::say("stopping the board");
        if let Err(error) = press_power_button(control) {
            progress::say(&format!("the power button does not work: {error:#}"));
        }
        let deadline = Instant::now() + Duration::from_secs(90);
        while qemu.try_wait()?.is_none() {
            if Instant::now() > deadline {
                progress::say("it does not stop: pulling the plug");
                qemu.kill()?;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(())
}

/// QMP: a greeting, then one line of answer to each command.
fn press_power_button(control: &Path) -> anyhow::Result<()> {
    let mut control = UnixStream::connect(control)?;
    control.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut answers = BufReader::new(control.try_clone()?).lines();
    let mut answer = || answers.next().context("no answer")?.context("no answer");
    answer()?;
    for command in ["qmp_capabilities", "system_powerdown"] {
        writeln!(control, "{{\"execute\":\"{command}\"}}")?;
        answer()?;
    }
    Ok(())
}

/// A card with the image on it: the one of the last run when the image is the same.
fn card_for(image: &Path, fresh: bool) -> anyhow::Result<PathBuf> {
    let card = image.with_extension("card");
    let origin = image.with_extension("card-origin");
    let stamp = {
        let about = fs::metadata(image)?;
        format!("{} {:?}", about.len(), osmia::protocol::blake2b_256(&fs::read(image)?))
    };
    let same = fs::read_to_string(&origin).is_ok_and(|text| text == stamp) && card.exists();
    if same && !fresh {
        progress::say("using the card of the last run (--fresh for a new one)");
        return Ok(card);
    }
    let _ = fs::remove_file(&origin);
    fs::copy(image, &card)?;
    OpenOptions::new().write(true).open(&card)?.set_len(CARD_BYTES)?;
    File::create(&origin)?.write_all(stamp.as_bytes())?;
    Ok(card)
}
