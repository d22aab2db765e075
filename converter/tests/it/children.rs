//! The processes that wait for conversions, as an operator sees them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ::media::child::{PROTOCOL_VERSION, Program};
use converter::DeleteSource;
use domain::{JobState, Options};
use runtime::probes::Report;
use testkit::media;

use crate::{Bench, HANG};

/// A converter whose children execute `program`, and what it says of itself when `said` holds.
async fn report(program: Program, said: impl Fn(&Report) -> bool) -> Report {
    let bench = Bench::new();
    let converter = bench.converter(program, DeleteSource::Never);
    let readiness = converter.readiness();
    converter.start(&bench.life, &runtime::metrics::Metrics::default());
    let report = async {
        loop {
            let report = readiness.report().await;
            if said(&report) {
                return report;
            }
            tokio::task::yield_now().await;
        }
    };
    let report = tokio::time::timeout(HANG, report).await.expect("it never said so");
    bench.stop().await;
    report
}

/// An executable script. Another process writes it: a child that some other test forks meanwhile would inherit a
/// descriptor of ours that is open for writing, and until it executes its program ours is refused (`ETXTBSY`).
fn script(folder: &Path, text: &str) -> PathBuf {
    let (source, path) = (folder.join("child.txt"), folder.join("child.sh"));
    fs::write(&source, text).unwrap();
    let installed = Command::new("install").arg("-m755").args([&source, &path]).status();
    assert!(installed.unwrap().success());
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn all_layers_of_the_lock_down_are_shown() {
    let program = Program::at(env!("CARGO_BIN_EXE_converter"));
    let report = report(program, |report| !report.degraded).await;
    assert!(report.ready && !report.degraded, "{report:?}");
    for layer in [
        "sandbox: Landlock files",
        "sandbox: Landlock network",
        "sandbox: seccomp",
    ] {
        assert_eq!(report.checks[layer], "ok");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_the_kernel_lacks_is_shown_and_only_degrades() {
    let folder = tempfile::tempdir().unwrap();
    // What a child says on a kernel from before Landlock.
    let ready = format!(r#"{{"version":{PROTOCOL_VERSION},"missing":["Files","Network"]}}"#);
    let frame = format!(
        "#!/bin/sh\nprintf '\\001\\{:03o}\\000\\000\\000%s' '{ready}' >&0\nexec sleep 1000\n",
        ready.len()
    );
    let program = Program::at(script(folder.path(), &frame));
    let report = report(program, |report| report.checks["sandbox: seccomp"] == "ok").await;
    assert!(report.ready && report.degraded);
    assert_eq!(report.checks["sandbox: Landlock files"], "away");
    assert_eq!(report.checks["sandbox: Landlock network"], "away");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_cannot_be_a_child_is_trouble_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::at(script(folder.path(), "#!/bin/sh\nexit 1\n"));
    let bench = Bench::new();
    let converter = bench.converter(program.clone(), DeleteSource::Never);
    converter.start(&bench.life, &runtime::metrics::Metrics::default());
    let id = bench.upload(&media::sample("ogg-opus-mono"), Options::default()).await;
    let tried = async {
        loop {
            let job = bench.jobs.get(id).await.unwrap().unwrap();
            if job.attempts == 1 && job.state == JobState::Queued {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANG, tried)
        .await
        .expect("the job was never tried and put back");
    bench.stop().await;
    let report = report(program, |report| report.checks["conversion process"] == "away").await;
    assert!(report.ready && report.degraded);
}
