use super::*;
use crate::domain::{ModelKind, Sku, TargetId, UpstreamStream};

fn target() -> Arc<Target> {
    Arc::new(Target {
        id: TargetId(0),
        model: "m".into(),
        kind: ModelKind::Chat,
        resource: "r".into(),
        resource_index: 0,
        region: "swc".into(),
        boundary: Some("eu".into()),
        deployment: "d".into(),
        sku: Sku::DataZoneStandard,
        scope: ProcessingScope::DataZone,
        reasoning: false,
        upstream_stream: UpstreamStream::Auto,
        version: None,
        embedding_space: None,
        claims: Default::default(),
    })
}

#[test]
fn a_target_is_refused_for_the_first_reason_that_applies() {
    use ProcessingScope::{DataZone, Global, Regional};
    let target = target();
    let any = Policy::unrestricted;
    let free = RoutingOptions::default;
    let nowhere = Arc::new(Target { boundary: None, ..Target::clone(&target) });
    for (target, policy, request, expected) in [
        (&target, any(), free(), None),
        (&target, Policy { regions: vec!["weu".into(), "swc".into()], ..any() }, free(), None),
        (&target, Policy { regions: vec!["weu".into()], ..any() }, free(), Some(Refusal::PolicyRegion)),
        (&target, Policy { boundaries: vec!["eu".into()], ..any() }, free(), None),
        (&target, Policy { boundaries: vec!["us".into()], ..any() }, free(), Some(Refusal::PolicyBoundary)),
        (&nowhere, Policy { boundaries: vec!["eu".into()], ..any() }, free(), Some(Refusal::PolicyBoundary)),
        (&target, Policy { max_scope: DataZone, ..any() }, free(), None),
        (
            &target,
            Policy { max_scope: Regional, ..any() },
            RoutingOptions { max_scope: Some(Global), ..free() },
            Some(Refusal::PolicyScope { needs: DataZone, permits: Regional }),
        ),
        (&target, any(), RoutingOptions { allowed_regions: vec!["swc".into()], ..free() }, None),
        (
            &target,
            any(),
            RoutingOptions { allowed_regions: vec!["weu".into()], ..free() },
            Some(Refusal::RequestRegion),
        ),
        (&target, any(), RoutingOptions { data_boundary: Some("eu".into()), ..free() }, None),
        (
            &nowhere,
            any(),
            RoutingOptions { data_boundary: Some("eu".into()), ..free() },
            Some(Refusal::RequestBoundary),
        ),
        (&target, any(), RoutingOptions { max_scope: Some(DataZone), ..free() }, None),
        (
            &target,
            any(),
            RoutingOptions { max_scope: Some(Regional), ..free() },
            Some(Refusal::RequestScope { needs: DataZone, permits: Regional }),
        ),
    ] {
        assert_eq!(policy.permit(target, &request).err(), expected, "{policy:?} {request:?}");
    }
}

#[test]
fn a_refusal_says_why() {
    use ProcessingScope::{Global, Regional};
    for (refusal, why) in [
        (Refusal::DataClassMissing, "the policy requires a data class, the request declares none"),
        (Refusal::DataClassNotAccepted, "the policy does not accept the request's data class"),
        (Refusal::PolicyRegion, "not among the policy's regions"),
        (Refusal::PolicyBoundary, "outside the policy's data boundaries"),
        (
            Refusal::PolicyScope { needs: Global, permits: Regional },
            "computes global, the policy permits at most regional",
        ),
        (Refusal::PolicyRemoved, "the call's policy is no longer configured"),
        (Refusal::Removed, "no longer configured"),
        (Refusal::RequestRegion, "not among the request's allowed_regions"),
        (Refusal::RequestBoundary, "outside the request's data_boundary"),
        (
            Refusal::RequestScope { needs: Global, permits: ProcessingScope::DataZone },
            "computes global, the request accepts at most data_zone",
        ),
    ] {
        assert_eq!(refusal.to_string(), why);
    }
}

#[test]
fn a_data_class_must_be_one_that_the_policy_accepts() {
    let target = target();
    let declared = |class: &str| RoutingOptions { data_class: Some(class.into()), ..RoutingOptions::default() };
    let none = RoutingOptions::default;
    for (accepted, required, request, expected) in [
        (&[][..], false, none(), None),
        (&[], false, declared("secret"), None),
        (&[], true, none(), Some(Refusal::DataClassMissing)),
        (&[], true, declared("secret"), None),
        (&["public", "internal"], false, none(), None),
        (&["public", "internal"], false, declared("internal"), None),
        (&["public", "internal"], false, declared("Internal"), Some(Refusal::DataClassNotAccepted)),
        (&["public", "internal"], true, none(), Some(Refusal::DataClassMissing)),
        (&["public", "internal"], true, declared("secret"), Some(Refusal::DataClassNotAccepted)),
        (&["public", "internal"], true, declared("public"), None),
    ] {
        let data_classes = accepted.iter().map(|class| (*class).into()).collect();
        let policy = Policy { data_classes, requires_data_class: required, ..Policy::unrestricted() };
        assert_eq!(policy.permit(&target, &request).err(), expected, "{policy:?} {request:?}");
        assert!(policy.permit_test_call(&target).is_ok(), "a test call carries no data");
        let elsewhere = Policy { regions: vec!["weu".into()], ..policy };
        let first = expected.unwrap_or(Refusal::PolicyRegion);
        assert_eq!(elsewhere.permit(&target, &request).err(), Some(first), "no other target would help");
        assert_eq!(elsewhere.permit_test_call(&target).err(), Some(Refusal::PolicyRegion));
    }
}

#[test]
fn a_policy_says_what_it_permits() {
    let classes = |required| Policy {
        data_classes: vec!["public".into(), "internal".into()],
        requires_data_class: required,
        ..Policy::unrestricted()
    };
    for (policy, told) in [
        (Policy::unrestricted(), "any regions, any boundaries, at most global processing"),
        (
            Policy {
                regions: vec!["swc".into(), "frc".into()],
                boundaries: vec!["eu".into()],
                max_scope: ProcessingScope::Regional,
                requires_data_class: true,
                ..Policy::unrestricted()
            },
            "regions swc, frc, boundaries eu, at most regional processing, a data class",
        ),
        (
            classes(true),
            "any regions, any boundaries, at most global processing, one of the data classes public, internal",
        ),
        (
            classes(false),
            "any regions, any boundaries, at most global processing, no data class or one of public, internal",
        ),
    ] {
        assert_eq!(policy.to_string(), told);
    }
}

#[test]
fn a_refusal_names_the_field_that_would_have_to_change() {
    use ProcessingScope::{Global, Regional};
    for (refusal, by_request, field) in [
        (Refusal::DataClassMissing, false, Some("data_class")),
        (Refusal::DataClassNotAccepted, false, Some("data_class")),
        (Refusal::PolicyRegion, false, None),
        (Refusal::PolicyBoundary, false, None),
        (Refusal::PolicyScope { needs: Global, permits: Regional }, false, None),
        (Refusal::PolicyRemoved, false, None),
        (Refusal::Removed, false, None),
        (Refusal::RequestRegion, true, Some("allowed_regions")),
        (Refusal::RequestBoundary, true, Some("data_boundary")),
        (Refusal::RequestScope { needs: Global, permits: Regional }, true, Some("max_processing_scope")),
    ] {
        assert_eq!((refusal.is_by_request(), refusal.field()), (by_request, field), "{refusal}");
    }
}
