//! Models and their targets in order of preference.
use std::{collections::HashMap, fmt, sync::Arc};

use crate::domain::{ModelKind, Target, TargetId};

/// One model's targets; the first is the primary, the rest are standbys.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// The logical name that callers use.
    pub model: Arc<str>,
    /// What the model does.
    pub kind: ModelKind,
    /// In order of preference; never empty.
    pub targets: Vec<TargetId>,
}

/// All routes of a configuration.
#[derive(Clone, Debug)]
pub struct Routes {
    routes: Vec<Arc<Route>>,
    by_model: HashMap<Arc<str>, usize>,
    targets: Vec<Arc<Target>>,
}

/// Why targets do not make routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoutesError {
    /// A target's id is not its place in the list.
    Misplaced(TargetId),
    /// Targets of one model do different things.
    MixedKinds(Arc<str>),
    /// More targets than an id can count.
    TooMany,
}

impl fmt::Display for RoutesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misplaced(id) => write!(f, "target {} is not at its place", id.0),
            Self::MixedKinds(model) => write!(f, "targets of model {model} are of different kinds"),
            Self::TooMany => write!(f, "more than {} targets", u16::MAX),
        }
    }
}

impl std::error::Error for RoutesError {}

impl Routes {
    /// Groups targets by model, in the order given.
    pub fn new(targets: Vec<Target>) -> Result<Self, RoutesError> {
        if targets.len() > usize::from(u16::MAX) {
            return Err(RoutesError::TooMany);
        }
        let mut grouped: Vec<Route> = Vec::new();
        for (place, target) in targets.iter().enumerate() {
            if usize::from(target.id.0) != place {
                return Err(RoutesError::Misplaced(target.id));
            }
            match grouped.iter_mut().find(|route| route.model == target.model) {
                Some(route) if route.kind != target.kind => {
                    return Err(RoutesError::MixedKinds(Arc::clone(&target.model)));
                }
                Some(route) => route.targets.push(target.id),
                None => grouped.push(Route {
                    model: Arc::clone(&target.model),
                    kind: target.kind,
                    targets: vec![target.id],
                }),
            }
        }
        let by_model = grouped.iter().enumerate().map(|(at, route)| (Arc::clone(&route.model), at)).collect();
        Ok(Self {
            routes: grouped.into_iter().map(Arc::new).collect(),
            by_model,
            targets: targets.into_iter().map(Arc::new).collect(),
        })
    }

    /// The route of a model; `None` if it is not configured.
    pub fn find(&self, model: &str) -> Option<&Arc<Route>> {
        self.by_model.get(model).and_then(|at| self.routes.get(*at))
    }

    /// All routes, in the order of the configuration.
    pub fn all(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// All targets, by id.
    pub fn targets(&self) -> &[Arc<Target>] {
        &self.targets
    }

    /// The targets of a route, in order of preference.
    pub fn targets_of<'a>(&'a self, route: &'a Route) -> impl Iterator<Item = &'a Arc<Target>> {
        route.targets.iter().filter_map(|id| self.targets.get(usize::from(id.0)))
    }
}
