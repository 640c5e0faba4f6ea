//! The outcome-class table: what each failure means for the target and for the call, a row each.
use super::*;

/// What one failure did to the target.
#[derive(Debug, PartialEq)]
enum Effect {
    /// Counts against it.
    Counts,
    /// Counts against it, and is an alarm.
    CountsAndAlarms,
    /// It cools.
    Cools,
    /// Nothing.
    Nothing,
    /// The detectors are silent for a while.
    Freezes,
}

/// What becomes of the call.
#[derive(Debug, PartialEq)]
enum Then {
    Rescued,
    Ends,
}

#[test]
fn every_failure_its_class_and_its_effect() {
    use BadResponse::*;
    use ConnectFailure::*;
    use Effect::*;
    use FailureClass::*;
    use FailureKind as Kind;
    use Rejection::*;
    use Silence::*;
    let coded = |code: &str| Kind::ErrorEvent { code: Some(code.into()) };
    let invalid = Invalid { code: None, param: None };
    for (kind, word, class, effect, then) in [
        (Kind::Connect(Dns), "dns", Hard, Counts, Then::Rescued),
        (Kind::Connect(Refused), "connection_refused", Hard, Counts, Then::Rescued),
        (Kind::Connect(TimedOut), "connect_timeout", Hard, Counts, Then::Rescued),
        (Kind::Connect(Tls), "tls", Hard, Counts, Then::Rescued),
        (Kind::Connect(ConnectFailure::Other), "connect", Hard, Counts, Then::Rescued),
        (Kind::Reset, "connection_reset", Hard, Counts, Then::Rescued),
        (Kind::Silence(FirstContent), "first_content_timeout", Hard, Counts, Then::Rescued),
        (Kind::Silence(Stall), "stalled", Hard, Counts, Then::Rescued),
        (Kind::Silence(Total), "attempt_timeout", Hard, Counts, Then::Rescued),
        (Kind::RequestTimeout, "request_timeout", Hard, Counts, Then::Rescued),
        (Kind::Conflict, "conflict", Hard, Counts, Then::Rescued),
        (Kind::FailedDependency, "failed_dependency", Hard, Counts, Then::Rescued),
        (Kind::ServerError, "server_error", Hard, Counts, Then::Rescued),
        (Kind::Unavailable, "unavailable", Hard, Counts, Then::Rescued),
        (Kind::Redirected, "redirected", Hard, Counts, Then::Rescued),
        (Kind::BadResponse(Malformed), "malformed_response", Hard, Counts, Then::Rescued),
        (Kind::BadResponse(ErrorBody), "error_body", Hard, Counts, Then::Rescued),
        (Kind::BadResponse(MissingChoices), "missing_choices", Hard, Counts, Then::Rescued),
        (Kind::BadResponse(Unfinished), "unfinished", Hard, Counts, Then::Rescued),
        (Kind::BadResponse(BadResponse::TooLarge), "response_too_large", Hard, Counts, Then::Rescued),
        (Kind::BadResponse(WrongVectors), "wrong_vectors", Hard, Counts, Then::Rescued),
        (Kind::BadResponse(VersionMismatch), "version_mismatch", Hard, CountsAndAlarms, Then::Rescued),
        (Kind::BadResponse(UnexpectedStatus), "unexpected_status", Hard, Counts, Then::Rescued),
        (Kind::OtherSpace(Drift::Direction { cosine: 0.5 }), "other_embedding_space", Hard, Counts, Then::Rescued),
        (Kind::Truncated, "truncated", Hard, Counts, Then::Rescued),
        (coded("server_error"), "error_event", Hard, Counts, Then::Rescued),
        (Kind::Unauthorized, "unauthorized", Misconfigured, CountsAndAlarms, Then::Rescued),
        (Kind::Forbidden, "forbidden", Misconfigured, CountsAndAlarms, Then::Rescued),
        (Kind::DeploymentNotFound, "deployment_not_found", Misconfigured, CountsAndAlarms, Then::Rescued),
        (Kind::PathNotFound, "path_not_found", Misconfigured, CountsAndAlarms, Then::Rescued),
        (throttled(9), "throttled", Throttled, Cools, Then::Rescued),
        (Kind::Rejected(ContextLength), "context_length_exceeded", Caller, Nothing, Then::Ends),
        (Kind::Rejected(PromptBlocked { categories: vec![] }), "prompt_blocked", Caller, Nothing, Then::Ends),
        (Kind::Rejected(OperationNotSupported), "operation_not_supported", Caller, Nothing, Then::Ends),
        (Kind::Rejected(Rejection::TooLarge), "request_too_large", Caller, Nothing, Then::Ends),
        (Kind::Rejected(HeadersTooLarge), "headers_too_large", Caller, Nothing, Then::Ends),
        (Kind::Rejected(invalid), "invalid_request", Caller, Nothing, Then::Ends),
        (Kind::Local { cause: "no_credential" }, "no_credential", Local, Freezes, Then::Ends),
    ] {
        assert_eq!((kind.as_str(), kind.class()), (word, class));
        assert_eq!(after_one(&kind), (effect, then), "{word}");
        // Whatever does not count against a target moves nobody, however often it happens.
        let suspects = matches!(class, Hard | Misconfigured);
        assert_eq!(standing_after_five(&kind) == Standing::Suspected, suspects, "{word}");
        let sent = !matches!(kind, Kind::Connect(_));
        assert_eq!(Failure::without_response(kind).maybe_billed, sent, "nothing is billed where nobody was met");
    }
}

