//! The kernel's own lock-down: one table, a reason each.

use std::fs;
use std::path::Path;

/// Setting below `/proc/sys`, value, reason. Those of the network hold for links that appear later.
#[rustfmt::skip]
const SETTINGS: [(&str, &str, &str); 49] = [
    ("kernel/kptr_restrict", "2", "no kernel addresses"),
    ("kernel/dmesg_restrict", "1", "no kernel log"),
    ("kernel/unprivileged_bpf_disabled", "1", "no programs in the kernel"),
    ("net/core/bpf_jit_harden", "2", "no guessing of compiled filters"),
    ("kernel/kexec_load_disabled", "1", "no second kernel"),
    ("kernel/perf_event_paranoid", "4", "nobody measures"),
    ("kernel/yama/ptrace_scope", "3", "nobody looks into another process"),
    ("kernel/io_uring_disabled", "2", "a large part of the kernel that nothing here needs"),
    ("user/max_user_namespaces", "0", "no name spaces, which open rarely used code"),
    ("user/max_mnt_namespaces", "0", "the same"),
    ("user/max_net_namespaces", "0", "the same"),
    ("user/max_pid_namespaces", "0", "the same"),
    ("kernel/sysrq", "0", "a serial line gives no orders"),
    ("fs/protected_hardlinks", "1", "no link to a file of somebody else"),
    ("fs/protected_symlinks", "1", "no planted links"),
    ("fs/protected_fifos", "2", "no planted pipes"),
    ("fs/protected_regular", "2", "no planted files"),
    ("fs/suid_dumpable", "0", "no image of a privileged process"),
    ("kernel/core_pattern", "\n", "no core files"),
    ("kernel/modprobe", "\n", "the kernel asks no program for modules"),
    ("kernel/usermodehelper/bset", "0 0", "a program that the kernel starts all the same has no rights"),
    ("kernel/randomize_va_space", "2", "addresses are random"),
    ("vm/mmap_min_addr", "65536", "a null pointer leads nowhere"),
    ("vm/unprivileged_userfaultfd", "0", "nobody stops the kernel in its tracks"),
    ("vm/memfd_noexec", "2", "no code from memory files"),
    ("dev/tty/ldisc_autoload", "0", "no line disciplines"),
    ("dev/tty/legacy_tiocsti", "0", "nobody types for another"),
    ("kernel/panic_on_oops", "1", "a damaged kernel starts again"),
    ("net/ipv4/conf/all/accept_redirects", "0", "no routes from strangers"),
    ("net/ipv4/conf/default/accept_redirects", "0", "the same"),
    ("net/ipv4/conf/all/secure_redirects", "0", "the same"),
    ("net/ipv4/conf/default/secure_redirects", "0", "the same"),
    ("net/ipv4/conf/all/send_redirects", "0", "no router"),
    ("net/ipv4/conf/default/send_redirects", "0", "the same"),
    ("net/ipv4/conf/all/accept_source_route", "0", "no routes from strangers"),
    ("net/ipv4/conf/default/accept_source_route", "0", "the same"),
    ("net/ipv4/conf/all/arp_ignore", "1", "a link answers for its own addresses only"),
    ("net/ipv4/conf/all/arp_announce", "2", "the same"),
    ("net/ipv4/ip_forward", "0", "no router"),
    ("net/ipv4/tcp_syncookies", "1", "floods of connections keep nobody out"),
    ("net/ipv4/tcp_fastopen", "0", "no connections past the rules of the children"),
    ("net/mptcp/enabled", "0", "the same"),
    ("vm/dirty_background_bytes", "8388608", "a slow card is written to early"),
    ("vm/dirty_bytes", "16777216", "no write waits for much that others wrote before"),
    ("net/ipv4/tcp_rfc1337", "1", "old connections end when they should"),
    ("net/ipv4/ip_unprivileged_port_start", "80", "the status page listens on port 80 without any rights"),
    ("net/ipv6/conf/all/accept_redirects", "0", "no routes from strangers"),
    ("net/ipv6/conf/default/accept_redirects", "0", "the same"),
    ("net/ipv6/conf/all/accept_source_route", "0", "the same"),
];

/// Writes every setting. One that this kernel does not have is left out.
pub fn harden() {
    for (name, value, reason) in SETTINGS {
        let path = Path::new("/proc/sys").join(name);
        if path.exists()
            && let Err(error) = fs::write(&path, value)
        {
            tracing::warn!(name, value, reason, %error, "kernel setting not made");
        }
    }
}

/// From now on the kernel loads no module any more, whoever asks.
pub fn close_modules() {
    match fs::write("/proc/sys/kernel/modules_disabled", "1") {
        Ok(()) => tracing::info!("kernel modules closed"),
        Err(error) => tracing::warn!(%error, "kernel modules stay open"),
    }
}
