//! `sealane ingest`: vectors for a file of texts, however long, whatever breaks meanwhile.
mod estimate;
mod failures;
mod input;
mod journal;
mod output;
mod progress;
mod stream;
mod summary;

use std::{path::PathBuf, time::Instant};

use anyhow::anyhow;
use clap::{Args, ValueEnum};

use self::{
    estimate::EstimateOptions,
    failures::Failures,
    input::Input,
    journal::Started,
    output::{Format, Output, beside},
    progress::{Count, Progress},
    stream::{Ended, Ingestion, Source},
    summary::{Summary, Totals},
};
use super::{
    Options,
    client::Client,
    outcome::{Failure, Outcome},
    routing::Routing,
    serve::stop_signal,
};
use crate::grpc::pb;

/// What `--help` says beside the options.
const FILES: &str = "\
Files:
  --in chunks.jsonl     lines such as {\"id\":\"a\",\"text\":\"...\"}, ids 1 to 128 bytes, each once; further fields are ignored
  --in notes.txt        every line is a text, its number the id
  --out vectors.jsonl   lines such as {\"id\":\"a\",\"vector\":[0.1,...]}, in any order
  --out vectors.npy     a numpy array, float32, one row for each vector; line n of vectors.ids.jsonl names row n
  OUT.journal           which items are done: the same command goes on from there, also after a kill or a power cut
  OUT.errors.jsonl      items that were refused and why, if there are any (exit code 1); the same command tries them again

The whole input is read before anything is sent. A stream that breaks is opened again, and only what has no answer is sent
again; while every region is out, the service keeps what it has, and this command waits. Ctrl-C stops cleanly.";

/// Embed a file of texts, with progress; resumes where it was stopped.
#[derive(Debug, Args)]
#[command(after_help = FILES)]
#[command(mut_arg("timeout", |arg| arg.default_value("300").help("Longest time without a connection, in seconds")))]
pub(super) struct Ingest {
    /// What to embed.
    #[arg(long = "in", value_name = "FILE")]
    input: PathBuf,
    /// Where the vectors go; the extension says the format.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// A model of the service's configuration.
    #[arg(long, env = "SEALANE_EMBEDDING_MODEL", default_value = "text-embedding-3-large")]
    model: String,
    /// Shorten the vectors to this length.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    dimensions: Option<i32>,
    /// Who goes first when quota runs short.
    #[arg(long, value_enum, default_value_t = Priority::Bulk)]
    priority: Priority,
    #[command(flatten)]
    estimate: EstimateOptions,
    #[command(flatten)]
    routing: Routing,
    #[command(flatten)]
    client: Client,
}

/// Who goes first.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Priority {
    /// Yields to interactive calls.
    Bulk,
    /// As calls that people wait for.
    Interactive,
}

impl Ingest {
    pub(super) async fn run(self, options: Options) -> Outcome {
        let format = Format::of(&self.out).map_err(Failure::Usage)?;
        let started = Started::new(&self.model, self.dimensions, format);
        let input = Input::new(&self.input);
        let done = journal::read(&beside(&self.out, ".journal"), &started)?;
        let contents = input.survey(&done.ids)?;
        if self.estimate.is_asked_for() {
            return self.estimate.tell(&contents, options.output);
        }
        let before = contents.items - contents.open_items;
        let count = Count { total: contents.items, embedded: before, failed: 0 };
        // Where nothing is open, nobody needs a service.
        let connection = if contents.open_items > 0 { Some(self.client.connect().await?) } else { None };
        let (output, done) = Output::open(&self.out, format, &started)?;
        let failures = Failures::new(beside(&self.out, ".errors.jsonl"));
        let start = Instant::now();
        let mut work = Ingestion {
            open: self.open(),
            patience: self.client.timeout(),
            source: Source::new(&input, done.ids)?,
            output,
            failures,
            progress: Progress::new(options.verbosity, start),
            count,
            totals: Totals::default(),
        };
        let ended = match &connection {
            Some(connection) => work.run(connection, stop_signal()?).await,
            None => Ok(Ended::Whole),
        };
        work.progress.clear();
        let (count, space) = (work.count, work.output.space().cloned());
        let closed = work.output.close();
        let done = format!("{} of {} items are done", count.embedded + count.failed, count.total);
        let ended = ended.inspect_err(|_| eprintln!("{done}; the rest would fail again until this is mended:"))?;
        closed?;
        match ended {
            Ended::Whole => work.failures.end()?,
            Ended::Stopped => return Err(anyhow!("stopped: {done}; go on with\n  {}", typed()).into()),
            Ended::GivenUp(failure) => {
                eprintln!("{done}; go on with\n  {}", typed());
                return Err(failure);
            }
        }
        let summary = Summary::new(count, before, &work.totals, space.as_ref(), start.elapsed(), &self.out);
        summary.tell(options.output)?;
        match count.failed {
            0 => Ok(()),
            failed => Err(anyhow!(
                "{failed} of {} items failed: {} says which and why; the same command tries them again",
                count.total,
                work.failures.path.display()
            )
            .into()),
        }
    }

    fn open(&self) -> pb::EmbedStreamOpen {
        let mut routing = pb::RoutingOptions::from(self.routing.clone());
        routing.priority = match self.priority {
            Priority::Bulk => pb::Priority::Bulk.into(),
            Priority::Interactive => pb::Priority::Interactive.into(),
        };
        pb::EmbedStreamOpen {
            model: self.model.clone(),
            dimensions: self.dimensions,
            routing: Some(routing),
            ..pb::EmbedStreamOpen::default()
        }
    }
}

/// This command as it was typed, for a shell.
fn typed() -> String {
    let quoted = std::env::args().map(|word| {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "_-./:=,@%+".contains(letter);
        if !word.is_empty() && word.chars().all(plain) { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
    });
    quoted.collect::<Vec<_>>().join(" ")
}
