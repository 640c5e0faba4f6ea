//! A short run of the table, so that no change breaks a claim unnoticed; and broken worlds, so that the table is known
//! to notice. Debug builds are slow: the long run is `make sim`.
#![allow(clippy::unwrap_used)]
use std::time::Duration;

use sealane_core::router::Thresholds;
use sealane_sim::{
    claims::{Settings, all},
    region::Latency,
    world::Lie,
};

fn short() -> Settings {
    Settings {
        first_seed: 1,
        seeds: 8,
        hours: 1.0,
        rate: 1.0,
        background: 0.02,
        days: 0.2,
        latency: Latency::default(),
        thresholds: Thresholds::default(),
        lie: Lie::None,
        threads: 2,
    }
}

fn failing(settings: &Settings) -> Vec<String> {
    all(settings).into_iter().filter(|row| row.holds == Some(false)).map(|row| format!("{row:?}")).collect()
}

#[test]
fn every_claim_holds() {
    assert_eq!(failing(&short()), Vec::<String>::new());
}

#[test]
fn a_world_whose_test_calls_lie_breaks_claims() {
    for lie in [Lie::TestsAlwaysPass, Lie::TestsAlwaysFail] {
        assert!(failing(&Settings { lie, ..short() }).len() >= 5, "{lie:?}");
    }
}

#[test]
fn a_router_without_patience_breaks_claims() {
    let mut thresholds = Thresholds::default();
    thresholds.recovery.hold = (Duration::from_secs(1), Duration::from_secs(1));
    thresholds.recovery.proofs = 1;
    thresholds.recovery.step = Duration::from_secs(1);
    let failing = failing(&Settings { thresholds, ..short() });
    assert!(failing.iter().any(|row| row.contains("flaps")), "{failing:?}");
}
