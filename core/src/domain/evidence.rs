//! What Azure's response headers said of who answered, and whether it contradicts the configuration.
use std::fmt;

use super::{Quota, Target, normalise_region};

/// What Azure's response headers said. Evidence, not proof: see contract section 7.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// HTTP status.
    pub http_status: Option<u16>,
    /// `x-ms-region`, verbatim.
    pub reported_region: Option<String>,
    /// `x-ms-deployment-name`, verbatim.
    pub reported_deployment: Option<String>,
    /// `x-ms-is-spilled-over: true`, or a spillover header.
    pub spilled_over: bool,
    /// `apim-request-id`: the front end's.
    pub request_id: Option<String>,
    /// `x-request-id`: the model side's.
    pub model_request_id: Option<String>,
    /// What is left of the quota.
    pub quota: Quota,
}

impl Evidence {
    /// Where the headers contradict what the configuration says of the target; the gravest if they do so twice. Every
    /// header is optional, and one that is absent contradicts nothing.
    ///
    /// `x-ms-region` names the region of the front end that answered, not of the place that computed (contract
    /// section 7): another region than the configured one means that the endpoint is not what it is taken for, while
    /// the right one proves nothing. Names are compared as Azure does, whatever their case and blanks.
    pub fn mismatch(&self, target: &Target) -> Option<Mismatch> {
        if let Some(reported) = &self.reported_region
            && !reported.trim().is_empty()
            && normalise_region(reported) != *target.region
        {
            return Some(Mismatch::Region { reported: reported.clone() });
        }
        let declared = target.claims.spillover.as_deref();
        if let Some(reported) = self.reported_deployment.as_deref().map(str::trim)
            && !reported.is_empty()
            && !reported.eq_ignore_ascii_case(&target.deployment)
            && !declared.is_some_and(|declared| reported.eq_ignore_ascii_case(declared))
        {
            return Some(Mismatch::Deployment { reported: reported.to_owned() });
        }
        (self.spilled_over && declared.is_none()).then_some(Mismatch::Spillover)
    }
}

/// How Azure's answer contradicts the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The front end of another region answered.
    Region {
        /// `x-ms-region`, verbatim.
        reported: String,
    },
    /// A deployment served that is neither the one called nor its declared spillover.
    Deployment {
        /// `x-ms-deployment-name`, verbatim.
        reported: String,
    },
    /// Azure spilled over, and no spillover deployment is declared: the scope may be wider than configured.
    Spillover,
}

impl Mismatch {
    /// A short stable word, for alarms, metrics and spans.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Region { .. } => "region_mismatch",
            Self::Deployment { .. } => "deployment_mismatch",
            Self::Spillover => "undeclared_spillover",
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region { reported } => write!(f, "Azure's answers come from region {reported:?}"),
            Self::Deployment { reported } => write!(f, "Azure says that deployment {reported:?} served"),
            Self::Spillover => write!(f, "Azure spills calls over to a deployment that is not declared"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{Claims, Sku};

    fn target(spillover: Option<&str>) -> Target {
        Target {
            sku: Sku::ProvisionedManaged,
            claims: Claims { spillover: spillover.map(Arc::from), ..Claims::default() },
            ..Target::example()
        }
    }

    #[test]
    fn only_what_is_said_can_contradict() {
        let region = |reported: &str| Some(Mismatch::Region { reported: reported.into() });
        let deployment = |reported: &str| Some(Mismatch::Deployment { reported: reported.into() });
        for (said_region, said_deployment, spilled, declared, expected) in [
            (None, None, false, None, None),
            (Some("Sweden Central"), Some("chat"), false, None, None),
            (Some("swedencentral"), Some("Chat"), false, None, None),
            (Some(" SwedenCentral "), None, false, None, None),
            (Some(""), Some(" "), false, None, None),
            (Some("Sweden South"), None, false, None, region("Sweden South")),
            (Some("East US 2"), Some("other"), true, None, region("East US 2")),
            (None, Some("other"), false, None, deployment("other")),
            (None, Some("other"), true, Some("overflow"), deployment("other")),
            (None, Some("overflow"), true, Some("overflow"), None),
            (None, Some("OVERFLOW"), false, Some("overflow"), None),
            (None, Some("overflow"), true, None, deployment("overflow")),
            (None, Some("chat"), true, Some("overflow"), None),
            (None, None, true, None, Some(Mismatch::Spillover)),
            (Some("Sweden Central"), Some("chat"), true, None, Some(Mismatch::Spillover)),
        ] {
            let evidence = Evidence {
                reported_region: said_region.map(str::to_owned),
                reported_deployment: said_deployment.map(str::to_owned),
                spilled_over: spilled,
                ..Evidence::default()
            };
            assert_eq!(evidence.mismatch(&target(declared)), expected, "{evidence:?}, declared {declared:?}");
        }
    }

    #[test]
    fn a_mismatch_has_a_word_and_a_sentence() {
        for (mismatch, word, sentence) in [
            (
                Mismatch::Region { reported: "East US 2".into() },
                "region_mismatch",
                "Azure's answers come from region \"East US 2\"",
            ),
            (
                Mismatch::Deployment { reported: "other".into() },
                "deployment_mismatch",
                "Azure says that deployment \"other\" served",
            ),
            (
                Mismatch::Spillover,
                "undeclared_spillover",
                "Azure spills calls over to a deployment that is not declared",
            ),
        ] {
            assert_eq!((mismatch.as_str(), mismatch.to_string().as_str()), (word, sentence));
        }
    }
}
