//! Children that misbehave, played by this program under other names, and what becomes of their conversions.

use std::ffi::OsStr;
use std::io::{self, Cursor, Read, Write};
use std::net::Shutdown;
use std::ops::ControlFlow;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use media::child::{Child, PROTOCOL_VERSION, Program, lock_down};
use media::{ConvertError, Limits, Settings, Source, Verdict};

use crate::conversions::go_on;
use crate::processes::under_the_name;

// The numbers of the protocol's frames.
const READY: u8 = 1;
const READ: u8 = 2;
const MP3: u8 = 3;
const PROGRESS: u8 = 4;
const END: u8 = 5;

fn send(socket: &mut UnixStream, kind: u8, payload: &[u8]) -> io::Result<()> {
    let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
    socket.write_all(&[&[kind], length.as_slice(), payload].concat())
}

/// Waits for the job, as a child that is well.
fn begin(lock: bool) -> UnixStream {
    assert_eq!(std::env::vars_os().next(), None, "a child has no environment");
    let input = if lock {
        lock_down().unwrap().input
    } else {
        io::stdin().as_fd().try_clone_to_owned().unwrap()
    };
    let mut socket = UnixStream::from(input);
    let ready = format!(r#"{{"version":{PROTOCOL_VERSION},"missing":[]}}"#);
    send(&mut socket, READY, ready.as_bytes()).unwrap();
    let mut header = [0; 5];
    socket.read_exact(&mut header).unwrap();
    let length = u32::from_le_bytes(header[1..].try_into().unwrap());
    let mut job = vec![0; length as usize];
    socket.read_exact(&mut job).unwrap();
    socket
}

fn read_request(ranges: &[(u64, u32)]) -> Vec<u8> {
    let encoded = ranges
        .iter()
        .map(|(offset, length)| [offset.to_le_bytes().as_slice(), &length.to_le_bytes()].concat());
    encoded.collect::<Vec<_>>().concat()
}

/// Waits for the end without doing anything.
fn wait() -> ! {
    loop {
        thread::park();
    }
}

/// Plays what the program's name says, if it is one of these names and started as a child.
pub(crate) fn run_if_hostile() {
    let path = std::env::current_exe().unwrap();
    if std::env::args_os()
        .nth(1)
        .is_none_or(|argument| argument != "--mp3converter-conversion-child")
    {
        return;
    }
    match path.file_name().and_then(OsStr::to_str).unwrap() {
        "spins" => {
            begin(true);
            loop {
                std::hint::spin_loop();
            }
        }
        "deaf" => {
            send(&mut begin(true), READ, &read_request(&[(0, 1 << 20)])).unwrap();
            wait();
        }
        "crashes" => {
            begin(true);
            process::abort();
        }
        "is-killed" => {
            begin(false);
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
            wait();
        }
        "leaves" => {
            begin(true);
            process::exit(0);
        }
        "never-starts" => process::exit(1),
        "of-another-build" => {
            let mut socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().unwrap());
            send(&mut socket, READY, br#"{"version":0,"missing":[]}"#).unwrap();
            wait();
        }
        "greedy" => greedy(),
        "floods" => {
            let mut socket = begin(true);
            while send(&mut socket, MP3, &[0xff; 64 * 1024]).is_ok() {}
            wait();
        }
        "babbles" => {
            begin(true)
                .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .unwrap();
            wait();
        }
        "boasts" => {
            begin(true).write_all(&[MP3, 0xff, 0xff, 0xff, 0xff]).unwrap();
            wait();
        }
        "lies" => {
            let converted = r#"{"Converted":{"head":[],"head_at":0,"size_bytes":1000,"duration":{"secs":1,"nanos":0},
                "samples":1,"sample_rate_hz":8000,"channels":1,"bytes_read":0,"source_bytes":null,"errors":0,"notes":[],
                "track":{"number":0,"of":1,"why":"only"}}}"#;
            send(&mut begin(true), END, converted.as_bytes()).unwrap();
            wait();
        }
        "reaches-out" => {
            send(&mut begin(true), READ, &read_request(&[(0, 10), (995, 10)])).unwrap();
            wait();
        }
        "asks-again" => {
            let mut socket = begin(true);
            let mut answer = [0; 1005];
            while send(&mut socket, READ, &read_request(&[(0, 1000)])).is_ok() {
                socket.read_exact(&mut answer).unwrap();
            }
            wait();
        }
        "lives-on" => {
            begin(false).shutdown(Shutdown::Both).unwrap();
            wait();
        }
        "multiplies" => {
            let _socket = begin(true);
            for _ in 0..100 {
                let thread = thread::Builder::new().stack_size(64 * 1024);
                thread.spawn(|| wait()).unwrap();
            }
            wait();
        }
        "never-ready" => wait(),
        "reaches-back" => {
            send(&mut begin(true), READ, &read_request(&[(10, 10), (0, 10)])).unwrap();
            wait();
        }
        _ => {}
    }
}

