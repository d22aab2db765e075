//! The `gateway` binary.

use std::process::ExitCode;

use adapters::{authn, blobs, jobs, queue};
use gateway::{Command, Ports, ServeSettings, Settings, commands};
use runtime::settings::{chain, parse_or_command, refuse};
use runtime::telemetry::{self, LogFormat};

#[tokio::main]
async fn main() -> ExitCode {
    runtime::install_tls_provider();
    match parse_or_command::<Settings>("serve").command {
        Command::Serve(settings) => serve(*settings).await,
        Command::Jobs { store, command } => {
            telemetry::init(LogFormat::Text);
            commands::jobs(command, made(jobs::connect(store.server()))).await
        }
        Command::Janitor { store, files, confirm } => {
            telemetry::init(LogFormat::Text);
            let jobs = made(jobs::connect(store.server()));
            commands::janitor(made(blobs::connect(files.server())), jobs, confirm).await
        }
    }
}

async fn serve(settings: ServeSettings) -> ExitCode {
    let telemetry = settings.operations.watch("gateway");
    let ports = Ports {
        authenticator: made(authn::connect(&settings.auth_svc_address)),
        blobs: made(blobs::connect(settings.backends.blobs.server())),
        jobs: made(jobs::connect(settings.backends.jobs.server())),
        queue: made(queue::connect(settings.backends.broker())),
    };
    let status = gateway::serve(ports, settings).await;
    telemetry.end().await;
    status
}

fn made<T>(connected: Result<T, adapters::ConnectError>) -> T {
    connected.unwrap_or_else(|error| refuse(chain(&error)))
}
