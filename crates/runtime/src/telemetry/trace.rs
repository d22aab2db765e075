//! Places in traces, by W3C Trace Context: taken from whoever asks, and passed on to whoever goes on.

use std::collections::HashMap;

use domain::TraceParent;
use opentelemetry::global;
use opentelemetry::trace::TraceContextExt as _;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Where the current span is, for what is to go on from here elsewhere. None where no tracing was
/// [started](super::start).
pub fn current() -> Option<TraceParent> {
    let mut carrier = HashMap::new();
    let context = Span::current().context();
    global::get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut carrier));
    carrier.get(TraceParent::HEADER)?.parse().ok()
}

/// Puts a new span, which nobody has entered yet, below `parent`, where there is one, and notes its trace in its field
/// `trace_id`, where it has one.
///
/// Returns the id of the trace: 32 hexadecimal digits.
pub fn place(span: &Span, parent: Option<&TraceParent>) -> Option<String> {
    if let Some(parent) = parent {
        let carrier = HashMap::from([(TraceParent::HEADER.to_owned(), parent.as_str().to_owned())]);
        let context = global::get_text_map_propagator(|propagator| propagator.extract(&carrier));
        // An error means that the span is seen by nobody.
        let _unseen = span.set_parent(context);
    }
    let context = span.context();
    let place = context.span().span_context().clone();
    let id = place.is_valid().then(|| place.trace_id().to_string())?;
    span.record("trace_id", tracing::field::display(&id));
    Some(id)
}

/// Calls a span by this name where it is exported.
pub fn rename(span: &Span, name: String) {
    span.context().span().update_name(name);
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn traced<T>(what: impl FnOnce() -> T) -> T {
        global::set_text_map_propagator(TraceContextPropagator::new());
        let provider = SdkTracerProvider::default();
        let subscriber = tracing_subscriber::registry().with(super::super::spans(&provider));
        tracing::subscriber::with_default(subscriber, what)
    }

    #[test]
    fn what_is_below_a_placed_span_goes_on_in_its_trace() {
        let parent: TraceParent = format!("00-{TRACE}-00f067aa0ba902b7-01").parse().unwrap();
        let (id, below) = traced(|| {
            let span = tracing::info_span!("request");
            let id = place(&span, Some(&parent));
            let below = span.in_scope(|| tracing::info_span!("job").in_scope(current));
            (id, below.unwrap())
        });
        assert_eq!(id.as_deref(), Some(TRACE));
        assert!(below.as_str().starts_with(&format!("00-{TRACE}-")), "{below:?}");
        assert_ne!(below, parent);
    }

    #[test]
    fn a_span_without_a_parent_begins_a_trace() {
        let (one, other) = traced(|| {
            let place = || place(&tracing::info_span!("request"), None);
            (place().unwrap(), place().unwrap())
        });
        assert_ne!(one, other);
        assert_eq!(one.len(), 32);
    }

    #[test]
    fn without_tracing_there_is_no_place() {
        assert_eq!(place(&tracing::info_span!("request"), None), None);
        assert_eq!(current(), None);
    }
}
