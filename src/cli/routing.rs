//! Where a call may go, as arguments; and where it went, for people.
use std::time::Duration;

use clap::{Args, ValueEnum};
use console::style;

use super::Verbosity;
use crate::grpc::pb;

/// Each can only narrow what the caller's policy permits.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Where the call may go")]
pub(super) struct Routing {
    /// A unit of work that should stay in one region.
    #[arg(long, value_name = "ID")]
    workflow: Option<String>,
    /// Only this Azure region; may be repeated.
    #[arg(long = "region", value_name = "REGION")]
    regions: Vec<String>,
    /// Only regions with this data boundary label, such as `eu`.
    #[arg(long, value_name = "LABEL")]
    boundary: Option<String>,
    /// The widest place where Azure may compute.
    #[arg(long, value_enum, value_name = "SCOPE")]
    max_scope: Option<Scope>,
    /// What kind of data the call carries, as the caller's policy names it.
    #[arg(long, value_name = "CLASS")]
    data_class: Option<String>,
}

/// Where Azure may compute.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Scope {
    /// In the deployment's own region.
    Regional,
    /// Anywhere in its data zone.
    DataZone,
    /// Anywhere.
    Global,
}

impl From<Routing> for pb::RoutingOptions {
    fn from(routing: Routing) -> Self {
        let scope = routing.max_scope.map_or(pb::ProcessingScope::Unspecified, |scope| match scope {
            Scope::Regional => pb::ProcessingScope::Regional,
            Scope::DataZone => pb::ProcessingScope::DataZone,
            Scope::Global => pb::ProcessingScope::Global,
        });
        Self {
            workflow_id: routing.workflow.unwrap_or_default(),
            allowed_regions: routing.regions,
            data_boundary: routing.boundary.unwrap_or_default(),
            max_processing_scope: scope.into(),
            data_class: routing.data_class.unwrap_or_default(),
            ..Self::default()
        }
    }
}

/// Tells on standard error who answered; with every attempt if there was more than one, or if asked to.
pub(super) fn tell_served_by(
    by: Option<&pb::ServedBy>,
    model: &str,
    usage: Option<&pb::Usage>,
    took: Duration,
    verbosity: Verbosity,
) {
    let Some(by) = by.filter(|_| !verbosity.quiet) else { return };
    let tokens = usage.map(|usage| match usage.output_tokens {
        0 => format!(", {} tokens in", usage.input_tokens),
        output => format!(", {} tokens in, {output} out", usage.input_tokens),
    });
    let line = format!("{} · {model} · {} ms{}", by.region, took.as_millis(), tokens.unwrap_or_default());
    eprintln!("{}", style(line).for_stderr().dim());
    if by.attempts.len() < 2 && !verbosity.verbose {
        return;
    }
    for attempt in &by.attempts {
        let outcome = match attempt.failure.as_str() {
            "" => word(attempt.outcome().as_str_name(), "OUTCOME_"),
            failure => failure.to_owned(),
        };
        let line = format!(
            "  {}. {} ({}, {}): {outcome} after {} ms",
            attempt.number,
            attempt.region,
            attempt.deployment,
            word(attempt.reason().as_str_name(), "REASON_"),
            millis(attempt.duration.as_ref()),
        );
        eprintln!("{}", style(line).for_stderr().dim());
    }
}

/// An enum's name for people: `STANDING_SERVING` is `serving`.
pub(super) fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase().replace('_', " ")
}

/// Whole milliseconds; 0 if there is none.
pub(super) fn millis(duration: Option<&prost_types::Duration>) -> i64 {
    duration.map_or(0, |duration| duration.seconds * 1000 + i64::from(duration.nanos) / 1_000_000)
}
