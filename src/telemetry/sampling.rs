//! Sampling, where a team wants it: decided when a call's server span ends, since only then is it known whether the
//! call is evidence. Calls that were rescued, refused, failed or restricted by policy are kept whole, whatever the
//! caller's flag; of the others, as many as the sampler says. A call is exported with all its spans or not at all.
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use opentelemetry::{
    Context, Value,
    trace::{Span as _, SpanId, SpanKind, TraceContextExt as _},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Sampler, SamplingDecision, ShouldSample as _, Span, SpanData, SpanProcessor},
};
use thiserror::Error;

use super::names;

/// Calls under way whose fate is open; of more calls than that, all are kept. An entry is some 64 bytes.
const CALLS: usize = 16_384;
/// Attempts that ended before their call, for all calls together; a call whose next would not fit is kept. A span is
/// some 2 KiB.
const ATTEMPTS: usize = 4_096;

/// A sampler that cannot be had.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum SamplerError {
    /// No sampler has this name.
    #[error("OTEL_TRACES_SAMPLER: there is no sampler {name:?}, so every call is traced")]
    Unknown {
        /// As it was given.
        name: String,
    },
    /// A ratio is missing or is none.
    #[error("OTEL_TRACES_SAMPLER_ARG: {argument:?} is no ratio from 0 to 1, so every call is traced")]
    Ratio {
        /// As it was given; empty if it was not.
        argument: String,
    },
}

/// What `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG` ask for. `None`: every call is traced, the default.
pub(super) fn sampler(name: Option<&str>, argument: Option<&str>) -> Result<Option<Sampler>, SamplerError> {
    let ratio = || {
        let argument = argument.unwrap_or_default();
        let ratio = argument.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        ratio.map(Sampler::TraceIdRatioBased).ok_or_else(|| SamplerError::Ratio { argument: argument.to_owned() })
    };
    let by_parent = |root: Sampler| Sampler::ParentBased(Box::new(root));
    Ok(Some(match name {
        None | Some("always_on") => return Ok(None),
        Some("always_off") => Sampler::AlwaysOff,
        Some("traceidratio") => ratio()?,
        Some("parentbased_always_on") => by_parent(Sampler::AlwaysOn),
        Some("parentbased_always_off") => by_parent(Sampler::AlwaysOff),
        Some("parentbased_traceidratio") => by_parent(ratio()?),
        Some(other) => return Err(SamplerError::Unknown { name: other.to_owned() }),
    }))
}

/// Holds back the attempts of a call until its server span ends, then hands all of them on, or none.
#[derive(Debug)]
pub(super) struct KeepWholeCalls<P> {
    next: P,
    others: Sampler,
    open: Mutex<OpenCalls>,
}

impl<P: SpanProcessor> KeepWholeCalls<P> {
    /// Hands what is kept to `next`; `others` decides on the calls that are no evidence.
    pub(super) fn new(next: P, others: Sampler) -> Self {
        Self { next, others, open: Mutex::new(OpenCalls::of(CALLS, ATTEMPTS)) }
    }

    fn open(&self) -> MutexGuard<'_, OpenCalls> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: SpanProcessor> SpanProcessor for KeepWholeCalls<P> {
    fn on_start(&self, span: &mut Span, parent: &Context) {
        let above = parent.span().span_context().clone();
        if !above.is_valid() || above.is_remote() {
            let context = span.span_context();
            let asked =
                self.others.should_sample(Some(parent), context.trace_id(), "", &SpanKind::Server, &[], &[]).decision;
            self.open().call_started(context.span_id(), asked == SamplingDecision::RecordAndSample);
        }
        self.next.on_start(span, parent);
    }

    fn on_end(&self, span: SpanData) {
        let attempt = span.parent_span_id != SpanId::INVALID && !span.parent_span_is_remote;
        let kept = if attempt { self.open().attempt_ended(span) } else { self.open().call_ended(span) };
        kept.into_iter().for_each(|span| self.next.on_end(span));
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.next.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.next.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.next.set_resource(resource);
    }
}

/// The calls under way, by server span. Those that did not fit are absent, and kept.
#[derive(Debug)]
struct OpenCalls {
    by_span: HashMap<SpanId, OpenCall>,
    held_back: usize,
    most_calls: usize,
    most_attempts: usize,
}

#[derive(Debug)]
struct OpenCall {
    /// Kept whatever it becomes.
    kept: bool,
    /// Attempts that ended; empty where it is kept, for those are handed on at once.
    attempts: Vec<SpanData>,
}

