//! What Azure's answers say of themselves: an alarm where it contradicts the configuration, and a quarantine where that
//! is wanted.
use std::time::Duration;

use sealane::{
    grpc::pb::Overlay,
    simulator::{Fault, FaultRule},
};
use sealane_core::router::{Testing, Thresholds};

use super::three::{Running, Three};
use crate::support::service::{eventually, without_test_calls};

const EU_ONLY: &str = "default_policy: eu-only\npolicies: [{ name: eu-only, boundaries: [eu] }]\n";

fn says(display_name: Option<&str>) -> FaultRule {
    Fault::RegionHeader { value: display_name.map(str::to_owned) }.into()
}

fn spills() -> FaultRule {
    Fault::Spillover { deployment: "overflow".into() }.into()
}

async fn told(service: &Running, model: &str) -> Vec<String> {
    let alarms = service.alarms(model, "swc").await;
    alarms.into_iter().map(|alarm| format!("{}: {}", alarm.kind, alarm.message)).collect()
}

#[tokio::test]
async fn what_contradicts_the_configuration_is_an_alarm_and_what_is_absent_is_not() {
    for (fault, expected) in [
        (None, None),
        (Some(says(None)), None),
        (Some(says(Some("SWEDEN CENTRAL"))), None),
        (
            Some(says(Some("Sweden South"))),
            Some(
                "region_mismatch: Azure's answers come from region \"Sweden South\", the configuration says `gpt-4o` in \
                 swedencentral; mend the configuration, then release the target",
            ),
        ),
        (
            Some(spills()),
            Some(
                "deployment_mismatch: Azure says that deployment \"overflow\" served, the configuration says `gpt-4o` in \
                 swedencentral; mend the configuration, then release the target",
            ),
        ),
    ] {
        let three = Three::start();
        three.swc.faults().set(fault.clone().into_iter().collect());
        let service = three.serve("", EU_ONLY, without_test_calls(), None).await;
        for _ in 0..2 {
            assert_eq!(service.ask("gpt-4o").await.unwrap().region, "swedencentral", "an alarm moves nothing");
        }
        assert_eq!(told(&service, "gpt-4o").await, Vec::from_iter(expected), "{fault:?}");
        assert_eq!(service.target("gpt-4o", "swc").await.overlay(), Overlay::Unspecified);
    }
}

#[tokio::test]
async fn a_quarantined_target_takes_no_calls_until_an_operator_releases_it() {
    let three = Three::start();
    three.swc.faults().set(vec![says(Some("East US 2"))]);
    let extra = format!("{EU_ONLY}on_region_mismatch: quarantine\n");
    let service = three.serve("", &extra, without_test_calls(), None).await;
    let served = service.ask("gpt-4o").await.unwrap();
    assert_eq!((served.region.as_str(), served.reported_region.as_str()), ("swedencentral", "East US 2"));
    for _ in 0..3 {
        assert_eq!(service.ask("gpt-4o").await.unwrap().region, "francecentral");
    }
    let target = service.target("gpt-4o", "swc").await;
    assert_eq!((target.overlay(), target.traffic_share), (Overlay::Quarantined, 0.0));
    assert!(target.quarantined_since_time.is_some());
    let [alarm] = &told(&service, "gpt-4o").await[..] else { panic!() };
    assert!(alarm.contains("so it takes no calls until it is released"), "{alarm}");
    assert_eq!(service.target("gpt-4o-unary", "swc").await.overlay(), Overlay::Unspecified, "each for itself");

    three.swc.faults().set(vec![]);
    assert_eq!(
        service.ask("gpt-4o").await.unwrap().region,
        "francecentral",
        "only an operator knows that it is mended"
    );
    assert_eq!(service.release("swc").await, ["gpt-4o"]);
    assert_eq!(service.ask("gpt-4o").await.unwrap().region, "swedencentral");
    assert!(told(&service, "gpt-4o").await.is_empty());
}

/// Errors carry the headers too, and what one resource is set to wins over the whole file.
#[tokio::test]
async fn a_refusal_is_evidence_as_well_and_a_resource_may_be_stricter() {
    let three = Three::start();
    let refused = Fault::Status { status: 404, retry_after: None, retry_after_ms: None, body: Default::default() };
    three.swc.faults().set(vec![refused.into(), says(Some("East US 2"))]);
    let service = three.serve(", on_region_mismatch: quarantine", EU_ONLY, without_test_calls(), None).await;
    let served = service.ask("gpt-4o-unary").await.unwrap();
    assert_eq!((served.region.as_str(), served.attempts.len()), ("francecentral", 2));
    assert_eq!(service.target("gpt-4o-unary", "swc").await.overlay(), Overlay::Quarantined);
    three.frc.faults().set(vec![says(Some("East US 2"))]);
    service.ask("gpt-4o-unary").await.unwrap();
    assert_eq!(service.target("gpt-4o-unary", "frc").await.overlay(), Overlay::Unspecified, "alarm is the default");
}

/// A standby that nobody calls is found out by its test calls, and then gets none either.
#[tokio::test]
async fn test_calls_find_a_mismatch_before_any_caller_does() {
    let three = Three::start();
    three.swc.faults().set(vec![says(Some("East US 2"))]);
    let ms = Duration::from_millis;
    let soon = Testing { first: ms(1), first_comparison: ms(1), deep_interval: ms(50), ..Testing::default() };
    let thresholds = Thresholds { testing: soon, ..Thresholds::default() };
    let extra = format!("{EU_ONLY}on_region_mismatch: quarantine\n");
    let service = three.serve("", &extra, thresholds, None).await;
    for model in ["gpt-4o", "gpt-4o-unary", "text-embedding-3-large"] {
        eventually("the quarantine", async || service.target(model, "swc").await.overlay() == Overlay::Quarantined)
            .await;
        assert_eq!(told(&service, model).await.len(), 1);
    }
    let tests = |service| async move { Running::target(service, "gpt-4o", "swc").await.test_calls };
    let before = tests(&service).await;
    eventually("more test calls elsewhere", async || service.target("gpt-4o", "frc").await.test_calls > 5).await;
    assert_eq!(tests(&service).await, before);
    assert_eq!(service.ask("gpt-4o").await.unwrap().region, "francecentral");
}
