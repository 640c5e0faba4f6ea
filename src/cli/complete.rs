//! `sealane complete`: one chat completion from the command line.
use std::{
    io::{IsTerminal as _, Read as _, Write as _},
    time::Instant,
};

use clap::Args;

use super::{
    Options, Output,
    client::{Client, Connection},
    json::Json,
    outcome::{Failure, Outcome, print},
    routing::{Routing, tell_served_by},
};
use crate::grpc::pb::{self, complete_stream_response::Event, inference_service_client::InferenceServiceClient};

/// Ask a chat model. The answer goes to standard output, who gave it to standard error.
#[derive(Debug, Args)]
pub(super) struct Complete {
    /// The prompt; words are joined. Without it, standard input is read.
    prompt: Vec<String>,
    /// A model of the service's configuration.
    #[arg(long, env = "SEALANE_MODEL", default_value = "gpt-4o")]
    model: String,
    /// Instructions to the model.
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Print the answer as it is generated.
    #[arg(long)]
    stream: bool,
    /// If the serving region fails in the middle of a stream: start the answer again elsewhere.
    #[arg(long, requires = "stream")]
    restart: bool,
    /// Cap on generated tokens.
    #[arg(long, value_name = "N")]
    max_output_tokens: Option<i32>,
    /// 0 to 2.
    #[arg(long, value_name = "T")]
    temperature: Option<f32>,
    #[command(flatten)]
    routing: Routing,
    #[command(flatten)]
    client: Client,
}

impl Complete {
    pub(super) async fn run(self, options: Options) -> Outcome {
        let (stream, client) = (self.stream, self.client.clone());
        let request = self.request()?;
        let connection = client.connect().await?;
        if stream { streamed(&connection, request, options).await } else { whole(&connection, request, options).await }
    }

    fn request(self) -> Result<pb::CompleteRequest, Failure> {
        let prompt = if self.prompt.is_empty() { from_stdin()? } else { self.prompt.join(" ") };
        let system = self.system.map(|text| message(pb::Role::System, text));
        let mut routing = pb::RoutingOptions::from(self.routing);
        if self.restart {
            routing.on_interruption = pb::OnInterruption::Restart.into();
        }
        Ok(pb::CompleteRequest {
            model: self.model,
            messages: system.into_iter().chain([message(pb::Role::User, prompt)]).collect(),
            max_output_tokens: self.max_output_tokens,
            temperature: self.temperature,
            routing: Some(routing),
            ..pb::CompleteRequest::default()
        })
    }
}

fn message(role: pb::Role, text: String) -> pb::Message {
    let part = pb::ContentPart { part: Some(pb::content_part::Part::Text(text)) };
    pb::Message { role: role.into(), content: vec![part], ..pb::Message::default() }
}

/// Waiting for a person to type without saying so would look like a hang.
pub(super) fn from_stdin() -> Result<String, Failure> {
    let mut stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Err(Failure::Usage("give a text as an argument, or on standard input".into()));
    }
    let mut text = String::new();
    stdin.read_to_string(&mut text)?;
    if text.trim().is_empty() {
        return Err(Failure::Usage("standard input is empty; give a text there or as an argument".into()));
    }
    Ok(text)
}

async fn whole(connection: &Connection, request: pb::CompleteRequest, options: Options) -> Outcome {
    let start = Instant::now();
    let mut client =
        InferenceServiceClient::new(connection.channel.clone()).max_decoding_message_size(connection.max_reply_bytes());
    let reply = client.complete(connection.request(request)).await?.into_inner();
    match options.output {
        Output::Json => print(Json::new()?.line("CompleteResponse", &reply)?)?,
        Output::Table => {
            for choice in &reply.choices {
                print(text(choice))?;
                tell_finish(choice.finish_reason());
            }
        }
    }
    tell_served_by(reply.served_by.as_ref(), &reply.model, reply.usage.as_ref(), start.elapsed(), options.verbosity);
    Ok(())
}

fn text(choice: &pb::Choice) -> String {
    let parts = choice.message.iter().flat_map(|message| &message.content);
    let texts = parts.filter_map(|part| match &part.part {
        Some(pb::content_part::Part::Text(text) | pb::content_part::Part::Refusal(text)) => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

/// What the text alone does not show.
fn tell_finish(reason: pb::FinishReason) {
    match reason {
        pb::FinishReason::Length => eprintln!("sealane: the answer was cut at its token limit"),
        pb::FinishReason::ContentFilter => eprintln!("sealane: the content filter withheld the answer"),
        _ => {}
    }
}

async fn streamed(connection: &Connection, request: pb::CompleteRequest, options: Options) -> Outcome {
    let start = Instant::now();
    let json = Json::new()?;
    let mut client = InferenceServiceClient::new(connection.channel.clone());
    let mut events = client.complete_stream(connection.request(request)).await?.into_inner();
    let (mut model, mut ended) = (String::new(), false);
    let mut line_open = false;
    loop {
        let event = match events.message().await {
            Ok(Some(event)) => event,
            Ok(None) => break,
            Err(status) => {
                if line_open {
                    print("")?;
                }
                return Err(status.into());
            }
        };
        if options.output == Output::Json {
            print(json.line("CompleteStreamResponse", &event)?)?;
        }
        match event.event {
            Some(Event::Start(start)) => model = start.model,
            Some(Event::Delta(delta)) if options.output == Output::Table => {
                let mut stdout = std::io::stdout().lock();
                write!(stdout, "{}{}", delta.text, delta.refusal)?;
                stdout.flush()?;
                line_open = true;
            }
            Some(Event::Restarted(restarted)) if options.output == Output::Table => {
                print("")?;
                eprintln!("sealane: {} failed ({}); again from the start:", restarted.failed_region, restarted.failure);
            }
            Some(Event::ChoiceFinish(finish)) if options.output == Output::Table => {
                print("")?;
                line_open = false;
                tell_finish(finish.finish_reason());
            }
            Some(Event::End(end)) => {
                ended = true;
                let (by, usage) = (end.served_by.as_ref(), end.usage.as_ref());
                tell_served_by(by, &model, usage, start.elapsed(), options.verbosity);
            }
            _ => {}
        }
    }
    if ended {
        Ok(())
    } else {
        Err(anyhow::anyhow!("the stream ended without its end: the answer is not whole").into())
    }
}
