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

use crate::trace::Trace;

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

/// The step that a span stands for, with the ids under which it is sent; none where spans are not sent.
pub fn step(span: &Span, from: Option<Trace>) -> Option<Trace> {
    if let Some(Trace { id, span: before, flags }) = from {
        let (id, before) = (TraceId::from(id), SpanId::from(before));
        let before = SpanContext::new(id, before, TraceFlags::new(flags), true, TraceState::default());
        span.set_parent(Context::new().with_remote_span_context(before)).ok()?;
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    context.is_valid().then(|| Trace {
        id: u128::from_be_bytes(context.trace_id().to_bytes()),
        span: u64::from_be_bytes(context.span_id().to_bytes()),
        flags: context.trace_flags().to_u8(),
    })
}
