//! The escape suite: what must not work inside the child's sandbox, tried there, and tried outside to see that it
//! would.
#![expect(unsafe_code, reason = "it makes system calls that nothing else in this suite makes")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the system's calls take small numbers in many types"
)]

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::{Command, ExitCode, Stdio};
use std::ptr;
use std::thread;

use media::child::lock_down;

use crate::processes::{as_nobody, this};

/// Where the probe finds what it attacks.
#[derive(Clone, Copy)]
struct Targets {
    tcp_port: u16,
    udp_port: u16,
    parent: libc::pid_t,
    /// A file that was open, without the flag that closes it, when the lock-down began.
    leaked: libc::c_int,
}

/// An attempt: fine if it got through.
type Attempt = fn(Targets) -> io::Result<()>;

/// What is tried, in this order; the last ones change the process.
const ATTEMPTS: &[(&str, Attempt)] = &[
    ("open a file to read", |_| open(c"/etc/passwd", libc::O_RDONLY)),
    ("open a file to write", |_| open(c"/dev/null", libc::O_WRONLY)),
    ("create a file", |_| open(c"/tmp", libc::O_TMPFILE | libc::O_RDWR)),
    ("open a directory", |_| open(c"/", libc::O_DIRECTORY)),
    ("open by the newest call", |_| {
        let how = [0_u64; 3];
        call(
            libc::SYS_openat2,
            [at(), c"/etc/passwd".as_ptr() as u64, how.as_ptr() as u64, 24, 0],
        )
    }),
    ("read its own process's files", |_| {
        open(c"/proc/self/status", libc::O_RDONLY)
    }),
    ("read its parent's environment", |targets| {
        let path = CString::new(format!("/proc/{}/environ", targets.parent))?;
        open(&path, libc::O_RDONLY)
    }),
    ("use a file that was left open", |targets| {
        let mut byte = 0_u8;
        let count = unsafe { libc::read(targets.leaked, (&raw mut byte).cast(), 1) };
        if count == 1 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }),
    ("look at a file", |_| {
        let mut status = [0_u64; 32];
        call(
            libc::SYS_newfstatat,
            [at(), c"/etc/passwd".as_ptr() as u64, status.as_mut_ptr() as u64, 0, 0],
        )
    }),
    ("change directory", |_| done(unsafe { libc::chdir(c"/tmp".as_ptr()) })),
    ("make memory that is a file", |_| {
        done(unsafe { libc::memfd_create(c"x".as_ptr(), 0) })
    }),
    ("connect by TCP", |targets| connect(libc::SOCK_STREAM, targets.tcp_port)),
    ("send by UDP", |targets| connect(libc::SOCK_DGRAM, targets.udp_port)),
    ("connect to a local socket", |targets| {
        local(targets, |socket, address, length| unsafe {
            libc::connect(socket, address, length)
        })
    }),
    ("listen", |_| {
        let socket = socket(libc::AF_INET, libc::SOCK_STREAM)?;
        let address = loopback(0);
        done(unsafe { libc::bind(socket, (&raw const address).cast(), size_of_val(&address) as u32) })
    }),
    ("open a raw link to the kernel", |_| {
        socket(libc::AF_NETLINK, libc::SOCK_RAW).map(drop)
    }),
    ("make a pair of sockets", |_| {
        let mut pair = [0; 2];
        done(unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr()) })
    }),
    ("make a pipe", |_| {
        let mut pair = [0; 2];
        done(unsafe { libc::pipe(pair.as_mut_ptr()) })
    }),
    ("fork", |_| {
        new_process(libc::SYS_clone, [libc::SIGCHLD as u64, 0, 0, 0, 0])
    }),
    ("vfork", |_| {
        let flags = libc::CLONE_VFORK | libc::SIGCHLD;
        new_process(libc::SYS_clone, [flags as u64, 0, 0, 0, 0])
    }),
    #[cfg(target_arch = "x86_64")]
    ("fork by its old number", |_| new_process(libc::SYS_fork, [0; 5])),
    ("fork by the newest call", |_| {
        let mut arguments = [0_u64; 8];
        arguments[4] = libc::SIGCHLD as u64;
        new_process(libc::SYS_clone3, [arguments.as_ptr() as u64, 64, 0, 0, 0])
    }),
    ("execute a program", |_| {
        let arguments = [c"nothing".as_ptr(), ptr::null()];
        unsafe { libc::execve(c"/nonexistent/program".as_ptr(), arguments.as_ptr(), ptr::null()) };
        let error = io::Error::last_os_error();
        // There is no such program; asking so far is what must not be possible.
        if error.raw_os_error() == Some(libc::ENOENT) {
            Ok(())
        } else {
            Err(error)
        }
    }),
    ("run a program", |_| {
        Command::new("/bin/true").stdin(Stdio::inherit()).status().map(drop)
    }),
    ("signal its parent", |targets| {
        done(unsafe { libc::kill(targets.parent, 0) })
    }),
    ("signal a thread of its parent", |targets| {
        let parent = targets.parent as u64;
        call(libc::SYS_tgkill, [parent, parent, 0, 0, 0])
    }),
    ("signal itself as if from outside", |_| {
        let own = u64::from(std::process::id());
        call(libc::SYS_tgkill, [own, own, 0, 0, 0])
    }),
    ("hold its parent", |targets| {
        call(libc::SYS_pidfd_open, [targets.parent as u64, 0, 0, 0, 0])
    }),
    ("read its parent's memory", |targets| {
        let mut byte = 0_u8;
        let local = libc::iovec {
            iov_base: (&raw mut byte).cast(),
            iov_len: 1,
        };
        let remote = libc::iovec {
            iov_base: ptr::without_provenance_mut(4096),
            iov_len: 1,
        };
        unsafe { libc::process_vm_readv(targets.parent, &raw const local, 1, &raw const remote, 1, 0) };
        let error = io::Error::last_os_error();
        // Nothing is at that address; to be told so, one must be allowed to look.
        if error.raw_os_error() == Some(libc::EFAULT) {
            Ok(())
        } else {
            Err(error)
        }
    }),
    ("trace its parent", |targets| {
        const PTRACE_SEIZE: u64 = 0x4206;
        call(libc::SYS_ptrace, [PTRACE_SEIZE, targets.parent as u64, 0, 0, 0])
    }),
    ("change its parent's limits", |targets| {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        done(unsafe { libc::prlimit(targets.parent, libc::RLIMIT_CORE, ptr::null(), &raw mut limit) })
    }),
    ("make memory executable at once", |_| {
        map(4096, libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE).map(drop)
    }),
    ("take shared memory, which no bound counts", |_| {
        map(4096, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED).map(drop)
    }),
    ("take addresses without end, whose tables no bound counts", |_| {
        map(1 << 36, libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_NORESERVE).map(drop)
    }),
    ("take a growing stack, which no bound counts", |_| {
        map(
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_GROWSDOWN,
        )
        .map(drop)
    }),
    ("make memory executable later", |_| {
        let page = map(4096, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE)?;
        done(unsafe { libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_EXEC) })
    }),
    ("leave its namespaces", |_| {
        done(unsafe { libc::unshare(libc::CLONE_FILES) })
    }),
    ("become another user", |_| {
        let same = u64::from(u32::MAX);
        call(libc::SYS_setresuid, [same, same, same, 0, 0])
    }),
    ("filter its own calls", |_| {
        const SECCOMP_GET_ACTION_AVAIL: u64 = 2;
        let action = libc::SECCOMP_RET_ALLOW;
        call(
            libc::SYS_seccomp,
            [SECCOMP_GET_ACTION_AVAIL, 0, (&raw const action) as u64, 0, 0],
        )
    }),
    ("look at what is open", |_| {
        done(unsafe { libc::fcntl(0, libc::F_GETFD) })
    }),
    ("raise its limits", |_| {
        let mut limit = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        done(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
        done(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })
    }),
    ("outlive its parent", |_| {
        done(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0) })
    }),
    ("become dumpable", |_| {
        done(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) })
    }),
];

