//! `sealane drain | release | validate`: an operator's hand on the router.
use std::time::Duration;

use clap::Args;
use console::style;
use prost_types::Timestamp;

use super::{
    Options, Output,
    client::Client,
    json::Json,
    outcome::{Failure, Outcome, print},
    table::Table,
};
use crate::grpc::pb::{self, operator_service_client::OperatorServiceClient};

/// Which deployments are meant; several names narrow each other.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Targets {
    /// Those in this Azure region.
    #[arg(long)]
    region: Option<String>,
    /// Those on this Azure OpenAI resource, by its configured name.
    #[arg(long)]
    resource: Option<String>,
    /// Those of this model.
    #[arg(long)]
    model: Option<String>,
}

impl From<Targets> for pb::TargetSelector {
    fn from(targets: Targets) -> Self {
        Self {
            region: targets.region.unwrap_or_default(),
            resource: targets.resource.unwrap_or_default(),
            model: targets.model.unwrap_or_default(),
        }
    }
}

/// Take deployments out of service for a while. Calls in flight finish where they are.
#[derive(Debug, Args)]
pub(super) struct Drain {
    #[command(flatten)]
    targets: Targets,
    /// Why: for the log, and for whoever is on call next.
    #[arg(long)]
    reason: String,
    /// For how long, such as 90s, 15m, 2h, 3d; at most 7d. It ends by itself.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    span: Duration,
    #[command(flatten)]
    client: Client,
}

/// Put drained deployments back into service.
#[derive(Debug, Args)]
pub(super) struct Release {
    #[command(flatten)]
    targets: Targets,
    /// Why: for the log.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    client: Client,
}

/// Put deployments to the test now, with a few test calls. One that fails goes out of service. Exit code 5 if any does.
#[derive(Debug, Args)]
pub(super) struct Validate {
    #[command(flatten)]
    targets: Targets,
    /// Why: for the log.
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    client: Client,
}

impl Drain {
    pub(super) async fn run(self, options: Options) -> Outcome {
        let connection = self.client.connect().await?;
        let duration = prost_types::Duration::try_from(self.span).ok();
        let request = pb::DrainRequest { selector: Some(self.targets.into()), reason: self.reason, duration };
        let mut client = OperatorServiceClient::new(connection.channel.clone());
        let done = client.drain(connection.request(request)).await?.into_inner();
        if options.output == Output::Json {
            return print(Json::new()?.line("DrainResponse", &done)?);
        }
        let until = done.expire_time.map(|time| Timestamp { nanos: 0, ..time }.to_string()).unwrap_or_default();
        show(&done.targets, &format!("drained until {until}"))?;
        if !done.models_without_target.is_empty() {
            let models = done.models_without_target.join(", ");
            eprintln!(
                "warning: no target that takes calls is left for {models}: callers are refused until one is back"
            );
        }
        Ok(())
    }
}

impl Release {
    pub(super) async fn run(self, options: Options) -> Outcome {
        let connection = self.client.connect().await?;
        let request = pb::ReleaseRequest { selector: Some(self.targets.into()), reason: self.reason };
        let mut client = OperatorServiceClient::new(connection.channel.clone());
        let done = client.release(connection.request(request)).await?.into_inner();
        if options.output == Output::Json {
            return print(Json::new()?.line("ReleaseResponse", &done)?);
        }
        if done.targets.is_empty() && !options.verbosity.quiet {
            eprintln!("none of them was drained");
            return Ok(());
        }
        show(&done.targets, "released")
    }
}

impl Validate {
    pub(super) async fn run(self, options: Options) -> Outcome {
        let connection = self.client.connect().await?;
        let request = pb::ValidateRequest { selector: Some(self.targets.into()), reason: self.reason };
        let mut client = OperatorServiceClient::new(connection.channel.clone());
        let done = client.validate(connection.request(request)).await?.into_inner();
        match options.output {
            Output::Json => print(Json::new()?.line("ValidateResponse", &done)?)?,
            Output::Table => {
                print(verdicts(&done.verdicts).join("\n"))?;
                if !done.taken_along.is_empty() {
                    print("\nThe whole resource was found down, so these went out with it:")?;
                    show(&done.taken_along, "out")?;
                }
            }
        }
        match done.verdicts.iter().filter(|verdict| !verdict.passed).count() {
            0 => Ok(()),
            failed => Err(Failure::Unhealthy(format!("{failed} of {} did not pass", done.verdicts.len()))),
        }
    }
}

fn show(targets: &[pb::TargetName], what: &str) -> Outcome {
    let mut table = Table::new(&["model", "region", "resource", "deployment", ""]);
    for target in targets {
        let mut cells = name(target);
        cells.push(what.to_owned());
        table.row(cells);
    }
    print(table.lines().join("\n"))
}

fn name(target: &pb::TargetName) -> Vec<String> {
    vec![target.model.clone(), target.region.clone(), target.resource.clone(), target.deployment.clone()]
}

fn verdicts(verdicts: &[pb::TargetVerdict]) -> Vec<String> {
    let mut table = Table::new(&["model", "region", "resource", "deployment", "verdict", "test calls", "last failure"]);
    for verdict in verdicts {
        let mut cells = name(verdict.target.as_ref().unwrap_or(&pb::TargetName::default()));
        let said = if verdict.passed { style("● passed").green() } else { style("✕ failed").red() };
        cells.push(said.to_string());
        cells.push(format!("{} of {} passed", verdict.passed_test_calls, verdict.test_calls));
        cells.push(verdict.failure.clone());
        table.row(cells);
    }
    table.lines()
}

/// A whole number and one of the units s, m, h, d.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "is no duration such as 90s, 15m, 2h or 3d".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (amount, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let amount: u32 = amount.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    match u64::from(amount) * seconds {
        0 => Err("must be at least 1s".to_owned()),
        seconds => Ok(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_number_and_one_unit() {
        for (text, seconds) in [
            ("90s", Some(90)),
            ("15m", Some(900)),
            ("2h", Some(7200)),
            ("7d", Some(604_800)),
            ("0s", None),
            ("15", None),
            ("m", None),
            ("1h30m", None),
            ("-5m", None),
            ("99999999999s", None),
            ("5ü", None),
            ("", None),
        ] {
            assert_eq!(duration(text).ok(), seconds.map(Duration::from_secs), "{text:?}");
        }
    }
}
