//! Logs on standard error, as text or JSON lines, and traces, handed to a collector where one is named.
//!
//! Every request and every job has a place in a trace, exported or not: the logs name it, and it goes along with the
//! work from service to service ([`trace`]).

mod collector;
pub mod trace;

use std::io::IsTerminal as _;
use std::time::Duration;

use opentelemetry::global;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

pub use collector::TraceSettings;

/// How long the last spans may take to be handed over at the end.
const FLUSH: Duration = Duration::from_secs(2);

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// What a service sees itself by, started by [`start`].
#[must_use = "the last spans are lost unless it is ended"]
pub struct Telemetry {
    /// Where spans are exported.
    exporting: Option<SdkTracerProvider>,
}

/// Starts the logging of a command.
///
/// Logs go to standard error: standard output belongs to what the user asked for.
pub fn init(format: LogFormat) {
    if registry().with(filter()).with(lines(format)).try_init().is_err() {
        tracing::debug!("logging is started already");
    }
}

/// Starts the logging and the tracing of `service`. Must be called within a tokio runtime.
///
/// Ends the process like [`refuse`](crate::settings::refuse) when the settings cannot be used.
pub fn start(service: &'static str, format: LogFormat, traces: &TraceSettings) -> Telemetry {
    global::set_text_map_propagator(TraceContextPropagator::new());
    let (provider, is_exported) = match traces.provider(service) {
        Some(provider) => (provider, true),
        None => (SdkTracerProvider::default(), false),
    };
    if registry()
        .with(filter())
        .with(spans(&provider))
        .with(lines(format))
        .try_init()
        .is_err()
    {
        tracing::debug!("logging is started already");
    }
    Telemetry {
        exporting: is_exported.then_some(provider),
    }
}

impl Telemetry {
    /// Hands over the last spans, for two seconds at most.
    pub async fn end(self) {
        let Some(provider) = self.exporting else { return };
        let flushed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH)).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::debug!("the last spans could not be handed over");
        }
    }
}

/// What is seen, in logs and in traces: `RUST_LOG` chooses; without it everything from `info` up, the drivers' from
/// `warn`. Errors are seen in any case, and so are the spans whose places are passed on.
///
/// One filter for all: filters of single layers lose spans next to a library that asks for itself what is enabled, as
/// sqlx does (<https://github.com/tokio-rs/tracing/issues/2519>).
fn filter() -> EnvFilter {
    let chosen = EnvFilter::try_from_default_env().ok();
    chosen
        .and_then(|chosen| seen(&chosen.to_string()))
        .unwrap_or_else(|| EnvFilter::new("info,lapin=off,mongodb=warn,sqlx=warn,hyper=warn,lettre=warn"))
}

fn seen(chosen: &str) -> Option<EnvFilter> {
    EnvFilter::try_new(format!("error,{chosen}")).ok()
}

/// The log lines.
fn lines<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let lines = fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .boxed(),
    }
}

/// The places in traces, with what is logged there.
fn spans<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("mp3converter"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_passed_on_whatever_is_left_out_of_the_log() {
        for chosen in ["warn", "error", "gateway=debug", "info,lapin=off"] {
            let provider = SdkTracerProvider::default();
            let subscriber = registry().with(seen(chosen).unwrap()).with(spans(&provider));
            let id = tracing::subscriber::with_default(subscriber, || trace::place(&tracing::error_span!("job"), None));
            assert!(id.is_some(), "{chosen}");
        }
    }
}
