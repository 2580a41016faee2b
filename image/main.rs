//! Image builder and emulator front end, on the host: `cargo image build`, `cargo image run`.
//!
//! The same sources and packages give the same bytes. Nothing here is part of the device's binary.

mod disk;
mod drivers;
mod dtb;
mod fat;
mod fetch;
mod firmware;
mod host;
mod initrd;
mod kernel;
mod machine;
mod plan;
mod progress;
mod qemu;
mod release;
mod rom;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo image", about = "Builds flashable Osmia images and boots them in an emulator")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write a flashable image
    Build(Build),
    /// Build the emulated board's image, boot it, and show where to point a client
    Run(Run),
    /// Boot an image with qemu's own options, and nothing else around it
    Qemu(Qemu),
    /// Say which qemu has a machine; downloads one where the host's own is too old
    Emulator(Emulator),
}

/// What goes into an image.
#[derive(Args)]
struct Build {
    /// Board: a file in boards/
    #[arg(long, default_value = "qemu-virt")]
    board: String,
    /// Configuration for the card's boot partition instead of image/node.toml
    #[arg(long)]
    config: Option<PathBuf>,
    /// Where to write the image
    #[arg(long)]
    out: Option<PathBuf>,
    /// Also write all that is published: compressed image, block map, Imager entry, checksums
    #[arg(long)]
    compress: bool,
    /// Where the compressed image will be published, for the Imager's entry; this machine's own file without
    #[arg(long)]
    url_base: Option<String>,
    /// With a firmware that attacks itself from inside, for tests
    #[arg(long, hide = true)]
    attack: bool,
    /// Download and install nothing: fail and say what is missing
    #[arg(long)]
    offline: bool,
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    build: Build,
    /// Start with a fresh card although the image is the same as at the last run
    #[arg(long)]
    fresh: bool,
    /// End as soon as the API answers
    #[arg(long)]
    until_ready: bool,
}

#[derive(Args)]
struct Qemu {
    /// Card image; written to
    #[arg(long)]
    disk: PathBuf,
    /// Which board to be
    #[arg(long, value_enum, default_value = "virt")]
    machine: machine::Machine,
    /// With a simulated activity light and button
    #[arg(long)]
    panel: bool,
    /// Kernel arguments added to those on the card
    #[arg(long)]
    append: Vec<String>,
    /// More options for qemu
    #[arg(last = true)]
    options: Vec<String>,
}

#[derive(Args)]
struct Emulator {
    /// Which board it has to be able to be
    #[arg(long, value_enum, default_value = "virt")]
    machine: machine::Machine,
    /// Download nothing: fail and say what is missing
    #[arg(long)]
    offline: bool,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Build(arguments) => build(&arguments).map(drop),
        Command::Run(arguments) => qemu::check_ports()
            .and_then(|()| build(&arguments.build))
            .and_then(|image| qemu::run(&image, arguments.fresh, arguments.until_ready)),
        Command::Qemu(arguments) => qemu::replace_process(
            arguments.machine,
            arguments.panel,
            &arguments.disk,
            &arguments.append,
            &arguments.options,
        ),
        Command::Emulator(arguments) => arguments.machine.qemu(arguments.offline).map(|path| {
            progress::say(&path.display().to_string());
        }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Builds an image and gives its path.
fn build(arguments: &Build) -> anyhow::Result<PathBuf> {
    let plan = plan::Plan::new(&arguments.board, arguments.config.as_deref())?;
    let out = match &arguments.out {
        Some(out) => out.clone(),
        None => plan::folder()?.join(format!("osmia-{}.img", plan.name)),
    };
    host::provide(arguments.offline)?;
    let packages = fetch::packages(&plan.packages(), arguments.offline)?;
    let osmia = firmware::build(arguments.attack, arguments.offline)?;
    let kernel = kernel::unpack(&plan.modules(), &packages)?;
    for board in &plan.boards {
        drivers::check(board, &kernel)?;
    }
    let data = disk::make_data(&plan, &out)?;
    let initrd = initrd::pack(&osmia, &kernel, &disk::blocks(&data), plan.built)?;
    disk::write(&plan, &kernel, &initrd, &data, &out)
        .with_context(|| format!("writing {}", out.display()))?;
    if arguments.compress {
        let packed = disk::compress(&out)?;
        for path in release::write(&plan, &out, &packed, arguments.url_base.as_deref())? {
            progress::say(&format!("  {}", path.display()));
        }
    }
    Ok(out)
}