/// Takes memory until there is no more, saying how much, and crashes of it.
fn greedy() -> ! {
    let mut socket = begin(true);
    let mut taken: Vec<Vec<u8>> = Vec::new();
    let mut total = 0_u64;
    loop {
        let mut more = Vec::new();
        if more.try_reserve_exact(1 << 20).is_err() {
            process::abort();
        }
        more.resize(1 << 20, 1);
        taken.push(more);
        total += 1 << 20;
        let position = [total.to_le_bytes(), u64::MAX.to_le_bytes()].concat();
        send(&mut socket, PROGRESS, &position).unwrap();
    }
}

fn source() -> Source {
    Source::seekable(Cursor::new(vec![0; 1000]))
}

fn outcome(role: &str) -> ConvertError {
    let (_folder, program) = under_the_name(role);
    let child = Child::start(&program).unwrap();
    child
        .convert(source(), &mut io::sink(), &Settings::default(), go_on)
        .unwrap_err()
}

fn is_crash(error: &ConvertError) -> bool {
    matches!(error, ConvertError::Verdict(Verdict::Crashed))
}

pub(crate) fn a_crash_is_the_files_fault() {
    let error = outcome("crashes");
    assert!(is_crash(&error), "{error:?}");
}

pub(crate) fn a_kill_from_outside_is_not() {
    let error = outcome("is-killed");
    assert!(matches!(error, ConvertError::Internal { .. }), "{error:?}");
}

pub(crate) fn a_child_that_ends_without_a_word_crashed() {
    let error = outcome("leaves");
    assert!(is_crash(&error), "{error:?}");
}

pub(crate) fn a_child_that_never_starts_is_trouble_of_ours() {
    let error = outcome("never-starts");
    assert!(matches!(error, ConvertError::Internal { .. }), "{error:?}");
    assert!(Child::start(&Program::at("/nonexistent")).is_err());
}

pub(crate) fn a_child_of_another_build_is_trouble_of_ours() {
    let error = outcome("of-another-build");
    assert!(matches!(error, ConvertError::Internal { .. }), "{error:?}");
}

pub(crate) fn memory_has_a_bound() {
    let (_folder, program) = under_the_name("greedy");
    let child = Child::start(&program).unwrap();
    let taken = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&taken);
    let settings = Settings {
        threads: Some(std::num::NonZeroUsize::MIN),
        ..Settings::default()
    };
    let outcome = child.convert(source(), &mut io::sink(), &settings, move |progress| {
        seen.store(u64::try_from(progress.position.as_micros()).unwrap(), Ordering::Relaxed);
        ControlFlow::Continue(())
    });
    assert!(is_crash(&outcome.unwrap_err()));
    let taken_mib = taken.load(Ordering::Relaxed) >> 20;
    assert!((200..512).contains(&taken_mib), "{taken_mib} MiB");
}

pub(crate) fn more_mp3_than_allowed_is_not_taken() {
    let (_folder, program) = under_the_name("floods");
    let child = Child::start(&program).unwrap();
    let limit_bytes = 1_000_000;
    let settings = Settings {
        limits: Limits {
            output_bytes: limit_bytes,
            ..Limits::default()
        },
        ..Settings::default()
    };
    let mut mp3 = Vec::new();
    match child.convert(source(), &mut mp3, &settings, go_on) {
        Err(ConvertError::Verdict(verdict)) => assert_eq!(verdict, Verdict::OutputTooLarge { limit_bytes }),
        other => panic!("{other:?}"),
    }
    assert!(mp3.len() as u64 <= limit_bytes);
}

pub(crate) fn nonsense_ends_the_child() {
    for role in ["babbles", "boasts"] {
        let error = outcome(role);
        assert!(is_crash(&error), "{role}: {error:?}");
    }
}

pub(crate) fn a_result_that_does_not_fit_is_nonsense() {
    let error = outcome("lies");
    assert!(is_crash(&error), "{error:?}");
}

pub(crate) fn the_file_is_not_read_again_and_again() {
    let error = outcome("asks-again");
    assert!(is_crash(&error), "{error:?}");
}

pub(crate) fn a_child_that_closes_its_socket_and_lives_on_is_at_fault() {
    let error = outcome("lives-on");
    assert!(is_crash(&error), "{error:?}");
}

pub(crate) fn threads_have_a_bound() {
    let (_folder, program) = under_the_name("multiplies");
    let child = Child::start(&program).unwrap();
    let settings = Settings {
        threads: Some(std::num::NonZeroUsize::MIN),
        ..Settings::default()
    };
    let error = child.convert(source(), &mut io::sink(), &settings, go_on).unwrap_err();
    assert!(is_crash(&error), "{error:?}");
}

pub(crate) fn nothing_outside_the_file_is_read() {
    for role in ["reaches-out", "reaches-back"] {
        let error = outcome(role);
        assert!(is_crash(&error), "{role}: {error:?}");
    }
}