fn after_one(kind: &FailureKind) -> (Effect, Then) {
    let mut router = plain(2);
    let mut call = Call::new(terms(&router, at(30)), at(0));
    let Decision::Try { ticket, .. } = router.choose(&mut call, at(0)) else { panic!() };
    router.observe(&mut call, ticket, &failed(kind.clone()), at(1));
    let seen = router.snapshot(at(1));
    let target = &seen.targets[0];
    assert_eq!(target.last_failure.is_some(), target.failed == 1);
    assert_eq!(target.recent, (0, target.failed));
    let alarms: Vec<_> = seen.alarms.iter().map(Alarm::as_str).collect();
    let effect = match (target.failed, &target.overlay, &alarms[..]) {
        (1, None, []) => Effect::Counts,
        (1, Some(Overlay::Misconfigured { since }), ["misconfigured"]) if *since == at(1) => Effect::CountsAndAlarms,
        (1, None, ["version_mismatch"]) => Effect::CountsAndAlarms,
        (0, Some(Overlay::Cooling { until }), []) if *until == at(10) => Effect::Cools,
        (0, None, []) => Effect::Nothing,
        (0, None, ["frozen"]) => Effect::Freezes,
        other => panic!("{other:?}"),
    };
    let then = match router.choose(&mut call, at(1)) {
        Decision::Try { target, reason: AttemptReason::Rescue, .. } if &*target.target().region == "weu" => {
            Then::Rescued
        }
        Decision::GiveUp(GiveUp::Rejected(_) | GiveUp::Local { .. }) => Then::Ends,
        other => panic!("{other:?}"),
    };
    (effect, then)
}

/// Calls that are tried on the first target only, until it has met this failure five times.
fn standing_after_five(kind: &FailureKind) -> Standing {
    let mut router = plain(2);
    for second in 0..5 {
        // Cooling targets take no calls: enough time passes.
        let now = at(second * 100);
        let mut call = Call::new(terms(&router, now + secs(30)), now);
        let Decision::Try { ticket, target, .. } = router.choose(&mut call, now) else { panic!() };
        assert_eq!(&*target.target().region, "swc");
        router.observe(&mut call, ticket, &failed(kind.clone()), now);
    }
    router.snapshot(at(500)).targets[0].standing
}

#[test]
fn three_unexpected_answers_in_half_a_minute_are_suspicious() {
    use FailureKind::*;
    for (kind, unexpected) in [
        (Unauthorized, true),
        (DeploymentNotFound, true),
        (Redirected, true),
        (BadResponse(domain::BadResponse::ErrorBody), true),
        (ServerError, false),
        (Truncated, false),
    ] {
        let mut router = plain(2);
        for second in 0..3 {
            let mut call = Call::new(terms(&router, at(30)), at(second));
            let Decision::Try { ticket, .. } = router.choose(&mut call, at(second)) else { panic!() };
            router.observe(&mut call, ticket, &failed(kind.clone()), at(second));
        }
        let suspected = router.snapshot(at(2)).targets[0].standing == Standing::Suspected;
        assert_eq!(suspected, unexpected, "{kind:?}");
    }
}

#[test]
fn a_caller_who_leaves_says_nothing() {
    let mut router = plain(2);
    for second in 0..10 {
        let mut call = Call::new(terms(&router, at(30)), at(second));
        let Decision::Try { ticket, .. } = router.choose(&mut call, at(second)) else { panic!() };
        router.observe(&mut call, ticket, &Observation::Cancelled, at(second));
    }
    let target = &router.snapshot(at(10)).targets[0];
    assert_eq!((target.standing, target.failed, target.recent), (Standing::Serving, 0, (0, 0)));
}
