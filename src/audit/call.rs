//! The journal as one call sees it.
use std::{sync::Arc, time::Duration};

use tokio::time::timeout;
use tracing::warn;

use super::{
    attempt::{CallFacts, Decision, Intent},
    journal::Journal,
    label::Label,
    queue::{JournalError, OpenIntent},
    record::Event,
};

/// Longest wait for an INTENT to become durable, whatever the deadline.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the journal is to know of one call. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CallJournal {
    journal: Journal,
    facts: Arc<CallFacts>,
    required: bool,
}

impl CallJournal {
    /// A call of which nothing is known but that it came. Nothing is written yet.
    pub fn new(journal: &Journal, mut facts: CallFacts) -> Self {
        facts.request_id = journal.call_id();
        Self { journal: journal.clone(), facts: Arc::new(facts), required: true }
    }

    /// A further call under the same facts, such as the next batch of an ingestion.
    #[must_use]
    pub fn of_another_call(&self) -> Self {
        let mut another = self.clone();
        another.learn(|facts| facts.request_id = self.journal.call_id());
        another
    }

    /// Learns more of the call.
    pub fn learn(&mut self, tell: impl FnOnce(&mut CallFacts)) {
        tell(Arc::make_mut(&mut self.facts));
    }

    /// Learns what the caller asks: the size of its message, and what ties records to it where a key is configured.
    /// `canonical`: see [`RequestKey::mac`](super::RequestKey::mac).
    pub fn asked(&mut self, bytes: usize, canonical: impl FnOnce() -> Vec<u8>) {
        let request_mac = self.journal.request_mac(self.facts.caller.as_str(), canonical);
        self.learn(|facts| (facts.request_bytes, facts.request_mac) = (bytes as u64, request_mac));
    }

    /// Whether the policy forbids attempts that are not in the journal; it does unless told otherwise.
    pub fn require(&mut self, required: bool) {
        self.required = required;
    }

    /// Notes that the policy admits the call.
    pub fn admit(&self) {
        self.decide(Event::Admit, None, Vec::new(), 0);
    }

    /// Notes that the call was refused. `refused`: targets and why they are not permitted; `held_back`: refusals
    /// before this one that are not noted.
    pub fn deny(&self, reason: &str, refused: Vec<Label>, held_back: u64) {
        self.decide(Event::Deny, Some(reason.into()), refused, held_back);
    }

    fn decide(&self, event: fn(Box<Decision>) -> Event, reason: Option<Label>, refused: Vec<Label>, held_back: u64) {
        let decision = Decision { call: CallFacts::clone(&self.facts), reason, refused, held_back };
        // What is lost is counted, and told by the journal itself.
        let _ = self.journal.note(event(Box::new(decision)));
    }

    /// An attempt that is about to be made. `attempt` states everything but the call; `left` is the time that the
    /// call still has.
    pub fn intent(&self, attempt: Intent, left: Duration) -> PendingIntent {
        let intent = Intent { call: CallFacts::clone(&self.facts), ..attempt };
        PendingIntent {
            journal: self.journal.clone(),
            intent,
            patience: PATIENCE.min(left / 4),
            required: self.required,
        }
    }
}

/// An INTENT that is not written yet.
#[derive(Debug)]
pub struct PendingIntent {
    journal: Journal,
    intent: Intent,
    patience: Duration,
    required: bool,
}

impl PendingIntent {
    /// Writes it and waits until it is durable, at most two seconds or a quarter of the time that the call has left.
    /// `None`: it could not be written, and the policy lets the attempt be made all the same.
    ///
    /// # Errors
    /// When it could not be written and the policy requires it. Nothing may be sent then.
    pub async fn write(self) -> Result<Option<OpenIntent>, JournalError> {
        let written = timeout(self.patience, self.journal.intent(self.intent)).await;
        match written.unwrap_or(Err(JournalError::TooSlow { waited: self.patience })) {
            Ok(open) => Ok(Some(open)),
            Err(error) => {
                self.journal.unrecorded();
                if self.required {
                    return Err(error);
                }
                warn!(%error, "an attempt is made without a record, as its policy permits");
                Ok(None)
            }
        }
    }
}
