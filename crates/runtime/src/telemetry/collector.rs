//! Who spans are handed to: a collector that speaks OTLP over HTTP.

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::Uri;
use clap::Args;
use opentelemetry::KeyValue;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;

use crate::settings;

/// How long one export may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Where traces go. What is not here is told by the variables of OpenTelemetry, such as `OTEL_TRACES_SAMPLER` and
/// `OTEL_RESOURCE_ATTRIBUTES`.
///
/// Source: OpenTelemetry Protocol Exporter,
/// <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>.
#[derive(Clone, Debug, Default, Args)]
pub struct TraceSettings {
    /// Who takes traces: a collector that speaks OTLP over plain HTTP, such as `http://collector:4318`. Without it none
    /// are exported.
    #[arg(long, env, value_name = "URL", hide_env_values = true)]
    pub otel_exporter_otlp_endpoint: Option<CollectorUrl>,
    /// What this service is called in traces; by default like its program.
    #[arg(long, env, value_name = "NAME")]
    pub otel_service_name: Option<String>,
}

/// The base address of a collector: `http`, and no login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorUrl(Uri);

/// The text is no address of a collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the address of a collector that speaks OTLP over plain HTTP, such as http://collector:4318")]
pub struct InvalidCollectorUrl;

impl FromStr for CollectorUrl {
    type Err = InvalidCollectorUrl;

    fn from_str(text: &str) -> Result<Self, InvalidCollectorUrl> {
        let uri: Uri = text.parse().map_err(|_| InvalidCollectorUrl)?;
        let has_login = uri.authority().is_none_or(|authority| authority.as_str().contains('@'));
        if uri.scheme_str() != Some("http") || has_login || uri.query().is_some() {
            return Err(InvalidCollectorUrl);
        }
        Ok(Self(uri))
    }
}

impl CollectorUrl {
    fn of_traces(&self) -> String {
        format!("{}/v1/traces", self.0.to_string().trim_end_matches('/'))
    }
}

impl TraceSettings {
    /// What hands spans of `service` over in the background, unless nobody takes them. Ends the process like
    /// [`refuse`](settings::refuse) when that cannot be made.
    pub(super) fn provider(&self, service: &'static str) -> Option<SdkTracerProvider> {
        let url = self.otel_exporter_otlp_endpoint.as_ref()?;
        let collector = Collector {
            client: HyperClient::with_default_connector(DEADLINE, None),
            runtime: Handle::current(),
            is_away: AtomicBool::new(false),
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(url.of_traces())
            .with_timeout(DEADLINE)
            .with_http_client(collector)
            .build();
        let exporter = exporter.unwrap_or_else(|error| settings::refuse(settings::chain(&error)));
        let name = self.otel_service_name.clone().unwrap_or_else(|| service.to_owned());
        let resource = Resource::builder()
            .with_service_name(name)
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder().with_resource(resource);
        Some(provider.with_batch_exporter(exporter).build())
    }
}

/// The way to the collector. Spans are exported from a thread of their own, which has no runtime: what is sent is sent
/// on the service's.
#[derive(Debug)]
struct Collector {
    client: HyperClient,
    runtime: Handle,
    /// The last export failed, and was told.
    is_away: AtomicBool,
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        let sending = self.runtime.spawn(async move { client.send_bytes(request).await });
        let answer = sending.await.unwrap_or_else(|stopped| Err(stopped.into()));
        let trouble = match &answer {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("status {}", response.status())),
            Err(error) => Some(domain::Chain(&**error).to_string()),
        };
        if let Some(error) = &trouble
            && !self.is_away.load(Ordering::Relaxed)
        {
            tracing::warn!(error, "the collector takes no traces; they are dropped until it does");
        }
        self.is_away.store(trouble.is_some(), Ordering::Relaxed);
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_go_to_the_path_below_the_collectors_address() {
        for (address, expected) in [
            ("http://collector:4318", "http://collector:4318/v1/traces"),
            ("http://collector:4318/", "http://collector:4318/v1/traces"),
            ("http://[::1]/otlp/", "http://[::1]/otlp/v1/traces"),
        ] {
            assert_eq!(address.parse::<CollectorUrl>().unwrap().of_traces(), expected);
        }
    }

    #[test]
    fn nothing_else_is_a_collectors_address() {
        for address in [
            "",
            "collector",
            "collector:4318",
            "/v1/traces",
            "https://collector:4318",
            "grpc://collector:4317",
            "http://user:secret@collector:4318",
            "http://collector/?token=secret",
        ] {
            assert_eq!(address.parse::<CollectorUrl>(), Err(InvalidCollectorUrl), "{address}");
        }
    }
}
