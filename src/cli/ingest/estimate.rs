//! What an ingestion would take, without sending anything.
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::{input::Contents, progress::clock};
use crate::cli::{
    Output,
    outcome::{Outcome, print},
};

/// What an estimate is made with.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Estimate")]
pub(super) struct EstimateOptions {
    /// Send nothing: tell items, characters, estimated tokens (a quarter of the characters, as Azure meters them) and, with
    /// the options below, time and price. What an earlier run has done does not count.
    #[arg(long)]
    dry_run: bool,
    /// Quota of the deployments together, in tokens a minute, for an estimate of the time.
    #[arg(long, requires = "dry_run", value_name = "TOKENS", value_parser = clap::value_parser!(u64).range(1..))]
    tokens_per_minute: Option<u64>,
    /// Price of a million tokens, in whatever currency, for an estimate of the cost.
    #[arg(long, requires = "dry_run", value_name = "PRICE", value_parser = price)]
    price_per_million: Option<f64>,
}

fn price(text: &str) -> Result<f64, String> {
    let price: f64 = text.parse().map_err(|_| "is no number".to_owned())?;
    if price.is_finite() && price >= 0.0 { Ok(price) } else { Err("must be 0 or more".to_owned()) }
}

/// One line of JSON, or the table.
#[derive(Debug, Serialize)]
struct Estimate {
    items: usize,
    finished_before: usize,
    characters: u64,
    estimated_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_price: Option<f64>,
}

impl EstimateOptions {
    pub(super) fn is_asked_for(&self) -> bool {
        self.dry_run
    }

    /// Tells what is open.
    pub(super) fn tell(&self, contents: &Contents, output: Output) -> Outcome {
        let tokens = contents.open_tokens;
        let estimate = Estimate {
            items: contents.open_items,
            finished_before: contents.items - contents.open_items,
            characters: contents.open_characters,
            estimated_tokens: tokens,
            estimated_seconds: self.tokens_per_minute.map(|quota| tokens as f64 * 60.0 / quota as f64),
            estimated_price: self.price_per_million.map(|price| tokens as f64 / 1e6 * price),
        };
        if output == Output::Json {
            return print(serde_json::to_string(&estimate).map_err(anyhow::Error::from)?);
        }
        let mut lines = vec![format!("items             {}", estimate.items)];
        if estimate.finished_before > 0 {
            lines.push(format!("finished before   {}", estimate.finished_before));
        }
        lines.push(format!("characters        {}", estimate.characters));
        lines.push(format!("estimated tokens  {tokens}"));
        if let Some(seconds) = estimate.estimated_seconds {
            let time = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
            lines.push(format!("estimated time    {} (at full use of the quota)", clock(time)));
        }
        if let Some(price) = estimate.estimated_price {
            lines.push(format!("estimated price   {price:.4}"));
        }
        print(lines.join("\n"))
    }
}