impl OpenCalls {
    fn of(most_calls: usize, most_attempts: usize) -> Self {
        Self { by_span: HashMap::new(), held_back: 0, most_calls, most_attempts }
    }

    fn call_started(&mut self, span: SpanId, kept: bool) {
        if self.by_span.len() < self.most_calls {
            self.by_span.insert(span, OpenCall { kept, attempts: vec![] });
        }
    }

    /// What is to be exported now.
    fn attempt_ended(&mut self, attempt: SpanData) -> Vec<SpanData> {
        let full = self.held_back >= self.most_attempts;
        let Some(call) = self.by_span.get_mut(&attempt.parent_span_id) else { return vec![attempt] };
        if !call.kept && !full {
            call.attempts.push(attempt);
            self.held_back += 1;
            return vec![];
        }
        call.kept = true;
        let mut whole = std::mem::take(&mut call.attempts);
        self.held_back -= whole.len();
        whole.push(attempt);
        whole
    }

    /// What is to be exported now.
    fn call_ended(&mut self, server: SpanData) -> Vec<SpanData> {
        let call = self.by_span.remove(&server.span_context.span_id());
        let OpenCall { kept, attempts: mut whole } = call.unwrap_or(OpenCall { kept: true, attempts: vec![] });
        self.held_back -= whole.len();
        if !kept && !is_evidence(&server) {
            return vec![];
        }
        whole.push(server);
        whole
    }
}

