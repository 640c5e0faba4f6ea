//! Residency: who may send what where.
//!
//! [`PermittedTarget`] is the proof that a policy was asked, and the only thing a dialer takes. Its fields are
//! private and this module is the only one that makes it, so sending data to a target that no policy permits does
//! not compile.
use std::{fmt, sync::Arc};

use crate::domain::{ProcessingScope, RoutingOptions, Target};

/// Which targets a caller's data may go to. Empty lists permit all regions or boundaries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Normalised region names.
    pub regions: Vec<Arc<str>>,
    /// Data boundary labels.
    pub boundaries: Vec<Arc<str>>,
    /// Widest processing scope.
    pub max_scope: ProcessingScope,
    /// Where a journal is kept: no attempt without a record. Default true.
    pub audit_required: bool,
}

impl Policy {
    /// Permits every configured target: the policy of a service without `policies`.
    pub fn unrestricted() -> Self {
        Self {
            name: "unrestricted".into(),
            regions: vec![],
            boundaries: vec![],
            max_scope: ProcessingScope::Global,
            audit_required: true,
        }
    }

    /// Decides for one target, under the policy narrowed by the request's own wishes. Called again for every
    /// attempt.
    pub fn permit(&self, target: &Arc<Target>, request: &RoutingOptions) -> Result<PermittedTarget, Refusal> {
        self.permits(target)?;
        request_permits(request, target)?;
        Ok(PermittedTarget { target: Arc::clone(target), policy: Arc::clone(&self.name) })
    }

    fn permits(&self, target: &Target) -> Result<(), Refusal> {
        if !self.regions.is_empty() && !self.regions.contains(&target.region) {
            return Err(Refusal::PolicyRegion);
        }
        let in_boundary = target.boundary.as_ref().is_some_and(|label| self.boundaries.contains(label));
        if !self.boundaries.is_empty() && !in_boundary {
            return Err(Refusal::PolicyBoundary);
        }
        if target.scope > self.max_scope {
            return Err(Refusal::PolicyScope { needs: target.scope, permits: self.max_scope });
        }
        Ok(())
    }
}

fn request_permits(request: &RoutingOptions, target: &Target) -> Result<(), Refusal> {
    if !request.allowed_regions.is_empty() && !request.allowed_regions.iter().any(|name| **name == *target.region) {
        return Err(Refusal::RequestRegion);
    }
    if request.data_boundary.as_deref().is_some_and(|label| target.boundary.as_deref() != Some(label)) {
        return Err(Refusal::RequestBoundary);
    }
    match request.max_scope {
        Some(permits) if target.scope > permits => Err(Refusal::RequestScope { needs: target.scope, permits }),
        _ => Ok(()),
    }
}

/// A target that a policy permits for one call. Only [`Policy::permit`] makes one.
///
/// ```compile_fail
/// use sealane_core::{domain::Target, policy::PermittedTarget};
/// use std::sync::Arc;
///
/// fn forge(target: Arc<Target>) -> PermittedTarget {
///     PermittedTarget { target, policy: "mine".into() }
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PermittedTarget {
    target: Arc<Target>,
    policy: Arc<str>,
}

impl PermittedTarget {
    /// The target.
    pub fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// Name of the policy that permits it.
    pub fn policy(&self) -> &Arc<str> {
        &self.policy
    }
}

/// Why a target is not permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The policy lists other regions.
    PolicyRegion,
    /// The policy lists other boundaries.
    PolicyBoundary,
    /// Azure may compute more widely than the policy permits.
    PolicyScope {
        /// The target's.
        needs: ProcessingScope,
        /// The policy's.
        permits: ProcessingScope,
    },
    /// The policy is no longer configured.
    PolicyRemoved,
    /// The target is no longer configured.
    Removed,
    /// The request allows other regions.
    RequestRegion,
    /// The request asks for another boundary.
    RequestBoundary,
    /// Azure may compute more widely than the request accepts.
    RequestScope {
        /// The target's.
        needs: ProcessingScope,
        /// The request's.
        permits: ProcessingScope,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PolicyRegion => write!(f, "not among the policy's regions"),
            Self::PolicyBoundary => write!(f, "outside the policy's data boundaries"),
            Self::PolicyScope { needs, permits } => {
                write!(f, "computes {}, the policy permits at most {}", needs.as_str(), permits.as_str())
            }
            Self::PolicyRemoved => write!(f, "the call's policy is no longer configured"),
            Self::Removed => write!(f, "no longer configured"),
            Self::RequestRegion => write!(f, "not among the request's allowed_regions"),
            Self::RequestBoundary => write!(f, "outside the request's data_boundary"),
            Self::RequestScope { needs, permits } => {
                write!(f, "computes {}, the request accepts at most {}", needs.as_str(), permits.as_str())
            }
        }
    }
}

#[cfg(test)]
mod tests;
