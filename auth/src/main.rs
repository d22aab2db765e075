//! The `auth` binary.

use std::process::ExitCode;
use std::time::Duration;

use auth::{Auth, Command, Settings, users_command};
use runtime::telemetry::LogFormat;
use runtime::{Lifecycle, settings, telemetry};

/// How long requests at hand have after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> ExitCode {
    runtime::install_tls_provider();
    let settings: Settings = settings::parse();
    let users_url = settings
        .users
        .url()
        .unwrap_or_else(|sentence| settings::refuse(sentence));
    let users_url = settings::server("USERS_URL", &users_url);
    if let Some(Command::User { command }) = settings.command {
        telemetry::init(LogFormat::Text);
        return users_command::run(command, connect(users_url)).await;
    }

    let telemetry = telemetry::start("auth", settings.log_format, &settings.service.traces);
    let life = Lifecycle::new();
    let auth = Auth::new(connect(users_url), &settings.service).unwrap_or_else(|sentence| settings::refuse(sentence));
    if let Err(error) = auth.start(&settings.service, &life).await {
        settings::refuse(settings::chain(&error));
    }
    let status = life.run_until_signal(GRACE).await;
    telemetry.end().await;
    status
}

fn connect(users_url: &domain::BackendUrl) -> std::sync::Arc<dyn domain::UserStore> {
    adapters::users::connect(users_url).unwrap_or_else(|error| settings::refuse(settings::chain(&error)))
}
