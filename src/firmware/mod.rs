//! Hands of PID 1: each file does one thing to the machine, decides nothing.

pub mod cgroup;
pub mod clock;
pub mod dhcp;
pub mod disk;
pub mod firewall;
mod ioctl;
pub mod kernel;
pub mod link;
pub mod modules;
pub mod mount;
pub mod netlink;
pub mod power;
pub mod privilege;
pub mod watchdog;