/// A call that was refused or failed, met a failure on its way, or was kept by policy from some target of its route.
fn is_evidence(server: &SpanData) -> bool {
    server.attributes.iter().any(|attribute| match (attribute.key.as_str(), &attribute.value) {
        (names::RPC_STATUS, code) => code.as_str() != "OK",
        (names::FAILOVER | names::POLICY_RESTRICTED, Value::Bool(so)) => *so,
        (names::ATTEMPT_COUNT, Value::I64(count)) => *count > 1,
        _ => false,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use opentelemetry::{
        KeyValue,
        trace::{SpanContext, TraceFlags, TraceId, TraceState, Tracer as _, TracerProvider as _},
    };
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::*;

    /// Receives what is kept.
    #[derive(Clone, Debug, Default)]
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl SpanProcessor for Kept {
        fn on_start(&self, _: &mut Span, _: &Context) {}
        fn on_end(&self, span: SpanData) {
            self.0.lock().unwrap().push(span.name.into_owned());
        }
        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }
        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    /// Calls of a service that samples as `others` says, and has so much room.
    struct Calls {
        provider: SdkTracerProvider,
        kept: Kept,
    }

    impl Calls {
        fn of(others: Sampler, room: (usize, usize)) -> Self {
            let kept = Kept::default();
            let mut processor = KeepWholeCalls::new(kept.clone(), others);
            processor.open = Mutex::new(OpenCalls::of(room.0, room.1));
            let provider =
                SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOn).with_span_processor(processor).build();
            Self { provider, kept }
        }

        /// The server span of a call whose caller samples its own trace, or does not.
        fn start(&self, name: &'static str, sampled_by_caller: bool) -> Context {
            let flags = if sampled_by_caller { TraceFlags::SAMPLED } else { TraceFlags::default() };
            let trace = TraceId::from(7);
            let caller = SpanContext::new(trace, SpanId::from(8), flags, true, TraceState::default());
            let parent = Context::new().with_remote_span_context(caller);
            Context::new().with_span(self.provider.tracer("t").start_with_context(name, &parent))
        }

        fn attempt(&self, name: &'static str, call: &Context) {
            self.provider.tracer("t").start_with_context(name, call).end();
        }

        fn end(call: &Context, tags: &[KeyValue]) {
            call.span().set_attributes(tags.iter().cloned());
            call.span().end();
        }

        fn kept(&self) -> Vec<String> {
            std::mem::take(&mut *self.kept.0.lock().unwrap())
        }
    }

    fn ok() -> KeyValue {
        KeyValue::new(names::RPC_STATUS, "OK")
    }

    #[test]
    fn evidence_is_kept_whole_whatever_the_sampler_and_the_callers_flag() {
        let calls = Calls::of(Sampler::AlwaysOff, (8, 8));
        let tags: [(&str, Vec<KeyValue>, bool); 7] = [
            ("an ordinary call", vec![ok(), KeyValue::new(names::FAILOVER, false)], false),
            ("one that was rescued", vec![ok(), KeyValue::new(names::FAILOVER, true)], true),
            ("one that was tried again at the same target", vec![ok(), KeyValue::new(names::ATTEMPT_COUNT, 2)], true),
            ("one that policy restricted", vec![ok(), KeyValue::new(names::POLICY_RESTRICTED, true)], true),
            ("one whose policy excluded nothing", vec![ok(), KeyValue::new(names::POLICY_RESTRICTED, false)], false),
            ("one that was refused", vec![KeyValue::new(names::RPC_STATUS, "PERMISSION_DENIED")], true),
            ("one that failed", vec![KeyValue::new(names::RPC_STATUS, "UNAVAILABLE")], true),
        ];
        for (which, tags, kept) in tags {
            for sampled_by_caller in [false, true] {
                let call = calls.start("call", sampled_by_caller);
                calls.attempt("first", &call);
                calls.attempt("second", &call);
                assert!(calls.kept().is_empty(), "{which}: nothing is told before the call's end");
                Calls::end(&call, &tags);
                let expected: &[&str] = if kept { &["first", "second", "call"] } else { &[] };
                assert_eq!(calls.kept(), expected, "{which}");
            }
        }
    }

    #[test]
    fn others_are_sampled_as_the_sampler_says() {
        let calls = Calls::of(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)), (8, 8));
        for (sampled_by_caller, expected) in [(true, vec!["attempt", "call"]), (false, vec![])] {
            let call = calls.start("call", sampled_by_caller);
            calls.attempt("attempt", &call);
            Calls::end(&call, &[ok()]);
            assert_eq!(calls.kept(), expected);
        }
    }

    #[test]
    fn two_calls_of_one_trace_are_decided_apart() {
        let calls = Calls::of(Sampler::AlwaysOff, (8, 8));
        let (ordinary, rescued) = (calls.start("ordinary", false), calls.start("rescued", false));
        calls.attempt("of the ordinary", &ordinary);
        calls.attempt("of the rescued", &rescued);
        Calls::end(&ordinary, &[ok()]);
        Calls::end(&rescued, &[ok(), KeyValue::new(names::FAILOVER, true)]);
        assert_eq!(calls.kept(), ["of the rescued", "rescued"]);
    }

    #[test]
    fn what_does_not_fit_is_kept_whole_and_room_comes_back() {
        let calls = Calls::of(Sampler::AlwaysOff, (1, 2));
        let never_ends = calls.start("never ends", false);
        let beyond = calls.start("beyond", false);
        calls.attempt("of the one beyond", &beyond);
        Calls::end(&beyond, &[ok()]);
        assert_eq!(calls.kept(), ["of the one beyond", "beyond"], "no room for a second call");
        for name in ["1", "2"] {
            calls.attempt(name, &never_ends);
        }
        assert!(calls.kept().is_empty());
        calls.attempt("3", &never_ends);
        assert_eq!(calls.kept(), ["1", "2", "3"], "no room for a third attempt");
        Calls::end(&never_ends, &[ok()]);
        assert_eq!(calls.kept(), ["never ends"], "its attempts are out, so is it");
        let next = calls.start("next", false);
        calls.attempt("of the next", &next);
        Calls::end(&next, &[ok()]);
        assert!(calls.kept().is_empty(), "room again");
    }

    #[test]
    fn samplers_by_their_names() {
        let told = |name, argument| format!("{:?}", sampler(name, argument));
        assert_eq!(told(None, None), "Ok(None)");
        assert_eq!(told(Some("always_on"), None), "Ok(None)");
        assert_eq!(told(Some("always_off"), None), "Ok(Some(AlwaysOff))");
        assert_eq!(told(Some("traceidratio"), Some("0.25")), "Ok(Some(TraceIdRatioBased(0.25)))");
        assert_eq!(
            told(Some("parentbased_traceidratio"), Some("0.1")),
            "Ok(Some(ParentBased(TraceIdRatioBased(0.1))))"
        );
        for wrong in [None, Some("2"), Some("-0.1"), Some("NaN"), Some("half")] {
            assert!(matches!(sampler(Some("traceidratio"), wrong), Err(SamplerError::Ratio { .. })), "{wrong:?}");
        }
        assert!(matches!(sampler(Some("jaeger_remote"), None), Err(SamplerError::Unknown { .. })));
    }
}
