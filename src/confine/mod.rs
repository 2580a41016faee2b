//! What a child of PID 1 does to itself before it starts any thread: gives up everything that it does not need.
//!
//! Four layers, each enough against much: no capability and no way to new rights (checked; PID 1 took them away),
//! limits, Landlock (which files, which ports) and seccomp (which system calls). On a board all of them must hold,
//! else the child does not run.

mod calls;

use std::io::BufRead;
use std::path::Path;

use anyhow::{Context, bail};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope, make_bitflags,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::CapabilitySet;

/// What a child may do.
#[derive(Debug, Clone, Default)]
pub struct Needs<'a> {
    /// Folder below which it reads and writes.
    pub write: Option<&'a Path>,
    /// Folder below which it reads.
    pub read: Option<&'a Path>,
    /// TCP ports that it listens on.
    pub listen: Vec<u16>,
    /// TCP ports of others that it connects to.
    pub connect: Vec<u16>,
    /// All of them instead.
    pub connect_anywhere: bool,
    /// UDP ports of others that it sends to.
    pub send: Vec<u16>,
    /// All of them instead.
    pub send_anywhere: bool,
    /// UDP ports that it listens on.
    pub hear: Vec<u16>,
}

/// Waits for PID 1 to say `go` on standard input: only then is this process in its control group.
///
/// # Errors
/// It says anything else.
pub fn await_go() -> anyhow::Result<()> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("standard input")?;
    if line != "go\n" {
        bail!("this command is for PID 1 of a board only");
    }
    Ok(())
}

/// Newest interface of Landlock whose rights are all meant here.
const LANDLOCK: ABI = ABI::V10;

/// Gives up everything else, for ever. No other thread may run yet.
///
/// # Errors
/// A layer cannot be put in place, or PID 1 left rights.
pub fn enter(needs: &Needs<'_>) -> anyhow::Result<()> {
    check_no_rights()?;
    limits().context("limits")?;
    landlock(needs).context("Landlock")?;
    calls::restrict(needs.send_anywhere || !needs.send.is_empty()).context("seccomp")
}

fn check_no_rights() -> anyhow::Result<()> {
    let sets = rustix::thread::capabilities(None)?;
    let held = sets.effective | sets.permitted | sets.inheritable;
    let all = || (0..u64::BITS).map(|number| CapabilitySet::from_bits_retain(1 << number));
    let bounding = all().any(|one| rustix::thread::capability_is_in_bounding_set(one) == Ok(true));
    let ambient = all().any(|one| rustix::thread::capability_is_in_ambient_set(one) == Ok(true));
    if !held.is_empty() || bounding || ambient || !rustix::thread::no_new_privs()? {
        bail!("started with rights: {held:?}, bounding {bounding}, ambient {ambient}");
    }
    Ok(())
}

fn limits() -> rustix::io::Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    for resource in [Resource::Core, Resource::Memlock, Resource::Msgqueue] {
        setrlimit(resource, none)?;
    }
    // Nobody of the same user may read its memory.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

fn landlock(needs: &Needs<'_>) -> anyhow::Result<()> {
    let write: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir | WriteFile | Truncate | MakeReg
        | MakeDir | RemoveFile | RemoveDir | Refer});
    let read: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let mut net = AccessNet::from_all(LANDLOCK);
    if needs.connect_anywhere {
        net.remove(AccessNet::ConnectTcp);
    }
    if needs.send_anywhere {
        net.remove(AccessNet::ConnectSendUdp);
    }
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(net)?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?;
    for (path, access) in
        needs.write.map(|path| (path, write)).into_iter().chain(needs.read.map(|path| (path, read)))
    {
        rules = rules.add_rule(PathBeneath::new(PathFd::new(path)?, access))?;
    }
    // A static binary reads its random numbers from there.
    for device in ["/dev/random", "/dev/urandom"] {
        rules = rules.add_rule(PathBeneath::new(PathFd::new(device)?, AccessFs::ReadFile))?;
    }
    for port in &needs.listen {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::BindTcp))?;
    }
    for port in needs.connect.iter().filter(|_| !needs.connect_anywhere) {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    for port in needs.send.iter().filter(|_| !needs.send_anywhere) {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::ConnectSendUdp))?;
    }
    // Port 0: any that is free.
    let free = [0].iter().filter(|_| needs.send_anywhere || !needs.send.is_empty());
    for port in needs.hear.iter().chain(free) {
        rules = rules.add_rule(NetPort::new(*port, AccessNet::BindUdp))?;
    }
    match rules.restrict_self()?.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        RulesetStatus::PartiallyEnforced | RulesetStatus::NotEnforced => bail!("not enforced"),
    }
}
