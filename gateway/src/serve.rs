//! `gateway serve`: the service as a process of its own.

use std::process::ExitCode;
use std::time::Duration;

use runtime::metrics::Metrics;
use runtime::{Lifecycle, settings};

use crate::{GatewayState, Ports, ServeSettings, router};

/// Serves until SIGTERM. Ends the process with one sentence when a port cannot be listened to.
pub async fn serve(ports: Ports, settings: ServeSettings) -> ExitCode {
    let life = Lifecycle::new();
    let metrics = Metrics::of_this_build();
    let state = GatewayState::new(ports, settings.gateway, life.clone(), &metrics);
    settings.operations.open(state.readiness(), metrics, &life).await;
    let listener = match settings::listen("MP3_LISTEN", settings.listen).await {
        Ok(listener) => listener,
        Err(error) => settings::refuse(settings::chain(&error)),
    };
    tracing::info!(address = %settings.listen, "serving");
    state.start();
    life.spawn(runtime::http::serve(listener, router(state), life.clone()));
    life.run_until_signal(Duration::from_secs(settings.shutdown_grace.into()))
        .await
}
