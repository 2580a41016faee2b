//! System calls: three filters, of which the kernel takes the strictest answer.
//!
//! 1. Calls whose arguments lie behind pointers get `ENOSYS`: the C library then uses older ones, which can be
//!    judged.
//! 2. Calls that no honest path leads to kill the process; PID 1 sees `SIGSYS`.
//! 3. All but the calls that a node needs get `EPERM`: sled, for one, tries to run a program and goes on without.

use std::collections::BTreeMap;

use libc::{
    AF_INET, AF_INET6, AF_UNIX, CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID,
    CLONE_NEWUSER, CLONE_NEWUTS, CLONE_PTRACE, CLONE_SIGHAND, CLONE_THREAD, CLONE_VFORK, CLONE_VM,
    F_DUPFD_CLOEXEC, F_GETFD, F_GETFL, F_SETFD, F_SETFL, FIOCLEX, FIONBIO, IPPROTO_TCP, IPPROTO_UDP,
    MSG_FASTOPEN, PR_GET_NAME, PR_SET_NAME, PROT_EXEC, SOCK_DGRAM, SOCK_STREAM, TCGETS,
};
use seccompiler::SeccompCmpArgLen::Dword;
use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{BpfProgram, SeccompAction, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule};

/// No rules for a call: whatever its arguments.
type Calls = BTreeMap<i64, Vec<SeccompRule>>;

/// Applies the filters to this thread and all that it starts.
pub(super) fn restrict(datagrams: bool) -> anyhow::Result<()> {
    for program in programs(datagrams)? {
        seccompiler::apply_filter(&program)?;
    }
    Ok(())
}

/// The allow-list forbids to add a filter, so it comes last.
fn programs(datagrams: bool) -> anyhow::Result<Vec<BpfProgram>> {
    let whole = |calls: &[i64]| calls.iter().map(|call| (*call, Vec::new())).collect::<Calls>();
    let errno = |number: i32| SeccompAction::Errno(number.unsigned_abs());
    let filter = |calls: Calls, others: SeccompAction, these: SeccompAction| {
        let architecture = std::env::consts::ARCH.try_into()?;
        anyhow::Ok(SeccompFilter::new(calls, others, these, architecture)?.try_into()?)
    };
    Ok(vec![
        filter(whole(&ABSENT), SeccompAction::Allow, errno(libc::ENOSYS))?,
        filter(whole(&fatal()), SeccompAction::Allow, SeccompAction::KillProcess)?,
        filter(allowed(datagrams)?, errno(libc::EPERM), SeccompAction::Allow)?,
    ])
}

/// Newer forms of calls; the C library falls back on the older ones.
const ABSENT: [i64; 4] = [libc::SYS_clone3, libc::SYS_close_range, libc::SYS_faccessat2, libc::SYS_openat2];

/// With any arguments.
#[rustfmt::skip]
fn plain() -> Vec<i64> {
    #[allow(clippy::wildcard_imports, reason = "a list of system calls")]
    use libc::*;
    let calls = vec![
        // Files: which of them is Landlock's matter.
        SYS_openat, SYS_close, SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_lseek,
        SYS_fsync, SYS_fdatasync, SYS_sync_file_range, SYS_ftruncate, SYS_fallocate, SYS_flock, SYS_fstat, SYS_newfstatat, SYS_statx,
        SYS_getdents64, SYS_mkdirat, SYS_unlinkat, SYS_renameat, SYS_faccessat, SYS_readlinkat, SYS_statfs,
        SYS_fstatfs,
        // Memory.
        SYS_munmap, SYS_mremap, SYS_madvise, SYS_brk,
        // Threads and locks.
        SYS_futex, SYS_set_robust_list, SYS_rseq, SYS_exit, SYS_exit_group, SYS_sched_yield,
        SYS_sched_getaffinity, SYS_sched_setaffinity, SYS_setpriority,
        SYS_gettid, SYS_getpid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid,
        // Signals, received.
        SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sigaltstack, SYS_restart_syscall,
        // Time, random numbers, about the system.
        SYS_clock_gettime, SYS_clock_getres, SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday, SYS_getrandom,
        SYS_sysinfo, SYS_uname,
        // Events.
        SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_eventfd2, SYS_ppoll, SYS_pipe2,
        // Network: which kind is decided at `socket`.
        SYS_bind, SYS_listen, SYS_accept4, SYS_connect, SYS_getsockname, SYS_getpeername, SYS_setsockopt,
        SYS_getsockopt, SYS_shutdown, SYS_recvfrom, SYS_recvmsg,
    ];
    // Older forms that this architecture alone has.
    #[cfg(target_arch = "x86_64")]
    let calls = [calls, vec![
        SYS_unlink, SYS_rename, SYS_mkdir, SYS_rmdir, SYS_readlink, SYS_access, SYS_poll, SYS_epoll_wait,
    ]].concat();
    calls
}

