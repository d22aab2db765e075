//! The `gateway` binary.

use std::process::ExitCode;

use adapters::{authn, blobs, jobs, queue};
use gateway::{Command, Ports, ServeSettings, Settings, commands};
use runtime::settings::{chain, parse_or_command, refuse, refuse_embedded};
use runtime::telemetry::{self, LogFormat};

#[tokio::main]
async fn main() -> ExitCode {
    runtime::install_tls_provider();
    match parse_or_command::<Settings>("serve").command {
        Command::Serve(settings) => serve(*settings).await,
        Command::Jobs { store, command } => {
            telemetry::init(LogFormat::Text);
            refuse_embedded(&[("JOBS_URL", &store.jobs_url)]);
            commands::jobs(command, made(jobs::connect(&store.jobs_url))).await
        }
        Command::Janitor { store, files, confirm } => {
            telemetry::init(LogFormat::Text);
            refuse_embedded(&[("JOBS_URL", &store.jobs_url), ("BLOBS_URL", &files.blobs_url)]);
            let jobs = made(jobs::connect(&store.jobs_url));
            commands::janitor(made(blobs::connect(&files.blobs_url)), jobs, confirm).await
        }
    }
}

async fn serve(settings: ServeSettings) -> ExitCode {
    telemetry::init(settings.log_format);
    let (jobs_url, blobs_url) = (&settings.jobs.jobs_url, &settings.blobs.blobs_url);
    refuse_embedded(&[
        ("JOBS_URL", jobs_url),
        ("BLOBS_URL", blobs_url),
        ("QUEUE_URL", &settings.queue_url),
    ]);
    let ports = Ports {
        authenticator: made(authn::connect(&settings.auth_svc_address)),
        blobs: made(blobs::connect(blobs_url)),
        jobs: made(jobs::connect(jobs_url)),
        queue: made(queue::connect(&settings.queue_url)),
    };
    gateway::serve(ports, settings).await
}

fn made<T>(connected: Result<T, adapters::ConnectError>) -> T {
    connected.unwrap_or_else(|error| refuse(chain(&error)))
}
