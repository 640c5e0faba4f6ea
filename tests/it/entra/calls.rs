//! What calls notice of identity endpoints that fail, of regions that refuse, and of keys that change.
use std::time::{Duration, Instant};

use sealane::simulator::{Fault, IdentityFault};

use super::*;
use crate::support::{process::Folder, service::eventually};

#[tokio::test]
async fn many_calls_that_need_the_first_token_make_one_request() {
    let world = World::start(3600);
    let azure = world.azure(vec![world.resource(client_secret(), dated())]);
    let calls = (0..40).map(|_| call(&azure));
    assert!(futures_util::future::join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(world.identity.requests(), 1);
}

#[tokio::test]
async fn tokens_are_renewed_before_they_expire_and_no_call_waits() {
    let world = World::start(4);
    let azure = world.azure(vec![world.resource(client_secret(), dated())]);
    let started = Instant::now();
    while world.identity.tokens().expired() < 2 {
        assert_eq!(kind(call(&azure).await), None, "after {:?}", started.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // About every half of a life.
    let asked = world.identity.requests();
    assert!((3..=8).contains(&asked), "{asked} requests in {:?}", started.elapsed());
}

/// Every way to fail, and what an operator reads. Calls fail as if the region had refused them, so that others serve.
#[tokio::test]
async fn without_a_token_an_attempt_fails_as_unauthorized() {
    for (fault, told) in [
        (IdentityFault::Status { status: 503 }, "the identity endpoint answers HTTP 503"),
        (IdentityFault::InvalidClient, "the identity endpoint answers HTTP 401 (AADSTS7000215)"),
        (IdentityFault::Malformed, "the identity endpoint's answer is no token"),
        (IdentityFault::Expired, "the token that came has expired already; is this machine's clock right?"),
    ] {
        let world = World::start(3600);
        world.identity.fail(Some(fault));
        let azure = world.azure(vec![world.resource(client_secret(), dated())]);
        assert_eq!(kind(call(&azure).await), Some(FailureKind::Unauthorized), "{fault:?}");
        assert_eq!(azure.credentials()[0].problem.as_deref(), Some(told), "{fault:?}");
        assert_eq!(world.region.counters().captured().len(), 0, "nothing is sent without a token");
        world.identity.fail(None);
        eventually("the endpoint is asked again", async || call(&azure).await.is_ok()).await;
        assert_eq!(azure.credentials()[0].problem, None);
    }
}

#[tokio::test]
async fn a_call_does_not_wait_for_ever_for_an_endpoint_that_hangs() {
    let world = World::start(3600);
    world.identity.fail(Some(IdentityFault::Hang));
    let azure = world.azure(vec![world.resource(client_secret(), dated())]);
    let mut limits = patient();
    limits.first_content = Duration::from_millis(200);
    let outcome = azure.complete_chat(&order("gpt-4o", limits), &ask("hi")).await;
    assert_eq!(outcome.unwrap_err().kind, FailureKind::Unauthorized);
    assert!(world.region.counters().captured().is_empty());
}

#[tokio::test]
async fn revoked_tokens_are_replaced_by_one_request_and_no_call_fails() {
    let world = World::start(3600);
    let azure = world.azure(vec![world.resource(client_secret(), dated())]);
    call(&azure).await.unwrap();
    world.identity.tokens().revoke();
    let calls = (0..40).map(|_| call(&azure));
    assert!(futures_util::future::join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(world.identity.requests(), 2);
}

/// A role that is missing: the token is not at fault, and asking for another one with every call would not help.
#[tokio::test]
async fn a_region_that_refuses_every_token_costs_one_more_request() {
    let mut world = World::start(3600);
    let stranger = RegionSettings { issued_tokens: Some(Default::default()), ..RegionSettings::default() };
    world.region = SimulatedRegion::start(stranger, loopback()).unwrap();
    let azure = world.azure(vec![world.resource(client_secret(), dated())]);
    for _ in 0..20 {
        assert_eq!(kind(call(&azure).await), Some(FailureKind::Unauthorized));
    }
    assert_eq!(world.identity.requests(), 2);
    assert_eq!(world.region.counters().captured().len(), 21, "one of them was sent twice");
}

#[tokio::test]
async fn a_forced_refresh_that_fails_leaves_the_refusal_as_it_is() {
    let world = World::start(3600);
    let azure = world.azure(vec![world.resource(client_secret(), dated())]);
    call(&azure).await.unwrap();
    world.identity.tokens().revoke();
    world.identity.fail(Some(IdentityFault::Status { status: 500 }));
    assert_eq!(kind(call(&azure).await), Some(FailureKind::Unauthorized));
    world.identity.fail(None);
    eventually("a good token", async || call(&azure).await.is_ok()).await;
}

#[tokio::test]
async fn a_key_that_changed_in_its_file_is_read_when_it_is_refused() {
    let world = World::start(3600);
    let folder = Folder::new("entra-key");
    let file = folder.write("key", "key-one\n");
    let keys = vec!["key-one".to_owned().into(), "key-two".to_owned().into()];
    let region = SimulatedRegion::start(RegionSettings { keys, ..RegionSettings::default() }, loopback()).unwrap();
    let credential = Credential::ApiKey(Secret::read(file.as_ref(), Form::Word).unwrap());
    let azure = world.azure(vec![ResourceSettings { credential, ..settings(region.address(), dated()) }]);
    call(&azure).await.unwrap();
    folder.write("key", "key-two\n");
    region.faults().set(vec![Fault::ExpiredCredentials { credentials: vec!["key-one".into()] }.into()]);
    call(&azure).await.unwrap();
    assert_eq!(azure.rotate_credentials().renewed, Vec::<String>::new(), "it is in use already");
    // Both of them are refused, and there is no third one.
    let both = vec!["key-one".into(), "key-two".into()];
    region.faults().set(vec![Fault::ExpiredCredentials { credentials: both }.into()]);
    let before = region.counters().captured().len();
    assert_eq!(kind(call(&azure).await), Some(FailureKind::Unauthorized));
    assert_eq!(region.counters().captured().len(), before + 1);
}

#[tokio::test]
async fn a_key_file_is_followed_and_what_cannot_be_used_changes_nothing() {
    let world = World::start(3600);
    let folder = Folder::new("entra-rotation");
    let file = folder.write("key", "key-one\n");
    let keys = vec!["key-one".to_owned().into(), "key-two".to_owned().into()];
    let region = SimulatedRegion::start(RegionSettings { keys, ..RegionSettings::default() }, loopback()).unwrap();
    let credential = Credential::ApiKey(Secret::read(file.as_ref(), Form::Word).unwrap());
    let azure = world.azure(vec![ResourceSettings { credential, ..settings(region.address(), dated()) }]);
    let shown = || region.counters().captured().pop().unwrap().headers["api-key"].to_str().unwrap().to_owned();
    for (text, renewed, problem, key) in [
        ("key-one", vec![], false, "key-one"),
        ("", vec![], true, "key-one"),
        ("two words", vec![], true, "key-one"),
        ("key-two\n", vec!["the key of resource `resource`"], false, "key-two"),
    ] {
        folder.write("key", text);
        let rotation = azure.rotate_credentials();
        assert_eq!(rotation.renewed, renewed, "{text:?}");
        assert_eq!(!rotation.kept.is_empty(), problem, "{text:?}: {:?}", rotation.kept);
        assert_eq!(azure.credentials()[0].problem.is_some(), problem, "{text:?}");
        call(&azure).await.unwrap();
        assert_eq!(shown(), key, "{text:?}");
    }
}
