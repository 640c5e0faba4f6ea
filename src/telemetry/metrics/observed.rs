//! What is read when somebody looks: the router's state. One collection takes one snapshot, however many instruments
//! read it.
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use opentelemetry::{KeyValue, Value, metrics::Meter};
use sealane_core::{
    domain::{Moment, Target},
    router::{Alarm, ModelView, Overlay, Snapshot, Standing, TargetView},
};

use super::{Instrument, gauge, table, total};

/// The router's state and the calendar time at which it was so.
#[derive(Clone, Debug)]
pub struct RouterView {
    /// The state.
    pub snapshot: Snapshot,
    /// When it was taken.
    pub at: SystemTime,
    /// Of each configured resource.
    pub credentials: Vec<CredentialState>,
}

/// How a resource's credential stands.
#[derive(Clone, Debug)]
pub struct CredentialState {
    /// Configured name of the resource.
    pub resource: Arc<str>,
    /// It cannot be renewed.
    pub failing: bool,
    /// How long the token in use is still good; `None` for keys, and without a token.
    pub left: Option<Duration>,
}

/// The instruments of one collection are read within this.
const ONE_COLLECTION: Duration = Duration::from_millis(20);

/// Asks `look` once for a collection.
struct Source {
    look: Box<dyn Fn() -> Option<RouterView> + Send + Sync>,
    last: Mutex<Option<(Instant, Arc<RouterView>)>>,
}

impl Source {
    fn view(&self) -> Option<Arc<RouterView>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((taken, view)) = &*last
            && taken.elapsed() < ONE_COLLECTION
        {
            return Some(Arc::clone(view));
        }
        let view = Arc::new((self.look)()?);
        *last = Some((Instant::now(), Arc::clone(&view)));
        Some(view)
    }
}

type Put<'a> = &'a mut dyn FnMut(f64, &[KeyValue]);

/// Registers every instrument that is read from the router.
pub(super) fn watch(meter: &Meter, look: impl Fn() -> Option<RouterView> + Send + Sync + 'static) {
    let source = Arc::new(Source { look: Box::new(look), last: Mutex::new(None) });
    let shown = |row: &Instrument, read: fn(&RouterView, Put<'_>)| {
        let source = Arc::clone(&source);
        let read = move |put: Put<'_>| source.view().iter().for_each(|view| read(view, put));
        match row.kind {
            table::Kind::Counter => total(meter, row, read),
            table::Kind::Gauge | table::Kind::Histogram(_) => gauge(meter, row, read),
        }
    };
    shown(&table::STANDING, |view, put| each(view, put, standings));
    shown(&table::OVERLAY, |view, put| each(view, put, overlays));
    shown(&table::LEVEL, |view, put| number(view, put, |target| Some(f64::from(target.level))));
    shown(&table::TRAFFIC_SHARE, |view, put| number(view, put, |target| Some(target.share)));
    shown(&table::IN_FLIGHT, |view, put| number(view, put, |target| Some(f64::from(target.in_flight))));
    shown(&table::REMAINING_TOKENS, |view, put| {
        number(view, put, |target| target.quota.remaining_tokens.map(|left| left as f64));
    });
    shown(&table::LAST_SUCCESS, |view, put| {
        number(view, put, |target| target.last_success.map(|at| calendar_seconds(view, at)));
    });
    shown(&table::TEST_CALLS, |view, put| number(view, put, |target| Some(target.tests.0 as f64)));
    shown(&table::TEST_CALLS_PASSED, |view, put| number(view, put, |target| Some(target.tests.1 as f64)));
    shown(&table::TEST_TOKENS, |view, put| number(view, put, |target| Some(target.test_tokens as f64)));
    shown(&table::TEST_TOKENS_LEFT, |view, put| put(view.snapshot.test_tokens_left as f64, &[]));
    shown(&table::SERVABLE, |view, put| model(view, put, |model| f64::from(u8::from(model.active.is_some()))));
    shown(&table::READY_STANDBYS, |view, put| model(view, put, |model| f64::from(model.ready_standbys)));
    shown(&table::PINNED_WORKFLOWS, |view, put| model(view, put, |model| model.pinned_workflows as f64));
    shown(&table::ALARMS, alarms);
    shown(&table::CREDENTIAL_FAILING, |view, put| {
        for credential in &view.credentials {
            put(f64::from(u8::from(credential.failing)), &[label("resource", &credential.resource)]);
        }
    });
    shown(&table::TOKEN_LEFT, |view, put| {
        for credential in &view.credentials {
            let left = credential.left.iter();
            left.for_each(|left| put(left.as_secs_f64(), &[label("resource", &credential.resource)]));
        }
    });
    shown(&table::OFF_PIN, |view, put| {
        for (cause, calls) in &view.snapshot.off_pin {
            put(*calls as f64, &[KeyValue::new("cause", *cause)]);
        }
    });
}

fn label(name: &'static str, value: &Arc<str>) -> KeyValue {
    KeyValue::new(name, Value::String(Arc::clone(value).into()))
}

fn of(target: &Target) -> [KeyValue; 4] {
    [
        label("region", &target.region),
        label("resource", &target.resource),
        label("deployment", &target.deployment),
        label("model", &target.model),
    ]
}

fn each(view: &RouterView, put: Put<'_>, tell: fn(&TargetView, Put<'_>)) {
    view.snapshot.targets.iter().for_each(|target| tell(target, put));
}

fn number(view: &RouterView, put: Put<'_>, read: impl Fn(&TargetView) -> Option<f64>) {
    for target in &view.snapshot.targets {
        if let Some(value) = read(target) {
            put(value, &of(&target.target));
        }
    }
}

fn model(view: &RouterView, put: Put<'_>, read: impl Fn(&ModelView) -> f64) {
    for model in &view.snapshot.models {
        put(read(model), &[label("model", &model.route.model)]);
    }
}

/// One series for each state, so that a change is seen on both sides.
fn states(target: &TargetView, name: &'static str, states: &[&'static str], now: Option<&str>, put: Put<'_>) {
    let [region, resource, deployment, model] = of(&target.target);
    for state in states {
        let by = [region.clone(), resource.clone(), deployment.clone(), model.clone(), KeyValue::new(name, *state)];
        put(f64::from(u8::from(now == Some(*state))), &by);
    }
}

fn standings(target: &TargetView, put: Put<'_>) {
    let all = [Standing::Serving, Standing::Suspected, Standing::Out { level: 0 }, Standing::Returning { step: 0 }];
    states(target, "standing", &all.map(Standing::as_str), Some(target.standing.as_str()), put);
}

fn overlays(target: &TargetView, put: Put<'_>) {
    let now = target.overlay.as_ref().map(Overlay::as_str);
    states(target, "overlay", &Overlay::WORDS, now, put);
}

fn alarms(view: &RouterView, put: Put<'_>) {
    let mut standing: BTreeMap<&'static str, u32> = Alarm::KINDS.iter().map(|kind| (*kind, 0)).collect();
    for alarm in &view.snapshot.alarms {
        *standing.entry(alarm.as_str()).or_default() += 1;
    }
    for (kind, count) in standing {
        put(f64::from(count), &[KeyValue::new("alarm", kind)]);
    }
}

fn calendar_seconds(view: &RouterView, moment: Moment) -> f64 {
    let then = view.at.checked_sub(view.snapshot.at.since(moment)).unwrap_or(UNIX_EPOCH);
    then.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
