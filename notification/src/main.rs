//! The `notification` binary.

use std::process::ExitCode;
use std::time::Duration;

use notification::{Notification, Settings};
use runtime::metrics::Metrics;
use runtime::{Lifecycle, settings};

/// How long a mail may go on after SIGTERM before it is given back.
const GRACE: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> ExitCode {
    runtime::install_tls_provider();
    let settings: Settings = settings::parse();
    let telemetry = settings.operations.watch("notification");
    let notification = match connect(&settings) {
        Ok(notification) => notification,
        Err(message) => settings::refuse(message),
    };
    let life = Lifecycle::new();
    let metrics = Metrics::of_this_build();
    settings
        .operations
        .open(notification.readiness(), metrics.clone(), &life)
        .await;
    notification.start(&life, &metrics);
    let status = life.run_until_signal(GRACE).await;
    telemetry.end().await;
    status
}

fn connect(settings: &Settings) -> Result<Notification, String> {
    let unusable = |error: adapters::ConnectError| settings::chain(&error);
    Ok(Notification {
        jobs: adapters::jobs::connect(settings.backends.jobs.server()).map_err(unusable)?,
        blobs: adapters::blobs::connect(settings.backends.blobs.server()).map_err(unusable)?,
        queue: adapters::queue::connect(settings.backends.broker()).map_err(unusable)?,
        mp3_queue: settings.mp3_queue.clone(),
        others_may_tell: true,
        mailer: settings.mail.mailer()?,
        letterhead: settings.mail.letterhead(&settings.public_url)?,
    })
}
