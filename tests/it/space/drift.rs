//! Deployments that begin to serve another model, while the service runs and while it does not.
use sealane::grpc::pb::Overlay;

use super::*;

/// Calls until the overlay is there, all of which must succeed; answers who served the last one.
async fn calls_until(service: &Running, region: &str, overlay: Overlay) -> String {
    for _ in 0..2000 {
        let served = service.region().await;
        if service.overlay(region).await == overlay {
            return served;
        }
    }
    panic!("{region} never became {overlay:?}");
}

#[tokio::test]
async fn a_drifted_standby_leaves_and_the_primary_goes_on() {
    let estate = Estate::start("standby");
    let service = estate.serve().await;
    service.both_compared().await;
    let first = service.embed("one text", None).await.unwrap();
    estate.frc.faults().add(drift());
    assert_eq!(calls_until(&service, FRC, Overlay::Drifted).await, SWC);
    let standby = service.target(FRC).await;
    assert!(standby.space_cosine.is_some_and(|cosine| cosine < 0.9), "{standby:?}");
    assert!(standby.drift_reason.contains("between its vector and the reference"), "{}", standby.drift_reason);
    assert!(standby.drifted_since_time.is_some() && standby.standing() == pb::Standing::Serving);
    assert_eq!((standby.traffic_share, standby.embedding_space.as_str()), (0.0, "text-embedding-3-large/1/3072"));
    let [alarm] = &service.alarms(FRC).await[..] else { panic!("one alarm") };
    assert!(alarm.starts_with("embedding_drift: cosine"), "{alarm}");
    assert!(service.alarms(SWC).await.is_empty());
    let again = service.embed("one text", None).await.unwrap();
    assert_eq!((again.served_by.unwrap().region.as_str(), again.embeddings), (SWC, first.embeddings));

    estate.frc.faults().clear();
    service.until(FRC, Overlay::Unspecified).await;
    assert!(service.alarms(FRC).await.is_empty());
    eventually("the journal tells both", async || estate.journal().len() == 2).await;
    let journal = estate.journal();
    let [left, returned] = &journal[..] else { panic!("{journal:?}") };
    assert!(left.starts_with("francecentral serving -> drifted: it left its embedding space: cosine"), "{left}");
    assert!(returned.starts_with("francecentral drifted -> serving: "), "{returned}");
}

/// Nobody is asked who is right: the reference was settled before.
#[tokio::test]
async fn a_drifted_primary_is_evicted_and_callers_see_nothing_of_it() {
    let estate = Estate::start("primary");
    let service = estate.serve().await;
    service.both_compared().await;
    assert_eq!(service.region().await, SWC);
    estate.swc.faults().add(drift());
    calls_until(&service, SWC, Overlay::Drifted).await;
    let [alarm] = &service.alarms(SWC).await[..] else { panic!("one alarm") };
    assert!(alarm.starts_with("embedding_drift: cosine"), "{alarm}");
    for _ in 0..5 {
        assert_eq!(service.region().await, FRC);
    }
    estate.swc.faults().clear();
    service.until(SWC, Overlay::Unspecified).await;
    assert_eq!(service.region().await, SWC, "it was never ill, so it comes back at once");
}

/// What a reply itself tells costs no test call: its caller is served elsewhere, and gets no vector of another space.
#[tokio::test]
async fn a_reply_of_another_length_or_model_reaches_no_caller() {
    for (name, fault, told) in [
        ("length", shrink(), "its vectors have 1536 numbers, not 3072"),
        ("model", rename(), "its replies name the model \"text-embedding-3-small\", not text-embedding-3-large"),
    ] {
        let estate = Estate::start(name);
        let ms = Duration::from_millis;
        let daily = Testing { comparison_interval: ms(86_400_000), ..often().testing };
        let service = estate.serve_as("", Thresholds { testing: daily, ..often() }).await;
        service.both_compared().await;
        let first = service.embed("one text", None).await.unwrap();
        estate.swc.faults().add(fault);
        let reply = service.embed("one text", None).await.unwrap();
        let served = reply.served_by.unwrap();
        assert_eq!((served.region.as_str(), reply.embeddings), (FRC, first.embeddings), "{name}");
        if let [failed, _] = &served.attempts[..] {
            assert_eq!(failed.failure, "other_embedding_space", "{name}");
        }
        let target = service.target(SWC).await;
        assert_eq!((target.overlay(), target.drift_reason.as_str()), (Overlay::Drifted, told));
        estate.swc.faults().clear();
        service.until(SWC, Overlay::Unspecified).await;
    }
}

#[tokio::test]
async fn a_start_while_the_primary_is_down_works_whether_a_reference_is_kept_or_not() {
    for kept in [false, true] {
        let estate = Estate::start(if kept { "outage-kept" } else { "outage" });
        if kept {
            estate.settle().await;
        }
        estate.swc.faults().add(Fault::Down);
        let service = estate.serve().await;
        assert_eq!(service.region().await, FRC, "kept: {kept}");
        eventually("the standby is compared", async || service.is_compared(FRC).await).await;
        assert_eq!(service.region().await, FRC);
        assert!(!service.is_compared(SWC).await);
        estate.swc.faults().clear();
        service.both_compared().await;
        assert_eq!(service.overlay(SWC).await, Overlay::Unspecified);
    }
}

#[tokio::test]
async fn a_primary_that_drifted_while_nobody_looked_is_evicted_at_the_start() {
    let estate = Estate::start("restart");
    estate.settle().await;
    let kept = fs::read(estate.reference_file()).unwrap();
    estate.swc.faults().add(drift());
    let service = estate.serve().await;
    service.until(SWC, Overlay::Drifted).await;
    assert_eq!(service.region().await, FRC);
    service.stop().await;
    assert_eq!(fs::read(estate.reference_file()).unwrap(), kept, "the reference follows nobody");

    // Both drift: rather no vector than one of another space, until somebody says that the new one is meant.
    estate.frc.faults().add(drift());
    let service = estate.serve().await;
    service.until(SWC, Overlay::Drifted).await;
    service.until(FRC, Overlay::Drifted).await;
    let refused = service.embed("one text", None).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused}");
    service.stop().await;
    fs::remove_file(estate.reference_file()).unwrap();
    estate.settle().await;
    assert_ne!(fs::read(estate.reference_file()).unwrap(), kept);
    let service = estate.serve().await;
    service.both_compared().await;
    assert_eq!(service.region().await, SWC);
}

/// A file that cannot be used is nothing to compare with, and nothing to write over either.
#[tokio::test]
async fn a_broken_reference_file_does_not_keep_the_service_from_starting() {
    let estate = Estate::start("broken");
    fs::write(estate.reference_file(), "{").unwrap();
    let service = estate.serve().await;
    service.both_compared().await;
    assert_eq!(service.region().await, SWC);
    service.stop().await;
    assert_eq!(fs::read_to_string(estate.reference_file()).unwrap(), "{");
}
