use super::script::play;

fn tells(targets: u16, story: &str, expected: &str) {
    let expected: String =
        expected.lines().map(str::trim).filter(|l| !l.is_empty()).map(|l| format!("{l}\n")).collect();
    assert_eq!(play(targets, story), expected);
}

#[test]
fn a_failed_target_is_rescued_and_the_last_one_gets_all_the_time() {
    tells(
        3,
        "0s a calls\n 10s a fails 500\n 20s a fails 500\n 21s a fails 500\n 22s a wakes\n 23s a fails 500\n
         24s a wakes\n 24s a fails 500",
        "
        0s a tries swc (route), 18s
        10s a tries weu (rescue), 12s
        20s a tries frc (rescue), 10s
        21s a pauses
        22s a tries swc (retry), 8s
        23s a pauses
        24s a tries weu (retry), 6s
        24s a gives up: Unavailable { retry_after: 1s }",
    );
}

#[test]
fn a_refused_request_is_never_routed_around() {
    tells(
        2,
        "0s a calls\n 1s a fails 400",
        "
        0s a tries swc (route), 18s
        1s a gives up: Rejected(ContextLength)",
    );
    tells(
        2,
        "0s a calls\n 1s a fails local",
        "
        0s a tries swc (route), 18s
        1s a gives up: Local { cause: \"no_credential\" }",
    );
}

#[test]
fn a_throttled_target_is_passed_over_until_it_has_cooled() {
    tells(
        2,
        "0s a calls\n 0s a fails throttled 20s\n 1s b calls\n 20s c calls",
        "
        0s a tries swc (route), 18s
        0s a tries weu (rescue), 30s
        1s b tries weu (spill), 30s
        20s c tries swc (route), 18s",
    );
}

#[test]
fn a_short_hint_is_waited_for_once_and_a_long_one_is_told() {
    tells(
        1,
        "0s a calls\n 0s a fails throttled 2s\n 2s a wakes\n 2s a fails throttled 2s",
        "
        0s a tries swc (route), 30s
        0s a waits 2s
        2s a tries swc (retry), 28s
        2s a gives up: Throttled { retry_after: 2s }",
    );
    tells(
        1,
        "0s a calls\n 0s a fails throttled 6s",
        "
        0s a tries swc (route), 30s
        0s a gives up: Throttled { retry_after: 6s }",
    );
    tells(
        2,
        "0s a calls\n 0s a fails throttled 40s\n 0s a fails throttled 9s\n 1s b calls",
        "
        0s a tries swc (route), 18s
        0s a tries weu (rescue), 30s
        0s a gives up: Throttled { retry_after: 9s }
        1s b gives up: Throttled { retry_after: 8s }",
    );
}

#[test]
fn a_sole_target_is_retried_twice_at_most() {
    tells(
        1,
        "0s a calls\n 0s a fails 500\n 1s a wakes\n 1s a fails 500\n 2s a wakes\n 2s a fails 500",
        "
        0s a tries swc (route), 30s
        0s a pauses
        1s a tries swc (retry), 29s
        1s a pauses
        2s a tries swc (retry), 28s
        2s a gives up: Unavailable { retry_after: 1s }",
    );
}

#[test]
fn what_every_target_did_names_the_error() {
    tells(
        2,
        "0s a calls\n 0s a fails 401\n 0s a fails 401\n 0s b calls\n 0s b fails garbage\n 0s b fails garbage\n
         1s b wakes\n 1s b fails garbage\n 2s b wakes\n 2s b fails garbage",
        "
        0s a tries swc (route), 18s
        0s a tries weu (rescue), 30s
        0s a gives up: Misconfigured
        0s b tries swc (route), 18s
        0s b tries weu (rescue), 30s
        0s b pauses
        1s b tries swc (retry), 29s
        1s b pauses
        2s b tries weu (retry), 28s
        2s b gives up: BadResponse",
    );
}

#[test]
fn one_wrong_credential_beside_a_busy_target_is_no_misconfigured_service() {
    // swc cools for 40 s; only weu was asked, so "every permitted target" would be untrue.
    tells(
        2,
        "0s a calls\n 0s a fails throttled 40s\n 1s b calls\n 1s b fails 401",
        "
        0s a tries swc (route), 18s
        0s a tries weu (rescue), 30s
        1s b tries weu (spill), 30s
        1s b gives up: Unavailable { retry_after: 39s }",
    );
}

#[test]
fn time_that_is_up_ends_the_call() {
    tells(
        2,
        "0s a calls\n 30s a fails 500",
        "
        0s a tries swc (route), 18s
        30s a gives up: DeadlineExceeded",
    );
}

#[test]
fn a_wait_takes_at_most_half_of_what_is_left() {
    tells(
        1,
        "0s a calls\n 21s a fails throttled 5s\n 30s b calls\n 50s b fails throttled 5s",
        "
        0s a tries swc (route), 30s
        21s a gives up: Throttled { retry_after: 5s }
        30s b tries swc (route), 30s
        50s b waits 5s",
    );
}
