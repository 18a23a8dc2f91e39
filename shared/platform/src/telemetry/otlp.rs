//! Spans on their way to an OpenTelemetry collector, over HTTP. Which trace a span belongs to is for `trace`.

use opentelemetry::Context;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider as _,
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, Registry};
use url::Url;

use contract::trace::TraceContext;

/// Sends spans in batches, and the last of them when it is dropped.
pub struct Exporter(SdkTracerProvider);

impl Exporter {
    pub fn start(
        endpoint: &Url,
        program: &'static str,
    ) -> Result<(Self, Box<dyn Layer<Registry> + Send + Sync>), String> {
        let url = format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/'));
        let exporter = SpanExporter::builder().with_http().with_endpoint(url).build();
        let exporter = exporter.map_err(|error| {
            format!("--otlp-endpoint (ORCHESTRATION_OTLP_ENDPOINT) cannot be used: {error}")
        })?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(Resource::builder().with_service_name(program).build())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer(program)).boxed();
        Ok((Self(provider), layer))
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(%error, "the last spans did not reach the collector");
        }
    }
}

/// Links a log span to its parent's trace and returns the ids under which it is exported; `None` where spans are not
/// exported.
pub fn start(span: &Span, parent: Option<TraceContext>) -> Option<TraceContext> {
    if let Some(parent) = parent {
        let (trace_id, span_id) = (TraceId::from(parent.trace_id), SpanId::from(parent.span_id));
        let flags = TraceFlags::new(parent.flags);
        let parent = SpanContext::new(trace_id, span_id, flags, true, TraceState::default());
        span.set_parent(Context::new().with_remote_span_context(parent)).ok()?;
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then(|| TraceContext {
        trace_id: u128::from_be_bytes(context.trace_id().to_bytes()),
        span_id: u64::from_be_bytes(context.span_id().to_bytes()),
        flags: context.trace_flags().to_u8(),
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc;
    use std::time::Duration;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    /// A collector that takes one request, and tells its head and body.
    fn collector() -> (Url, mpsc::Receiver<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (told, hear) = mpsc::channel();
        std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let mut taken = Vec::new();
            let mut piece = [0; 4096];
            while let Ok(read @ 1..) = client.read(&mut piece) {
                taken.extend_from_slice(&piece[..read]);
            }
            client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            told.send(taken).unwrap();
        });
        (url, hear)
    }

    fn holds(taken: &[u8], what: &[u8]) -> bool {
        taken.windows(what.len()).any(|window| window == what)
    }

    #[test]
    fn a_span_reaches_the_collector_as_the_step_of_its_trace() {
        let (url, hear) = collector();
        let (exporter, layer) = Exporter::start(&url, "orchestration-test").unwrap();
        let from: TraceContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
        let step = tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::error_span!("request", trace_id = tracing::field::Empty);
            start(&span, Some(from)).unwrap()
        });
        assert_eq!(step.trace_id(), from.trace_id());
        assert_ne!(step.span_id, from.span_id);
        drop(exporter);
        let taken = hear.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(taken.starts_with(b"POST /v1/traces HTTP/1.1\r\n"), "{}", String::from_utf8_lossy(&taken));
        for part in [
            &step.trace_id.to_be_bytes()[..],
            &step.span_id.to_be_bytes(),
            &from.span_id.to_be_bytes(),
            b"request",
            b"orchestration-test",
        ] {
            assert!(holds(&taken, part), "{part:?}");
        }
    }

    #[test]
    fn where_nothing_is_sent_a_step_is_made_here() {
        assert_eq!(start(&Span::none(), None), None);
    }
}
