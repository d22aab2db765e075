//! What the safe wrappers of the system leave out: two calls, made before there is a second thread.
#![expect(unsafe_code, reason = "no crate here ignores signals or closes what is not its own")]

use std::io;

/// Takes no notice of the signals that ask a program to stop: the parent ends the child when it is time.
pub(super) fn ignore_stop_signals() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
        // SAFETY: ignoring a signal installs no handler; the process has one thread.
        unsafe {
            libc::signal(signal, libc::SIG_IGN);
        }
    }
}

/// Closes every file descriptor but standard input, output and error.
///
/// # Errors
/// The kernel refuses, and `/proc` cannot be read either.
pub(super) fn close_inherited_files() -> io::Result<()> {
    const FIRST: libc::c_uint = 3;
    // SAFETY: nothing in this process owns a descriptor yet: it was called before anything opened one.
    if unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, 0) } == 0 {
        return Ok(());
    }
    // Before Linux 5.9, or where a container's own filter does not know the call.
    for descriptor in std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<libc::c_int>().ok())
        .filter(|descriptor| *descriptor > libc::STDERR_FILENO)
        .collect::<Vec<_>>()
    {
        // SAFETY: as above. The listing's own descriptor is closed by now, and closing it again is an error without
        // effect.
        unsafe {
            libc::close(descriptor);
        }
    }
    Ok(())
}
