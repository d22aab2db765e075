//! The `converter` binary.

use std::process::ExitCode;
use std::time::Duration;

use converter::{Converter, Settings};
use runtime::metrics::Metrics;
use runtime::{Lifecycle, probes, settings, telemetry};

/// How long a conversion may go on after SIGTERM before it is given back.
const GRACE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> ExitCode {
    runtime::install_tls_provider();
    let settings: Settings = settings::parse();
    telemetry::init(settings.log_format);
    settings::refuse_embedded(&[
        ("BLOBS_URL", &settings.blobs_url),
        ("JOBS_URL", &settings.jobs_url),
        ("QUEUE_URL", &settings.queue_url),
    ]);
    let converter = connect(&settings).unwrap_or_else(|error| settings::refuse(settings::chain(&error)));
    let life = Lifecycle::new();
    let metrics = Metrics::default();
    if let Err(error) = probes::serve(settings.ops_listen, converter.readiness(), metrics.clone(), &life).await {
        settings::refuse(format!(
            "cannot listen on MP3_OPS_LISTEN={}: {error}",
            settings.ops_listen
        ));
    }
    converter.start(&life, &metrics);
    life.run_until_signal(GRACE).await
}

fn connect(settings: &Settings) -> Result<Converter, adapters::ConnectError> {
    Ok(Converter {
        blobs: adapters::blobs::connect(&settings.blobs_url)?,
        jobs: adapters::jobs::connect(&settings.jobs_url)?,
        queue: adapters::queue::connect(&settings.queue_url)?,
        video_queue: settings.video_queue.clone(),
        mp3_queue: settings.mp3_queue.clone(),
        settings: settings.conversion.clone(),
    })
}
