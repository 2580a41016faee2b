//! Starting a child without any right, present or future.

use std::io;
use std::process::{Child, Command};

use rustix::io::Errno;
use rustix::thread::{CapabilitiesSecureBits as Bits, CapabilitySet, CapabilitySets};

/// Starts a program whose process has no capability and can never get one: what is taken from this call's own
/// thread is inherited, and the rest of PID 1 keeps its rights.
///
/// # Errors
/// A right cannot be taken away, or the program not be started.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    let start = || {
        take_away()?;
        command.spawn()
    };
    std::thread::scope(|scope| scope.spawn(start).join())
        .unwrap_or_else(|_| Err(io::Error::other("starting the child panicked")))
}

fn take_away() -> rustix::io::Result<()> {
    rustix::thread::clear_ambient_capability_set()?;
    for number in 0..u64::BITS {
        // The kernel knows fewer than 64; the first that it does not know ends the list.
        match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(
            1 << number,
        )) {
            Ok(()) => {}
            Err(Errno::INVAL) if number > 0 => break,
            Err(error) => return Err(error),
        }
    }
    let own = rustix::thread::capabilities(None)?;
    rustix::thread::set_capabilities(None, CapabilitySets { inheritable: CapabilitySet::empty(), ..own })?;
    // NO_SETUID_FIXUP itself stays off: changing the user must take the capabilities away.
    let bits = Bits::NO_ROOT
        | Bits::NO_ROOT_LOCKED
        | Bits::KEEP_CAPS_LOCKED
        | Bits::NO_SETUID_FIXUP_LOCKED
        | Bits::NO_CAP_AMBIENT_RAISE
        | Bits::NO_CAP_AMBIENT_RAISE_LOCKED;
    rustix::thread::set_capabilities_secure_bits(bits)?;
    rustix::thread::set_no_new_privs(true)
}
