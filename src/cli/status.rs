//! `sealane status`: which regions are well, which serve, and why.
use std::time::Duration;

use clap::Args;
use console::{Term, style};

use super::{
    Options, Output,
    client::Client,
    json::Json,
    outcome::{Failure, Outcome, print},
    routing::{millis, word},
    table::Table,
};
use crate::grpc::pb::{self, region_service_client::RegionServiceClient};

/// Show every deployment as the service sees it. Exit code 5 if a model has none that could serve.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// Keep showing: redrawn on a terminal, appended elsewhere.
    #[arg(long)]
    watch: bool,
    /// Only this Azure region.
    #[arg(long)]
    region: Option<String>,
    /// Only this model.
    #[arg(long)]
    model: Option<String>,
    #[command(flatten)]
    client: Client,
}

impl Status {
    pub(super) async fn run(self, options: Options) -> Outcome {
        let connection = self.client.connect().await?;
        let mut client = RegionServiceClient::new(connection.channel.clone());
        let (region, model) = (self.region.unwrap_or_default(), self.model.unwrap_or_default());
        if !self.watch {
            let request = connection.request(pb::RegionStatusRequest { region, model });
            let status = client.region_status(request).await?.into_inner();
            show(&status, options)?;
            return healthy(&status);
        }
        let term = Term::stdout();
        let live = term.is_term() && options.output == Output::Table;
        // People on a terminal watch numbers move; logs want changes and a sign of life.
        let interval = if live { Duration::from_secs(1) } else { Duration::from_secs(10) };
        let max_interval = prost_types::Duration::try_from(interval).ok();
        let request = connection.endless(pb::WatchRegionStatusRequest { region, model, max_interval });
        let mut updates = client.watch_region_status(request).await?.into_inner();
        let mut drawn = 0;
        while let Some(update) = updates.message().await? {
            let Some(status) = update.status else { continue };
            if live {
                let width = usize::from(term.size().1);
                let lines = lines(&status);
                let lines: Vec<_> = lines.iter().map(|line| console::truncate_str(line, width, "…")).collect();
                let erase = if drawn == 0 { String::new() } else { format!("\x1b[{drawn}A\x1b[J") };
                term.write_line(&format!("{erase}{}", lines.join("\n")))?;
                drawn = lines.len();
            } else {
                show(&status, options)?;
            }
        }
        Err(Failure::Unreachable("the service ended the watch".into()))
    }
}

fn show(status: &pb::RegionStatusResponse, options: Options) -> Outcome {
    match options.output {
        Output::Json => print(Json::new()?.line("RegionStatusResponse", status)?),
        Output::Table => print(lines(status).join("\n")),
    }
}

fn healthy(status: &pb::RegionStatusResponse) -> Outcome {
    let dead: Vec<_> = status.models.iter().filter(|model| model.active_region.is_empty()).collect();
    match dead.as_slice() {
        [] => Ok(()),
        dead => {
            let names: Vec<_> = dead.iter().map(|model| model.model.as_str()).collect();
            Err(Failure::Unhealthy(format!("no deployment could serve {}", names.join(", "))))
        }
    }
}

/// Models, each with its targets in order of preference.
fn lines(status: &pb::RegionStatusResponse) -> Vec<String> {
    let heading = [
        "model",
        "region",
        "resource",
        "scope",
        "state",
        "in flight",
        "ok 60 s",
        "p50",
        "p95",
        "served",
        "failed",
        "last failure",
    ];
    let mut table = Table::new(&heading).right(&[5, 6, 7, 8, 9, 10]);
    let mut targets: Vec<_> = status
        .regions
        .iter()
        .flat_map(|region| {
            region.targets.iter().map(move |target| (target.model.as_str(), target.priority, region, target))
        })
        .collect();
    targets.sort_by_key(|(model, priority, _, _)| (*model, *priority));
    for (model, priority, region, target) in targets {
        let active = status.models.iter().any(|state| {
            let here = (&state.active_region, &state.active_resource, &state.active_deployment);
            state.model == model && here == (&region.region, &target.resource, &target.deployment)
        });
        table.row(vec![
            if priority <= 1 { model.to_owned() } else { String::new() },
            format!("{} {}", if active { style("▸").cyan().to_string() } else { " ".into() }, region.region),
            target.resource.clone(),
            word(target.processing_scope().as_str_name(), "PROCESSING_SCOPE_"),
            state(target),
            target.in_flight_calls.to_string(),
            recent(target),
            latency(target.latency_p50.as_ref()),
            latency(target.latency_p95.as_ref()),
            target.served_calls.to_string(),
            target.failed_attempts.to_string(),
            target.last_failure.clone(),
        ]);
    }
    table.lines()
}

fn state(target: &pb::TargetState) -> String {
    match (target.overlay(), target.standing()) {
        (pb::Overlay::Unspecified, pb::Standing::Serving) => style("● serving".to_owned()).green(),
        (pb::Overlay::Unspecified, pb::Standing::Out) => style("✕ out".to_owned()).red(),
        (pb::Overlay::Unspecified, standing) => {
            style(format!("◐ {}", word(standing.as_str_name(), "STANDING_"))).yellow()
        }
        (pb::Overlay::Misconfigured, _) => style("✕ misconfigured".to_owned()).red(),
        (overlay, _) => style(format!("◐ {}", word(overlay.as_str_name(), "OVERLAY_"))).yellow(),
    }
    .to_string()
}

fn recent(target: &pb::TargetState) -> String {
    match target.recent_success_ratio {
        Some(ratio) => format!("{:.0}% of {}", ratio * 100.0, target.recent_attempts),
        None => "-".to_owned(),
    }
}

fn latency(duration: Option<&prost_types::Duration>) -> String {
    duration.map_or_else(|| "-".to_owned(), |duration| format!("{} ms", millis(Some(duration))))
}
