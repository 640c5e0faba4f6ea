//! What the service writes into its journal, for calls of every kind and end, and what it does when it cannot.
use std::time::Duration;

use sealane::{
    audit::{Attempt, AttemptKind, Event, Filter, Journal, Record, Settings, attempts, records},
    grpc::pb,
    identity::CallerSettings,
};
use sealane_core::{
    domain::{FailureKind, ProcessingScope},
    policy::Policy,
    quota::Allowance,
};
use tonic::{Request, metadata::MetadataValue};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::{
    check,
    disk::{Disk, Fault},
    events, open, settings,
};
use crate::support::{
    scripted::{Line, Scripted},
    service::{Service, Wanted, caller, embed, eventually, hi, told, with_token},
};

/// A service and its journal.
struct Recorded {
    service: Service,
    journal: Journal,
    disk: Disk,
}

impl Recorded {
    async fn start(upstream: Scripted, wanted: Wanted) -> Self {
        Self::start_with(upstream, wanted, settings()).await
    }

    async fn start_with(upstream: Scripted, wanted: Wanted, settings: Settings) -> Self {
        let disk = Disk::default();
        let journal = open(&disk, settings).unwrap();
        let wanted = Wanted { journal: Some(journal.clone()), ..wanted };
        Self { service: Service::start_as(upstream, wanted).await, journal, disk }
    }

    /// Every attempt and refusal, oldest first, after a proper end.
    async fn rows(&self) -> Vec<Attempt> {
        self.journal.close().await;
        assert_eq!(check(&self.disk).problems, []);
        let (rows, findings) = attempts(&self.disk, &Filter::default()).unwrap();
        assert_eq!(findings.open_attempts, 0);
        rows
    }

    /// The same in words: `region reason result`.
    async fn told(&self) -> Vec<String> {
        self.rows().await.iter().map(tell).collect()
    }

    fn events(&self) -> Vec<Event> {
        let mut all = Vec::new();
        records(&self.disk, &Filter::default(), &mut |_, record: &Record, _| {
            all.push(record.event.clone());
            Ok(())
        })
        .unwrap();
        all
    }
}

fn tell(row: &Attempt) -> String {
    match &row.kind {
        AttemptKind::Sent { intent, .. } => format!("{} {} {}", intent.place.region, intent.reason, row.result()),
        AttemptKind::Denied { decision } => {
            format!("denied {}", decision.reason.as_ref().map(ToString::to_string).unwrap_or_default())
        }
    }
}

