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
    /// By id; with those of earlier configurations, whose calls may still be in flight.
    targets: Vec<Arc<Target>>,
    /// By id: whether the configuration in force names it.
    in_use: Vec<bool>,
}

/// Why targets do not make routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoutesError {
    /// A target's id is not its place in the list.
    Misplaced(TargetId),
    /// Targets of one model do different things.
    MixedKinds(Arc<str>),
    /// Targets of one embedding model whose vectors may not be compared.
    MixedSpaces {
        /// The model.
        model: Arc<str>,
        /// The first target, and its space.
        first: String,
        /// The one that differs, and its space.
        other: String,
    },
    /// More targets than an id can count.
    TooMany,
}

impl fmt::Display for RoutesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misplaced(id) => write!(f, "target {} is not at its place", id.0),
            Self::MixedKinds(model) => write!(f, "targets of model {model} are of different kinds"),
            Self::MixedSpaces { model, first, other } => write!(
                f,
                "targets of model {model} embed into different spaces: {first}, {other}; vectors of two kinds in one route \
                 would corrupt every index"
            ),
            Self::TooMany => write!(f, "more than {} targets", u16::MAX),
        }
    }
}

impl std::error::Error for RoutesError {}

impl Routes {
    /// Groups targets by model, in the order given.
    pub fn new(targets: Vec<Target>) -> Result<Self, RoutesError> {
        let misplaced = targets.iter().enumerate().find(|(place, target)| usize::from(target.id.0) != *place);
        match misplaced {
            Some((_, target)) => Err(RoutesError::Misplaced(target.id)),
            None => Self { routes: vec![], by_model: HashMap::new(), targets: vec![], in_use: vec![] }.succeed(targets),
        }
    }

    /// The routes of another configuration. A target that is the same deployment for the same model on the same
    /// resource keeps its id, whatever id it brings along; ids of targets that are gone are not given again.
    pub fn succeed(&self, targets: Vec<Target>) -> Result<Self, RoutesError> {
        let mut all = self.targets.clone();
        let mut in_use = vec![false; all.len()];
        let mut grouped: Vec<Route> = Vec::new();
        for mut target in targets {
            let known = self.targets.iter().find(|known| is_same(known, &target));
            let place = known.map_or(all.len(), |known| usize::from(known.id.0));
            target.id = TargetId(u16::try_from(place).map_err(|_| RoutesError::TooMany)?);
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
            match all.get_mut(place) {
                Some(known) => (*known, in_use[place]) = (Arc::new(target), true),
                None => {
                    all.push(Arc::new(target));
                    in_use.push(true);
                }
            }
        }
        let is_mixed = |route: &Route| mixed_spaces(route, &all);
        if let Some(mixed) = grouped.iter().find_map(is_mixed) {
            return Err(mixed);
        }
        let by_model = grouped.iter().enumerate().map(|(at, route)| (Arc::clone(&route.model), at)).collect();
        Ok(Self { routes: grouped.into_iter().map(Arc::new).collect(), by_model, targets: all, in_use })
    }

    /// The route of a model; `None` if it is not configured.
    pub fn find(&self, model: &str) -> Option<&Arc<Route>> {
        self.by_model.get(model).and_then(|at| self.routes.get(*at))
    }

    /// All routes, in the order of the configuration.
    pub fn all(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// All targets, by id; with those of earlier configurations.
    pub fn targets(&self) -> &[Arc<Target>] {
        &self.targets
    }

    /// The targets of a route, in order of preference.
    pub fn targets_of<'a>(&'a self, route: &'a Route) -> impl Iterator<Item = &'a Arc<Target>> {
        route.targets.iter().filter_map(|id| self.targets.get(usize::from(id.0)))
    }

    /// Targets that the configuration in force names.
    pub fn targets_in_use(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.targets.iter().filter(|target| self.in_use(target.id))
    }

    /// Whether the configuration in force names it.
    pub fn in_use(&self, id: TargetId) -> bool {
        self.in_use.get(usize::from(id.0)).is_some_and(|in_use| *in_use)
    }
}

/// Vectors of two kinds in one route would corrupt every index.
fn mixed_spaces(route: &Route, targets: &[Arc<Target>]) -> Option<RoutesError> {
    let mut all = route.targets.iter().filter_map(|id| targets.get(usize::from(id.0)));
    let first = all.next()?;
    let other = all.find(|target| target.embedding_space != first.embedding_space)?;
    let name = |target: &Target| {
        let space = target.embedding_space.as_ref().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        format!("{} at {} into {space}", target.deployment, target.resource)
    };
    Some(RoutesError::MixedSpaces { model: Arc::clone(&route.model), first: name(first), other: name(other) })
}

/// The same deployment at the same place, for the same purpose: what was learned of the one holds for the other.
fn is_same(known: &Target, new: &Target) -> bool {
    let place = |target: &Target| (target.resource_index, target.kind);
    place(known) == place(new)
        && known.model == new.model
        && known.deployment == new.deployment
        && known.region == new.region
}
