//! How long an attempt may take and be silent.
use std::time::Duration;

use super::super::{Call, Delivery, Router};
use crate::domain::{AttemptLimits, Moment, Target};

/// An attempt may not eat the time that a rescue needs. A streamed answer is bound by that only until its first
/// content, since nothing can rescue it afterwards.
pub(super) fn limits(router: &Router, call: &Call, target: &Target, rescuers_left: bool, now: Moment) -> AttemptLimits {
    let thresholds = &router.thresholds;
    let remaining = call.remaining(now);
    let share = if rescuers_left { remaining * thresholds.attempt_share_percent / 100 } else { remaining };
    AttemptLimits {
        first_content: patience(router, call, target).min(share),
        stall: if target.reasoning { thresholds.stall_reasoning } else { thresholds.stall },
        // What streams shows that it lives: its silence and its stalls are cut in time, its length is not.
        total: match call.terms.delivery {
            Delivery::Streamed | Delivery::Assembled => remaining,
            Delivery::Unary | Delivery::Embedded => share,
        },
        rescue_by: share,
    }
}

/// How long an attempt may be silent, as far as its target is concerned.
pub(super) fn patience(router: &Router, call: &Call, target: &Target) -> Duration {
    let thresholds = &router.thresholds;
    match (call.terms.delivery, target.reasoning) {
        (Delivery::Unary, false) => thresholds.unary_reply,
        (Delivery::Unary | Delivery::Streamed | Delivery::Assembled, true) => thresholds.first_content_reasoning,
        (Delivery::Streamed | Delivery::Assembled, false) | (Delivery::Embedded, _) => {
            // A model that is slow by habit gets the time it needs; one that is quick gets no less than the floor.
            let known = router.health[usize::from(target.id.0)].baseline.quantiles();
            let learned = known.map_or(Duration::ZERO, |known| known.p95 * 4);
            let for_length = thresholds.first_content_per_4000_tokens.as_secs_f64() * call.terms.prompt_tokens as f64;
            thresholds.first_content_floor.max(learned) + Duration::from_secs_f64((for_length / 4000.0).min(3600.0))
        }
    }
}

/// A limit that only the caller's deadline set is held against a target if it left as much time as silence takes to
/// mean something.
pub(super) fn fair_silence(router: &Router, call: &Call, target: &Target, limits: &AttemptLimits) -> Duration {
    let patience = patience(router, call, target);
    if limits.first_content >= patience {
        return Duration::ZERO;
    }
    match call.terms.delivery {
        Delivery::Unary => patience,
        Delivery::Streamed | Delivery::Assembled | Delivery::Embedded => {
            let health = &router.health[usize::from(target.id.0)];
            health.silence_limit(target, call.terms.prompt_tokens, &router.thresholds).unwrap_or(patience)
        }
    }
}

pub(super) fn hedge_delay(router: &Router, at: usize) -> Duration {
    let p95 = router.health[at].baseline.quantiles().map_or(Duration::ZERO, |known| known.p95);
    router.thresholds.hedging.delay.max(p95)
}
