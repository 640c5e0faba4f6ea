//! `sealane embed`: vectors from the command line.
use std::time::Instant;

use clap::Args;

use super::{
    Options, Output,
    client::Client,
    complete::from_stdin,
    json::Json,
    outcome::{Outcome, print},
    routing::{Routing, tell_served_by},
    table::Table,
};
use crate::grpc::pb::{self, inference_service_client::InferenceServiceClient};

/// Numbers of a vector that a person is shown.
const SHOWN_NUMBERS: usize = 4;

/// Embed texts. `--output json` prints the vectors in full.
#[derive(Debug, Args)]
pub(super) struct Embed {
    /// Texts, each of which becomes a vector. Without any, every line of standard input is one.
    texts: Vec<String>,
    /// A model of the service's configuration.
    #[arg(long, env = "SEALANE_EMBEDDING_MODEL", default_value = "text-embedding-3-large")]
    model: String,
    /// Shorten the vectors to this length.
    #[arg(long, value_name = "N")]
    dimensions: Option<i32>,
    #[command(flatten)]
    routing: Routing,
    #[command(flatten)]
    client: Client,
}

impl Embed {
    pub(super) async fn run(self, options: Options) -> Outcome {
        let inputs = if self.texts.is_empty() {
            from_stdin()?.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
        } else {
            self.texts
        };
        let request = pb::EmbedRequest {
            model: self.model,
            inputs,
            dimensions: self.dimensions,
            routing: Some(self.routing.into()),
            ..pb::EmbedRequest::default()
        };
        let connection = self.client.connect().await?;
        let start = Instant::now();
        let mut client = InferenceServiceClient::new(connection.channel.clone())
            .max_decoding_message_size(connection.max_reply_bytes());
        let reply = client.embed(connection.request(request)).await?.into_inner();
        match options.output {
            Output::Json => print(Json::new()?.line("EmbedResponse", &reply)?)?,
            Output::Table => {
                let mut table = Table::new(&["input", "numbers", "vector"]).right(&[0, 1]);
                for embedding in &reply.embeddings {
                    let shown: Vec<_> = numbers(&embedding.values).take(SHOWN_NUMBERS).collect();
                    let count = embedding.values.len() / 4;
                    table.row(vec![embedding.index.to_string(), count.to_string(), format!("{} …", shown.join(" "))]);
                }
                print(table.lines().join("\n"))?;
                print(format_args!("space {}", reply.embedding_space))?;
            }
        }
        let (by, usage) = (reply.served_by.as_ref(), reply.usage.as_ref());
        tell_served_by(by, &reply.model, usage, start.elapsed(), options.verbosity);
        Ok(())
    }
}

/// Little-endian floats, as people read them.
fn numbers(values: &[u8]) -> impl Iterator<Item = String> {
    values.chunks_exact(4).map(|bytes| {
        let bytes = bytes.try_into().unwrap_or_default();
        format!("{:>9.6}", f32::from_le_bytes(bytes))
    })
}
