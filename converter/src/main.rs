//! The `converter` binary.

use std::process::ExitCode;
use std::time::Duration;

use converter::{Children, Converter, Settings};
use runtime::metrics::Metrics;
use runtime::{Lifecycle, settings};

/// How long a conversion may go on after SIGTERM before it is given back.
const GRACE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    media::child::run_if_child();
    run()
}

#[tokio::main]
async fn run() -> ExitCode {
    runtime::install_tls_provider();
    let settings: Settings = settings::parse();
    let telemetry = settings.operations.watch("converter");
    let converter = connect(&settings).unwrap_or_else(|error| settings::refuse(settings::chain(&error)));
    let life = Lifecycle::new();
    let metrics = Metrics::of_this_build();
    settings
        .operations
        .open(converter.readiness(), metrics.clone(), &life)
        .await;
    converter.start(&life, &metrics);
    let status = life.run_until_signal(GRACE).await;
    telemetry.end().await;
    status
}

fn connect(settings: &Settings) -> Result<Converter, adapters::ConnectError> {
    Ok(Converter {
        blobs: adapters::blobs::connect(settings.backends.blobs.server())?,
        jobs: adapters::jobs::connect(settings.backends.jobs.server())?,
        queue: adapters::queue::connect(settings.backends.broker())?,
        children: Children::new(&settings.conversion),
        video_queue: settings.video_queue.clone(),
        mp3_queue: settings.mp3_queue.clone(),
        settings: settings.conversion.clone(),
    })
}
