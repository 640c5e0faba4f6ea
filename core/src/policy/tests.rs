use super::*;
use crate::domain::{ModelKind, Sku, TargetId, UpstreamStream};

#[test]
fn a_target_is_refused_for_the_first_reason_that_applies() {
    use ProcessingScope::{DataZone, Global, Regional};
    let target = Arc::new(Target {
        id: TargetId(0),
        model: "m".into(),
        kind: ModelKind::Chat,
        resource: "r".into(),
        resource_index: 0,
        region: "swc".into(),
        boundary: Some("eu".into()),
        deployment: "d".into(),
        sku: Sku::DataZoneStandard,
        scope: DataZone,
        reasoning: false,
        upstream_stream: UpstreamStream::Auto,
        version: None,
        embedding_space: "".into(),
    });
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
        (Refusal::PolicyRegion, "not among the policy's regions"),
        (Refusal::PolicyBoundary, "outside the policy's data boundaries"),
        (
            Refusal::PolicyScope { needs: Global, permits: Regional },
            "computes global, the policy permits at most regional",
        ),
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