/// What the engine needs, and must go on working inside.
const NEEDED: &[(&str, Attempt)] = &[
    ("start a thread", |_| {
        let thread = thread::Builder::new().name("a thread".to_owned()).spawn(|| 7)?;
        thread.join().map(drop).map_err(|_| io::Error::other("it panicked"))
    }),
    ("take memory", |_| {
        let mut memory: Vec<u8> = Vec::new();
        memory.try_reserve_exact(8 << 20).map_err(io::Error::other)?;
        memory.resize(8 << 20, 1);
        memory.resize(9 << 20, 2);
        Ok(())
    }),
    ("know the time", |_| {
        std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .map(drop)
            .map_err(io::Error::other)
    }),
    ("draw lots", |_| {
        let mut byte = 0_u8;
        call(libc::SYS_getrandom, [(&raw mut byte) as u64, 1, 0, 0, 0])
    }),
];

fn done(answer: libc::c_int) -> io::Result<()> {
    if answer < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn call(number: libc::c_long, [a, b, c, d, e]: [u64; 5]) -> io::Result<()> {
    if unsafe { libc::syscall(number, a, b, c, d, e) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// The directory from which relative paths are looked up, as an argument.
fn at() -> u64 {
    i64::from(libc::AT_FDCWD) as u64
}

fn open(path: &std::ffi::CStr, flags: libc::c_int) -> io::Result<()> {
    done(unsafe { libc::open(path.as_ptr(), flags, 0o600) })
}

fn socket(family: libc::c_int, kind: libc::c_int) -> io::Result<libc::c_int> {
    let socket = unsafe { libc::socket(family, kind, 0) };
    done(socket).map(|()| socket)
}

fn loopback(port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes([127, 0, 0, 1]),
        },
        sin_zero: [0; 8],
    }
}

fn connect(kind: libc::c_int, port: u16) -> io::Result<()> {
    let socket = socket(libc::AF_INET, kind)?;
    let address = loopback(port);
    done(unsafe { libc::connect(socket, (&raw const address).cast(), size_of_val(&address) as u32) })?;
    let sent = unsafe { libc::send(socket, b"x".as_ptr().cast(), 1, libc::MSG_NOSIGNAL) };
    if sent == 1 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn name_of(targets: Targets) -> String {
    format!("mp3converter-escape-{}", targets.parent)
}

fn local(
    targets: Targets,
    act: impl Fn(libc::c_int, *const libc::sockaddr, libc::socklen_t) -> libc::c_int,
) -> io::Result<()> {
    let socket = socket(libc::AF_UNIX, libc::SOCK_STREAM)?;
    let mut address = libc::sockaddr_un {
        sun_family: libc::AF_UNIX as u16,
        sun_path: [0; 108],
    };
    let name = name_of(targets);
    for (place, byte) in address.sun_path[1..].iter_mut().zip(name.bytes()) {
        *place = byte as libc::c_char;
    }
    done(act(socket, (&raw const address).cast(), (3 + name.len()) as u32))
}

/// Makes a process that ends at once, and waits for it.
fn new_process(number: libc::c_long, [a, b, c, d, e]: [u64; 5]) -> io::Result<()> {
    // Nothing but `_exit` happens in the new process, which has a copy of this one's memory.
    let pid = unsafe { libc::syscall(number, a, b, c, d, e) };
    match pid {
        0 => unsafe { libc::_exit(0) },
        pid if pid < 0 => Err(io::Error::last_os_error()),
        pid => done(unsafe { libc::waitpid(pid as libc::pid_t, ptr::null_mut(), 0) }),
    }
}

fn map(length: usize, protection: libc::c_int, kind: libc::c_int) -> io::Result<*mut libc::c_void> {
    let flags = kind | libc::MAP_ANONYMOUS;
    let page = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        Err(io::Error::last_os_error())
    } else {
        Ok(page)
    }
}

/// Tries everything and prints a line for each: inside the sandbox if the first argument says so.
pub(crate) fn probe(arguments: &[String]) -> ExitCode {
    let mut numbers = arguments[1..].iter().map(|number| number.parse().unwrap());
    let mut next = || numbers.next().unwrap();
    let targets = Targets {
        tcp_port: next(),
        udp_port: next(),
        parent: libc::pid_t::try_from(std::os::unix::process::parent_id()).unwrap(),
        leaked: unsafe { libc::open(c"/etc/passwd".as_ptr(), libc::O_RDONLY) },
    };
    assert!(targets.leaked > 2);
    if arguments[0] == "locked" {
        let missing = lock_down().unwrap().missing;
        assert_eq!(missing, [], "this kernel cannot show it");
    }
    for (name, attempt) in NEEDED.iter().chain(ATTEMPTS) {
        match attempt(targets) {
            Ok(()) => println!("{name}: works"),
            Err(error) => println!("{name}: {}", error.raw_os_error().unwrap_or(-1)),
        }
    }
    ExitCode::SUCCESS
}

/// Probes outside and inside, and prints what is not as it must be.
pub(crate) fn compare() -> ExitCode {
    // Where only a parent may be traced that agrees, it does.
    unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let ports = [tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port()].map(|port| port.to_string());
    let name = format!("mp3converter-escape-{}", std::process::id());
    let _local = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
    let answers = |how: &str| -> BTreeMap<String, String> {
        // A process that traces its parent is let go by ending.
        let output = Command::new("/proc/self/exe")
            .args(["probe", how])
            .args(&ports)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success(),
            "{how}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        text.lines()
            .map(|line| line.rsplit_once(": ").unwrap())
            .map(|(name, answer)| (name.to_owned(), answer.to_owned()))
            .collect()
    };
    let (free, locked) = (answers("free"), answers("locked"));
    let mut wrong = 0;
    for (name, _) in NEEDED {
        if free[*name] != "works" || locked[*name] != "works" {
            println!(
                "does not work: {name}: outside {}, inside {}",
                free[*name], locked[*name]
            );
            wrong += 1;
        }
    }
    for (name, _) in ATTEMPTS {
        if free[*name] != "works" {
            println!("shows nothing: {name}: outside {}", free[*name]);
            wrong += 1;
        }
        if locked[*name] == "works" {
            println!("GETS OUT: {name}");
            wrong += 1;
        }
    }
    println!("{} attempts, {wrong} not as they must be", ATTEMPTS.len());
    ExitCode::from(u8::from(wrong > 0))
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

pub(crate) fn nothing_gets_out_as_this_user() {
    succeeds(Command::new(this()).arg("escape"));
}

pub(crate) fn nothing_gets_out_as_an_unprivileged_user() {
    succeeds(&mut as_nobody("escape"));
}
