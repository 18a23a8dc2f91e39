//! The export of spans to an OpenTelemetry collector, over HTTP. `crate::trace` decides which trace a span
//! belongs to.

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

/// Sends spans in batches, and flushes the buffer when it is dropped.
pub(crate) struct Exporter(SdkTracerProvider);

impl Exporter {
    pub(crate) fn start(
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
            tracing::warn!(%error, "OTLP flush failed");
        }
    }
}

/// Links a log span to its parent's trace and returns the ids under which it is exported; `None` where spans
/// are not exported.
pub(crate) fn start(span: &Span, parent: Option<TraceContext>) -> Option<TraceContext> {
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

    /// A collector that accepts one request and passes on its head and body.
    fn collector() -> (Url, mpsc::Receiver<Vec<u8>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let (sender, received) = mpsc::channel();
        std::thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            client.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            let mut request = Vec::new();
            let mut chunk = [0; 4096];
            while let Ok(read @ 1..) = client.read(&mut chunk) {
                request.extend_from_slice(&chunk[..read]);
            }
            client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            sender.send(request).unwrap();
        });
        (url, received)
    }

    fn contains(request: &[u8], bytes: &[u8]) -> bool {
        request.windows(bytes.len()).any(|window| window == bytes)
    }

    #[test]
    fn an_exported_span_is_a_child_in_its_trace() {
        let (url, received) = collector();
        let (exporter, layer) = Exporter::start(&url, "orchestration-test").unwrap();
        let parent: TraceContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
        let child = tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::error_span!("request", trace_id = tracing::field::Empty);
            start(&span, Some(parent)).unwrap()
        });
        assert_eq!(child.trace_id(), parent.trace_id());
        assert_ne!(child.span_id, parent.span_id);
        drop(exporter);
        let request = received.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(
            request.starts_with(b"POST /v1/traces HTTP/1.1\r\n"),
            "{}",
            String::from_utf8_lossy(&request)
        );
        for part in [
            &child.trace_id.to_be_bytes()[..],
            &child.span_id.to_be_bytes(),
            &parent.span_id.to_be_bytes(),
            b"request",
            b"orchestration-test",
        ] {
            assert!(contains(&request, part), "{part:?}");
        }
    }

    #[test]
    fn without_an_exporter_there_is_no_exported_span() {
        assert_eq!(start(&Span::none(), None), None);
    }
}
