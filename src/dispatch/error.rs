//! How a call can end without an answer.
use std::sync::Arc;

use crate::audit::JournalError;
use sealane_core::{
    domain::{AttemptRecord, ModelKind, Target},
    router::GiveUp,
};

/// A call without an answer, and everything that was tried for it.
#[derive(Clone, Debug, PartialEq)]
pub struct CallError {
    /// Why.
    pub failure: CallFailure,
    /// The model asked for.
    pub model: Arc<str>,
    /// Every attempt in the order in which it started.
    pub attempts: Vec<AttemptRecord>,
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum CallFailure {
    /// No such model is configured.
    UnknownModel {
        /// As asked for.
        model: String,
    },
    /// The model does something else.
    WrongModelKind {
        /// As asked for.
        model: String,
        /// What it does.
        kind: ModelKind,
    },
    /// The router has nothing left to try.
    GaveUp(GiveUp),
    /// The policy requires a record of every attempt, and the journal cannot write one. Nothing was sent.
    NotRecorded {
        /// Why not.
        cause: JournalError,
    },
    /// The region failed after content was delivered.
    Interrupted {
        /// Where.
        target: Arc<Target>,
        /// A short stable word for the failure.
        failure: &'static str,
    },
}

impl CallError {
    /// A call that was refused before anything was tried.
    pub(super) fn refused(model: &str, failure: CallFailure) -> Self {
        Self { failure, model: model.into(), attempts: Vec::new() }
    }
}
