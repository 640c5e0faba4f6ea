//! What an ingestion has come to.
use std::{collections::BTreeMap, path::Path, time::Duration};

use serde::Serialize;

use super::{
    journal::Space,
    progress::{Count, clock},
};
use crate::{
    cli::{
        Output,
        outcome::{Outcome, print},
    },
    grpc::pb,
};

/// Of all streams of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    /// Vectors by the region that made them.
    pub(super) items_by_region: BTreeMap<String, u64>,
    /// Tokens of the streams that told them; one that broke does not.
    tokens: i64,
}

impl Totals {
    pub(super) fn add(&mut self, summary: &pb::EmbedSummary) {
        self.tokens += summary.usage.as_ref().map_or(0, |usage| usage.total_tokens);
    }
}

/// One line of JSON, or a few for people.
#[derive(Debug, Serialize)]
pub(super) struct Summary<'a> {
    embedded_items: usize,
    finished_before: usize,
    failed_items: usize,
    items_by_region: &'a BTreeMap<String, u64>,
    embedding_space: &'a str,
    dimensions: usize,
    /// At least: of a stream that broke they are not known.
    tokens: i64,
    seconds: f64,
    out: &'a Path,
}

impl<'a> Summary<'a> {
    /// `before`: vectors of earlier runs, which `count` holds too.
    pub(super) fn new(
        count: Count,
        before: usize,
        totals: &'a Totals,
        space: Option<&'a Space>,
        took: Duration,
        out: &'a Path,
    ) -> Self {
        Self {
            embedded_items: count.embedded - before,
            finished_before: before,
            failed_items: count.failed,
            items_by_region: &totals.items_by_region,
            embedding_space: space.map_or("", |space| &space.name),
            dimensions: space.map_or(0, |space| space.width),
            tokens: totals.tokens,
            seconds: took.as_secs_f64(),
            out,
        }
    }

    pub(super) fn tell(&self, output: Output) -> Outcome {
        if output == Output::Json {
            return print(serde_json::to_string(self).map_err(anyhow::Error::from)?);
        }
        let mut text = format!("embedded  {}", self.embedded_items);
        if self.finished_before > 0 {
            text += &format!(", and {} before", self.finished_before);
        }
        if self.failed_items > 0 {
            text += &format!("; {} failed", self.failed_items);
        }
        text += &format!("\nout       {}", self.out.display());
        if self.dimensions > 0 {
            text += &format!("\nspace     {}, {} numbers each", self.embedding_space, self.dimensions);
        }
        if !self.items_by_region.is_empty() {
            let regions: Vec<_> = self.items_by_region.iter().map(|(name, items)| format!("{name} {items}")).collect();
            text += &format!("\nregions   {}", regions.join(", "));
        }
        text += &format!("\ntokens    {}", self.tokens);
        print(text + &format!("\ntook      {}", clock(Duration::from_secs_f64(self.seconds))))
    }
}
