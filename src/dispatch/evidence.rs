//! What Azure said of itself, compared with the configuration: once for every answer, of calls and of test calls.
use sealane_core::domain::{Evidence, Target};
use tracing::error;

use super::Dispatcher;
use crate::{telemetry::CallSpan, upstream::Upstream};

impl<U: Upstream> Dispatcher<U> {
    /// Compares; tells the router of a contradiction, and the log if it is news. `call` is `None` for test
    /// calls.
    pub fn heed(&self, target: &Target, evidence: &Evidence, call: Option<&CallSpan>) {
        let Some(mismatch) = evidence.mismatch(target) else { return };
        let news = self.router().mismatched(target.id, &mismatch, self.clock.now());
        if !news {
            return;
        }
        self.announce();
        // A region that says one thing and then another must not flood the log.
        let Some(held_back) = self.failures_told.pass() else { return };
        error!(
            model = &*target.model,
            region = &*target.region,
            resource = &*target.resource,
            deployment = &*target.deployment,
            mismatch = mismatch.as_str(),
            reported_region = evidence.reported_region,
            reported_deployment = evidence.reported_deployment,
            spilled_over = evidence.spilled_over,
            request_id = evidence.request_id,
            trace_id = call.map(CallSpan::trace_id),
            held_back,
            "Azure's answer contradicts the configuration"
        );
    }
}
