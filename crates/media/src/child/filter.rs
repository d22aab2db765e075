//! The system calls that are left to the child: memory, threads of its own, the clock, and the socket it has.
//!
//! Everything else answers `EPERM`, so that a library that tries the file of a time zone goes on without it. Written as
//! numbers of this machine's architecture: calls that only x86-64 has (`open`, `fork`, `vfork`, ...) need no mention,
//! since what is not listed is denied.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter_all_threads,
};

/// The calls that are harmless whatever they are given.
const FREE: [libc::c_long; 26] = [
    // Memory; what makes it executable is below.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    // Threads.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Signals to itself, as `abort` and a stack that overflows need them.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // The clock, and chance.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_getrandom,
    // The C library's `qsort` asks how much memory there is, and does not expect a refusal.
    libc::SYS_sysinfo,
    // What is open: the socket and three times `/dev/null`.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_close,
];

/// Puts the filter in force for every thread, for good. False where the kernel has no such thing.
///
/// # Errors
/// The kernel has it and refuses.
pub(super) fn apply() -> io::Result<bool> {
    let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else {
        return Ok(false);
    };
    let broken = |error: BackendError| io::Error::other(error);
    for filter in [first(arch).map_err(broken)?, second(arch).map_err(broken)?] {
        match apply_filter_all_threads(&filter) {
            Ok(()) => {}
            Err(Error::Seccomp(error) | Error::Prctl(error))
                if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) =>
            {
                return Ok(false);
            }
            Err(error) => return Err(io::Error::other(error)),
        }
    }
    Ok(true)
}

/// `clone3` hides its flags from a filter. Where it does not exist, the C library takes `clone`, which shows them.
fn first(arch: TargetArch) -> Result<BpfProgram, BackendError> {
    let absent = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    SeccompFilter::new(rules, SeccompAction::Allow, absent, arch)?.try_into()
}

/// The list. Of two filters the stricter answer counts, so `clone3` stays absent.
fn second(arch: TargetArch) -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = FREE.iter().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_clone3, Vec::new());
    rules.insert(libc::SYS_clone, vec![only_a_thread()?]);
    rules.insert(
        libc::SYS_mmap,
        vec![SeccompRule::new(vec![never_executable()?, counted()?])?],
    );
    rules.insert(libc::SYS_mprotect, vec![SeccompRule::new(vec![never_executable()?])?]);
    // Another signal would look as if somebody had ended the child from outside.
    let abort = libc::SIGABRT.unsigned_abs().into();
    rules.insert(
        libc::SYS_tgkill,
        vec![SeccompRule::new(vec![equal(0, own_pid())?, equal(2, abort)?])?],
    );
    rules.insert(
        libc::SYS_prctl,
        vec![SeccompRule::new(vec![equal(
            0,
            libc::PR_SET_NAME.unsigned_abs().into(),
        )?])?],
    );
    // On a connected socket, and to nobody else: without an address.
    for call in [libc::SYS_sendto, libc::SYS_recvfrom] {
        rules.insert(call, vec![SeccompRule::new(vec![equal_pointer(4, 0)?])?]);
    }
    let denied = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(rules, denied, SeccompAction::Allow, arch)?.try_into()
}

/// A new thread of this process, in the same namespaces.
fn only_a_thread() -> Result<SeccompRule, BackendError> {
    const NEEDED: libc::c_int = libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND;
    const FORBIDDEN: libc::c_int = libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_PTRACE
        | libc::CLONE_VFORK
        | libc::CLONE_PARENT;
    let mask = SeccompCmpOp::MaskedEq((NEEDED | FORBIDDEN).unsigned_abs().into());
    let flags = SeccompCondition::new(0, SeccompCmpArgLen::Dword, mask, NEEDED.unsigned_abs().into())?;
    SeccompRule::new(vec![flags])
}

fn never_executable() -> Result<SeccompCondition, BackendError> {
    let mask = SeccompCmpOp::MaskedEq(libc::PROT_EXEC.unsigned_abs().into());
    SeccompCondition::new(2, SeccompCmpArgLen::Dword, mask, 0)
}

/// Memory that counts against the bound on data: the kernel leaves out what is shared and what grows like a stack.
fn counted() -> Result<SeccompCondition, BackendError> {
    let mask = SeccompCmpOp::MaskedEq((libc::MAP_TYPE | libc::MAP_GROWSDOWN).unsigned_abs().into());
    let private = libc::MAP_PRIVATE.unsigned_abs().into();
    SeccompCondition::new(3, SeccompCmpArgLen::Dword, mask, private)
}

fn equal(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
}

fn equal_pointer(argument: u8, value: u64) -> Result<SeccompCondition, BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value)
}

fn own_pid() -> u64 {
    std::process::id().into()
}
