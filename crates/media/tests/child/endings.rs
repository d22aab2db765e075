//! How a child ends: never later than its conversion or its parent.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use media::child::{Child, Program};
use media::{ConvertError, Limits, Progress, Settings, Source, Verdict};
use testkit::media::sample;

use crate::conversions::go_on;
use crate::processes::{is_buried, lives, this, under_the_name, wait_until};

/// Cancels at the `calls`th chance.
fn cancel_after(calls: u32) -> impl FnMut(Progress) -> ControlFlow<()> + Send + 'static {
    let mut called = 0;
    move |_| {
        called += 1;
        if called < calls {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }
}

fn cancelled_and_buried(role: &str, source: Source) {
    let (_folder, program) = under_the_name(role);
    let mut child = Child::start(&program).unwrap();
    child.wait_until_ready().unwrap();
    let pid = child.id();
    let outcome = child.convert(source, &mut io::sink(), &Settings::default(), cancel_after(5));
    assert!(matches!(outcome, Err(ConvertError::Cancelled)), "{outcome:?}");
    assert!(is_buried(pid));
}

pub(crate) fn a_cancel_kills_a_child_that_spins() {
    cancelled_and_buried("spins", Source::stream(io::empty()));
}

pub(crate) fn a_cancel_kills_a_child_that_does_not_listen() {
    cancelled_and_buried("deaf", Source::seekable(io::Cursor::new(vec![0; 1 << 20])));
}

pub(crate) fn a_cancel_does_not_wait_for_a_child_to_get_ready() {
    let (_folder, program) = under_the_name("never-ready");
    let child = Child::start(&program).unwrap();
    let pid = child.id();
    let outcome = child.convert(
        Source::stream(io::empty()),
        &mut io::sink(),
        &Settings::default(),
        cancel_after(2),
    );
    assert!(matches!(outcome, Err(ConvertError::Cancelled)), "{outcome:?}");
    assert!(is_buried(pid));
}

pub(crate) fn a_panic_of_the_source_kills_the_child() {
    struct Panicking;
    impl Read for Panicking {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("the source broke")
        }
    }
    let child = Child::start(&Program::this()).unwrap();
    let pid = child.id();
    let payload = catch_unwind(AssertUnwindSafe(|| {
        child.convert(Source::stream(Panicking), &mut io::sink(), &Settings::default(), go_on)
    }))
    .unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"the source broke"));
    assert!(is_buried(pid));
}

pub(crate) fn a_child_that_is_dropped_is_gone() {
    let mut ready = Child::start(&Program::this()).unwrap();
    ready.wait_until_ready().unwrap();
    assert!(ready.is_alive());
    let fresh = Child::start(&Program::this()).unwrap();
    let pids = [ready.id(), fresh.id()];
    drop((ready, fresh));
    assert!(pids.into_iter().all(is_buried));
}

/// Starts a child, says which, and waits to be killed; the child converts without end if the argument says so.
pub(crate) fn hold_a_child() -> ExitCode {
    let busy = std::env::args().nth(2).as_deref() == Some("busy");
    let (_folder, program) = under_the_name("spins");
    let mut child = Child::start(&program).unwrap();
    child.wait_until_ready().unwrap();
    println!("{}", child.id());
    io::stdout().flush().unwrap();
    if busy {
        let told = child.convert(
            Source::stream(io::empty()),
            &mut io::sink(),
            &Settings::default(),
            go_on,
        );
        println!("{told:?}");
    }
    // The other end is held by the one that kills.
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
    ExitCode::SUCCESS
}

fn dies_with_its_parent(what: &str) {
    let mut parent = Command::new(this())
        .args(["hold-a-child", what])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let pid: u32 = line.trim().parse().unwrap();
    assert!(lives(pid));
    parent.kill().unwrap();
    parent.wait().unwrap();
    wait_until("the child dies with its parent", || !lives(pid));
}

pub(crate) fn a_child_dies_with_its_parent() {
    dies_with_its_parent("busy");
}

pub(crate) fn an_idle_child_dies_with_its_parent() {
    dies_with_its_parent("idle");
}

pub(crate) fn signals_that_stop_programs_do_not_stop_a_child() {
    let mut child = Child::start(&Program::this()).unwrap();
    child.wait_until_ready().unwrap();
    for signal in ["TERM", "INT", "HUP", "QUIT"] {
        let sent = Command::new("kill")
            .args(["-s", signal, &child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }
    let path = sample("wav-44100");
    let source = Source::seekable(File::open(path).unwrap());
    child
        .convert(source, &mut io::sink(), &Settings::default(), go_on)
        .unwrap();
}

pub(crate) fn what_it_may_use_is_bounded_from_outside() {
    let (_folder, program) = under_the_name("spins");
    let mut child = Child::start(&program).unwrap();
    // Before that there is no job to give it anything for.
    child.wait_until_ready().unwrap();
    let path = format!("/proc/{}/limits", child.id());
    let settings = Settings {
        threads: NonZeroUsize::new(2),
        ..Settings::default()
    };
    let limits = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&limits);
    let mut cancel = cancel_after(5);
    let outcome = child.convert(
        Source::stream(io::empty()),
        &mut io::sink(),
        &settings,
        move |progress| {
            *seen.lock().unwrap() = fs::read_to_string(&path).unwrap();
            cancel(progress)
        },
    );
    assert!(matches!(outcome, Err(ConvertError::Cancelled)), "{outcome:?}");
    let limits = limits.lock().unwrap();
    let soft = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().to_owned()
    };
    // A minute to open the file, on two threads that encode and one that decodes.
    assert_eq!(soft("Max cpu time"), "180");
    assert_eq!(soft("Max data size"), (496 << 20).to_string());
    assert_eq!(soft("Max core file size"), "0");
    assert_eq!(soft("Max file size"), "0");
    assert_eq!(soft("Max open files"), "8");
}

pub(crate) fn time_runs_out() {
    let (_folder, program) = under_the_name("spins");
    let child = Child::start(&program).unwrap();
    let pid = child.id();
    let limit = Duration::from_millis(300);
    let settings = Settings {
        limits: Limits {
            time: limit,
            ..Limits::default()
        },
        ..Settings::default()
    };
    match child.convert(Source::stream(io::empty()), &mut io::sink(), &settings, go_on) {
        Err(ConvertError::Verdict(verdict)) => assert_eq!(verdict, Verdict::TimeLimit { limit }),
        other => panic!("{other:?}"),
    }
    assert!(is_buried(pid));
}