/// Never used by honest code.
#[rustfmt::skip]
fn fatal() -> Vec<i64> {
    #[allow(clippy::wildcard_imports, reason = "a list of system calls")]
    use libc::*;
    let calls = vec![
        // Other programs, other processes.
        SYS_execve, SYS_execveat, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_process_madvise,
        SYS_kcmp, SYS_pidfd_getfd,
        // Mounts and name spaces.
        SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_move_mount, SYS_open_tree, SYS_fsopen,
        SYS_fsconfig, SYS_fsmount, SYS_fspick, SYS_mount_setattr, SYS_unshare, SYS_setns, SYS_mknodat,
        SYS_open_by_handle_at, SYS_name_to_handle_at, SYS_fanotify_init,
        // Large parts of the kernel.
        SYS_bpf, SYS_perf_event_open, SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register,
        SYS_userfaultfd, SYS_add_key, SYS_request_key, SYS_keyctl,
        // The machine.
        SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load, SYS_reboot, SYS_swapon,
        SYS_swapoff, SYS_acct, SYS_quotactl, SYS_syslog, SYS_vhangup, SYS_sethostname, SYS_setdomainname,
        SYS_clock_settime, SYS_clock_adjtime, SYS_settimeofday, SYS_adjtimex,
        // Rights.
        SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid, SYS_setfsuid,
        SYS_setfsgid, SYS_setgroups, SYS_capset, SYS_personality,
        // Memory that becomes code, memory shared past all rules.
        SYS_memfd_create, SYS_memfd_secret, SYS_pkey_mprotect, SYS_remap_file_pages, SYS_mq_open, SYS_msgget,
        SYS_semget, SYS_shmget, SYS_shmat, SYS_migrate_pages, SYS_move_pages, SYS_mbind, SYS_vmsplice,
    ];
    #[cfg(target_arch = "x86_64")]
    let calls = [calls, vec![
        SYS_kexec_file_load, SYS_modify_ldt, SYS_ioperm, SYS_iopl, SYS_mknod, SYS_uselib, SYS_arch_prctl,
    ]].concat();
    calls
}

fn when(argument: u8, operation: SeccompCmpOp, value: u64) -> anyhow::Result<SeccompCondition> {
    Ok(SeccompCondition::new(argument, Dword, operation, value)?)
}

/// Constants of the C library have many types, all of 32 bits here.
fn bits(constant: impl Into<i64>) -> u64 {
    constant.into().cast_unsigned() & 0xffff_ffff
}

/// Everything that is allowed, some of it with certain arguments only.
fn allowed(datagrams: bool) -> anyhow::Result<Calls> {
    let all_of = |conditions: Vec<SeccompCondition>| anyhow::Ok(SeccompRule::new(conditions)?);
    let one_of = |argument: u8, values: &[u64]| {
        values
            .iter()
            .map(|value| all_of(vec![when(argument, Eq, *value)?]))
            .collect::<anyhow::Result<Vec<_>>>()
    };
    let mut calls = plain().into_iter().map(|call| (call, Vec::new())).collect::<Calls>();
    // The first filter answers these; here they must not be refused.
    calls.extend(ABSENT.map(|call| (call, Vec::new())));
    // Threads alone: no process, no name space.
    let thread = CLONE_THREAD | CLONE_VM | CLONE_SIGHAND;
    let spaces = CLONE_NEWNS
        | CLONE_NEWCGROUP
        | CLONE_NEWUTS
        | CLONE_NEWIPC
        | CLONE_NEWUSER
        | CLONE_NEWPID
        | CLONE_NEWNET;
    let judged = bits(thread | spaces | CLONE_VFORK | CLONE_PTRACE);
    calls.insert(libc::SYS_clone, vec![all_of(vec![when(0, MaskedEq(judged), bits(thread))?])?]);
    // No memory becomes code.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        calls.insert(call, vec![all_of(vec![when(2, MaskedEq(bits(PROT_EXEC)), 0)?])?]);
    }
    // Panics abort; nobody else is signalled.
    let own = u64::from(std::process::id());
    calls.insert(libc::SYS_tgkill, one_of(0, &[own])?);
    calls.insert(libc::SYS_prlimit64, one_of(0, &[0, own])?);
    calls.insert(libc::SYS_prctl, one_of(0, &[bits(PR_SET_NAME), bits(PR_GET_NAME)])?);
    let controls = [F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL].map(bits);
    calls.insert(libc::SYS_fcntl, one_of(1, &controls)?);
    let controls = [FIONBIO, FIOCLEX, TCGETS].map(|control| control & 0xffff_ffff);
    calls.insert(libc::SYS_ioctl, one_of(1, &controls)?);
    let kinds = if datagrams { &[SOCK_STREAM, SOCK_DGRAM][..] } else { &[SOCK_STREAM] };
    let mut sockets = Vec::new();
    for family in [AF_INET, AF_INET6] {
        for kind in kinds {
            // TCP and UDP alone: Landlock knows no other transport, MPTCP for one.
            let transport = if *kind == SOCK_STREAM { IPPROTO_TCP } else { IPPROTO_UDP };
            for protocol in [0, transport] {
                sockets.push(all_of(vec![
                    when(0, Eq, bits(family))?,
                    when(1, MaskedEq(0xf), bits(*kind))?,
                    when(2, Eq, bits(protocol))?,
                ])?);
            }
        }
    }
    calls.insert(libc::SYS_socket, sockets);
    // Nor a connection that is made by sending, past Landlock.
    for (call, argument) in [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2)] {
        calls.insert(call, vec![all_of(vec![when(argument, MaskedEq(bits(MSG_FASTOPEN)), 0)?])?]);
    }
    calls.insert(libc::SYS_socketpair, one_of(0, &[bits(AF_UNIX)])?);
    Ok(calls)
}

#[cfg(test)]
mod tests {
    use super::{ABSENT, allowed, fatal, programs};

    #[test]
    fn no_call_is_both_allowed_and_fatal() {
        let allowed = allowed(true).unwrap();
        for call in fatal() {
            assert!(!allowed.contains_key(&call) && !ABSENT.contains(&call), "{call}");
        }
        // Attacks on the kernel that no test can try without unsafe code.
        for call in [libc::SYS_bpf, libc::SYS_io_uring_setup, libc::SYS_keyctl, libc::SYS_userfaultfd] {
            assert!(fatal().contains(&call), "{call}");
        }
        assert!(ABSENT.iter().all(|call| allowed.contains_key(call)));
    }

    #[test]
    fn the_filters_are_small_enough_for_the_kernel() {
        for program in programs(true).unwrap() {
            assert!(program.len() <= 4_096);
        }
    }
}