#[tokio::test]
async fn a_rescued_call_has_two_attempts_and_each_its_end() {
    let upstream = Scripted::default().with("swedencentral", [Line::Fails(FailureKind::ServerError)]);
    let recorded = Recorded::start(upstream, Wanted::default()).await;
    let mut request = Request::new(hi());
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.metadata_mut().insert("traceparent", trace.parse().unwrap());
    request.get_mut().routing.get_or_insert_default().workflow_id = "run-7".into();
    recorded.service.inference().await.complete(request).await.unwrap();

    let rows = recorded.rows().await;
    let told: Vec<_> = rows.iter().map(tell).collect();
    assert_eq!(told, ["swedencentral route failed", "francecentral rescue served"]);
    let [
        AttemptKind::Sent { intent: first, outcome: Some(failed) },
        AttemptKind::Sent { intent: second, outcome: Some(served) },
    ] = [&rows[0].kind, &rows[1].kind]
    else {
        panic!("{rows:?}")
    };
    assert_eq!(second.failover_of.as_ref(), Some(&first.attempt));
    assert_eq!((first.attempt_number, second.attempt_number), (1, 2));
    assert_eq!(first.call, second.call, "one call");
    assert_eq!(first.call.trace_id.as_ref().unwrap().as_str(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(first.call.workflow.as_ref().unwrap().as_str(), "run-7");
    assert_eq!((first.call.operation.as_str(), first.call.policy.as_str()), ("chat", "unrestricted"));
    let permitted: Vec<_> = first.call.permitted.iter().map(|region| region.as_str()).collect();
    assert_eq!(permitted, ["swedencentral", "francecentral"]);
    assert_eq!(failed.failure.as_ref().unwrap().as_str(), "server_error");
    assert_eq!(served.reported_region.as_ref().unwrap().as_str(), "FRANCECENTRAL", "as Azure wrote it");
    assert_eq!(first.standing.as_ref().unwrap().as_str(), "serving");
    assert!(first.call.request_bytes > 0 && first.call.request_mac.is_none(), "no key, no MAC");
    assert!(failed.response_id.is_none() && served.response_id.is_some());
    assert!(served.output_tokens > 0 && served.first_content_us.is_some() && served.model_version.is_some());
    assert!(recorded.events().iter().any(|event| matches!(event, Event::Admit(_))));
}

#[tokio::test]
async fn streams_and_embeddings_are_recorded_too() {
    let reset = FailureKind::Reset;
    let upstream = Scripted::default().with("swedencentral", [Line::Breaks("half an answer", reset), Line::Says("x")]);
    let recorded = Recorded::start(upstream, Wanted::default()).await;
    let mut client = recorded.service.inference().await;
    let mut restart = hi();
    restart.routing.get_or_insert_default().on_interruption = pb::OnInterruption::Restart as i32;
    let mut events = client.complete_stream(restart).await.unwrap().into_inner();
    while events.message().await.unwrap().is_some() {}
    client.embed(embed(&["a text"])).await.unwrap();
    let expected =
        ["swedencentral route failed", "francecentral restart served", "swedencentral route served"].map(str::to_owned);
    assert_eq!(recorded.told().await, expected);
}

#[tokio::test]
async fn a_caller_that_leaves_closes_the_record_of_its_attempt() {
    for line in [Line::Hangs, Line::Stalls("half an answer")] {
        let upstream = Scripted::default().with("swedencentral", [line.clone()]);
        let recorded = Recorded::start(upstream, Wanted::default()).await;
        let mut client = recorded.service.inference().await;
        let call = tokio::spawn(async move {
            let mut events = client.complete_stream(hi()).await?.into_inner();
            while events.message().await?.is_some() {}
            Ok::<_, tonic::Status>(())
        });
        eventually("the attempt is under way", async || recorded.service.upstream.open() == 1).await;
        call.abort();
        eventually("the attempt is given up", async || recorded.service.upstream.open() == 0).await;
        let rows = recorded.rows().await;
        assert_eq!(rows.iter().map(tell).collect::<Vec<_>>(), ["swedencentral route cancelled"], "{line:?}");
        let AttemptKind::Sent { outcome: Some(outcome), .. } = &rows[0].kind else { panic!("{rows:?}") };
        assert!(outcome.maybe_billed && outcome.duration_us > 0, "{outcome:?}");
    }
}

#[tokio::test]
async fn refusals_are_evidence() {
    let us = Policy { name: "us-only".into(), boundaries: vec!["us".into()], ..Policy::unrestricted() };
    let regional = Policy { name: "narrow".into(), max_scope: ProcessingScope::Regional, ..Policy::unrestricted() };
    let once = Allowance { calls_per_minute: Some(1), ..Allowance::default() };
    let callers = vec![
        CallerSettings { policy: us.into(), ..caller("a", "token-a") },
        CallerSettings { policy: regional.into(), ..caller("b", "token-b") },
        CallerSettings { allowance: once, models: Some(vec!["gpt-4o".into()]), ..caller("limited", "token-limited") },
    ];
    let recorded = Recorded::start(Scripted::default(), Wanted { callers, ..Wanted::default() }).await;
    let mut client = recorded.service.inference().await;
    let mut asked = async |token: Option<&str>| {
        let mut request = Request::new(hi());
        if let Some(token) = token {
            let value: MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        client.complete(request).await.map_or_else(|status| told(&status), |_| "served".into())
    };
    assert_eq!(asked(None).await, "Unauthenticated MISSING_TOKEN");
    assert_eq!(asked(Some("token-c")).await, "Unauthenticated INVALID_TOKEN");
    assert_eq!(asked(Some("token-a")).await, "FailedPrecondition NO_ELIGIBLE_REGION");
    assert_eq!(asked(Some("token-b")).await, "served");
    let mut operator = recorded.service.operator().await;
    let mut release = Request::new(pb::ReleaseRequest::default());
    release.metadata_mut().insert("authorization", "Bearer token-b".parse().unwrap());
    assert_eq!(told(&operator.release(release).await.unwrap_err()), "PermissionDenied NOT_AN_OPERATOR");
    let other_model = with_token("token-limited", embed(&["text"]));
    let refused = recorded.service.inference().await.embed(other_model).await.unwrap_err();
    assert_eq!(told(&refused), "PermissionDenied MODEL_NOT_ALLOWED");
    assert_eq!(asked(Some("token-limited")).await, "served");
    assert_eq!(asked(Some("token-limited")).await, "ResourceExhausted CALLER_QUOTA_EXCEEDED");

    let rows = recorded.rows().await;
    let said: Vec<_> = rows.iter().map(|row| format!("{}: {}", row.call().caller, tell(row))).collect();
    let expected = [
        ": denied MISSING_TOKEN",
        ": denied INVALID_TOKEN",
        "a: denied NO_ELIGIBLE_REGION",
        "b: swedencentral route served",
        "b: denied NOT_AN_OPERATOR",
        "limited: denied MODEL_NOT_ALLOWED",
        "limited: swedencentral route served",
        "limited: denied CALLER_QUOTA_EXCEEDED",
    ];
    assert_eq!(said, expected);
    let AttemptKind::Denied { decision } = &rows[2].kind else { panic!("{rows:?}") };
    let refused: Vec<_> = decision.refused.iter().map(|one| one.as_str()).collect();
    let why = "outside the policy's data boundaries";
    let targets = ["swedencentral/gpt-4o-deployment", "francecentral/gpt-4o-deployment"];
    assert_eq!(refused, targets.map(|target| format!("{target}: {why}")));
    assert_eq!(recorded.service.upstream.regions_seen(), ["swedencentral", "swedencentral"]);
}

#[tokio::test]
async fn a_flood_of_strangers_does_not_fill_the_journal() {
    let wanted = Wanted { callers: vec![caller("a", "token-a")], ..Wanted::default() };
    let recorded = Recorded::start(Scripted::default(), wanted).await;
    let mut client = recorded.service.inference().await;
    for _ in 0..500 {
        client.complete(hi()).await.unwrap_err();
    }
    // One that is let through tells of those before it.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    client.complete(hi()).await.unwrap_err();
    let rows = recorded.rows().await;
    let held_back: u64 = rows
        .iter()
        .map(|row| match &row.kind {
            AttemptKind::Denied { decision } => decision.held_back,
            AttemptKind::Sent { .. } => panic!("{row:?}"),
        })
        .sum();
    assert_eq!(rows.len() as u64 + held_back, 501);
    assert!(rows.len() < 400, "{} records of 501 refusals", rows.len());
}

#[tokio::test]
async fn without_a_record_nothing_is_sent_and_it_heals_by_itself() {
    let recorded = Recorded::start(Scripted::default(), Wanted::default()).await;
    let mut client = recorded.service.inference().await;
    let mut health = HealthClient::new(recorded.service.channel().await);
    let mut ready = async || {
        let request = HealthCheckRequest { service: "readiness".into() };
        health.check(request).await.unwrap().into_inner().status() == ServingStatus::Serving
    };
    client.complete(hi()).await.unwrap();
    for fault in [Fault::Full, Fault::Fsync, Fault::Io] {
        let before = recorded.service.upstream.seen().len();
        recorded.disk.set_fault(Some(fault));
        for _ in 0..5 {
            let status = client.complete(hi()).await.unwrap_err();
            assert_eq!(told(&status), "Unavailable AUDIT_UNAVAILABLE", "{fault:?}");
            let status = client.embed(embed(&["a text"])).await.unwrap_err();
            assert_eq!(told(&status), "Unavailable AUDIT_UNAVAILABLE", "{fault:?}");
        }
        eventually("load balancers are told", async || !ready().await).await;
        assert_eq!(recorded.service.upstream.seen().len(), before, "{fault:?}: something was sent");
        recorded.disk.set_fault(None);
        eventually("it heals", async || client.complete(hi()).await.is_ok()).await;
        eventually("load balancers are told", async || ready().await).await;
    }
    let health = recorded.journal.health()();
    assert!(health.writable && health.failures >= 3 && health.unrecorded_attempts >= 30, "{health:?}");
    let sent = recorded.service.upstream.seen().len();
    assert_eq!(recorded.told().await, vec!["swedencentral route served"; sent]);
}

#[tokio::test]
async fn a_policy_may_do_without_records() {
    let policy = Policy { audit_required: false, ..Policy::unrestricted() };
    let recorded = Recorded::start(Scripted::default(), Wanted { policy, ..Wanted::default() }).await;
    recorded.disk.set_fault(Some(Fault::Full));
    recorded.service.inference().await.complete(hi()).await.unwrap();
}

#[tokio::test]
async fn a_journal_that_never_answers_is_not_waited_for_longer_than_a_quarter_of_the_deadline() {
    let recorded = Recorded::start(Scripted::default(), Wanted::default()).await;
    recorded.disk.hold_syncs(true);
    let mut request = Request::new(hi());
    request.set_timeout(Duration::from_secs(2));
    let status = recorded.service.inference().await.complete(request).await.unwrap_err();
    assert_eq!(told(&status), "Unavailable AUDIT_UNAVAILABLE");
    assert!(status.message().contains("did not confirm within"), "{}", status.message());
    recorded.disk.hold_syncs(false);
    assert_eq!(recorded.told().await, ["swedencentral route not_sent"]);
    assert_eq!(recorded.service.upstream.seen().len(), 0);
}

#[tokio::test]
async fn alarms_are_noted() {
    let upstream = Scripted::default().with("swedencentral", [Line::Fails(FailureKind::Unauthorized)]);
    let recorded = Recorded::start(upstream, Wanted::default()).await;
    recorded.service.inference().await.complete(hi()).await.unwrap();
    let noted = || {
        recorded.events().into_iter().find_map(|event| match event {
            Event::Alarm(alarm) => Some(alarm),
            _ => None,
        })
    };
    eventually("the alarm is in the journal", async || noted().is_some()).await;
    let alarm = noted().unwrap();
    assert_eq!((alarm.kind.as_str(), alarm.region.as_str(), alarm.over), ("misconfigured", "swedencentral", false));
    assert!(alarm.meaning.unwrap().as_str().starts_with("Azure refuses the service's credentials"));
}

#[tokio::test]
async fn operators_and_standings_are_noted() {
    let recorded = Recorded::start(Scripted::default(), Wanted::default()).await;
    let selector = Some(pb::TargetSelector { region: "swedencentral".into(), ..Default::default() });
    let duration = Some(prost_types::Duration { seconds: 60, nanos: 0 });
    let drain = pb::DrainRequest { selector: selector.clone(), reason: "ticket 7".into(), duration };
    let mut operator = recorded.service.operator().await;
    operator.drain(drain).await.unwrap();
    operator.validate(pb::ValidateRequest { selector, reason: "ticket 8".into() }).await.unwrap();
    let noted = async || {
        let all = recorded.events();
        let found = |wanted: fn(&Event) -> bool| all.iter().any(wanted);
        found(|event| matches!(event, Event::Transition(change) if change.to.as_str() == "suspected"))
            && found(|event| matches!(event, Event::Operator(act) if act.action.as_str() == "validate"))
    };
    eventually("the validation is in the journal", noted).await;
    let events = recorded.events();
    let drained = events.iter().find_map(|event| match event {
        Event::Operator(act) if act.action.as_str() == "drain" => Some(act.clone()),
        _ => None,
    });
    let drained = drained.unwrap();
    assert_eq!((drained.subject.as_str(), drained.reason.unwrap().as_str()), ("region=swedencentral", "ticket 7"));
    assert!(drained.expires_unix_ms.is_some());
    recorded.journal.close().await;
    assert_eq!(self::events(&recorded.disk).last().unwrap(), "checkpoint");
}
