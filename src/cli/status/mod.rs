//! `sealane status`: which regions are well, which serve, and why.
mod view;

use std::time::Duration;

use clap::Args;
use console::Term;
use tonic::Code;

use super::{
    Options, Output,
    client::{Client, Connection},
    json::Json,
    outcome::{Failure, Outcome, print},
};
use crate::grpc::pb::{self, region_service_client::RegionServiceClient};

/// Where nobody knows the width of the screen.
const USUAL_WIDTH: usize = 120;

/// Show every deployment as the service sees it. Exit code 5 if a model has none that could serve.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// Keep showing until Ctrl-C, across restarts of the service: redrawn on a terminal, elsewhere a block for each change.
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
        let term = Term::stdout();
        if !self.watch {
            let request = connection.request(pb::RegionStatusRequest { region, model });
            let status = client.region_status(request).await?.into_inner();
            let width = if term.is_term() { usize::from(term.size().1) } else { USUAL_WIDTH };
            show(&status, options, width)?;
            return healthy(&status);
        }
        Watch { connection, term, options, region, model }.run().await
    }
}

/// Longest pause before a watch that broke tries again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A view that goes on until somebody ends it.
struct Watch {
    connection: Connection,
    term: Term,
    options: Options,
    region: String,
    model: String,
}

impl Watch {
    /// Ends only with Ctrl-C, or with an error if the service cannot be watched at all.
    async fn run(self) -> Outcome {
        let mut client = RegionServiceClient::new(self.connection.channel.clone());
        let live = self.term.is_term() && self.options.output == Output::Table;
        // People on a terminal watch numbers move; logs want changes and a sign of life.
        let interval = if live { Duration::from_secs(1) } else { Duration::from_secs(10) };
        let max_interval = prost_types::Duration::try_from(interval).ok();
        let ask = || {
            let (region, model) = (self.region.clone(), self.model.clone());
            self.connection.endless(pb::WatchRegionStatusRequest { region, model, max_interval })
        };
        let mut shown = Shown { drawn: 0, last: None };
        let mut updates = client.watch_region_status(ask()).await?.into_inner();
        loop {
            let why = loop {
                match updates.message().await {
                    Ok(Some(update)) => {
                        if let Some(status) = update.status {
                            self.show(&mut shown, &status, live)?;
                        }
                    }
                    Ok(None) => break "the service ended the watch".to_owned(),
                    Err(status) => break status.message().to_owned(),
                }
            };
            // Where the screen is drawn over, this line stays above the next view.
            eprintln!("the watch broke ({why}); connecting again");
            shown.drawn = 0;
            let mut pause = Duration::from_millis(200);
            updates = loop {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
                match client.watch_region_status(ask()).await {
                    Ok(again) => break again.into_inner(),
                    Err(status) if status.code() == Code::Unavailable => {}
                    // Whatever else is said will be said again.
                    Err(status) => return Err(status.into()),
                }
            };
        }
    }

    fn show(&self, shown: &mut Shown, status: &pb::RegionStatusResponse, live: bool) -> Outcome {
        if live {
            let (height, width) = self.term.size();
            let screen = Screen { height: height.into(), width: width.into() };
            let lines = screen.cut(view::lines(status, screen.width));
            self.term.write_line(&over(shown.drawn, &lines))?;
            shown.drawn = lines.len();
            return Ok(());
        }
        if self.options.output == Output::Table {
            let news = view::lasting(status);
            let known = shown.last.replace(news);
            if known == shown.last {
                return Ok(());
            }
            if known.is_some() {
                print("")?;
            }
        }
        show(status, self.options, USUAL_WIDTH)
    }
}

/// What was shown before.
struct Shown {
    /// Lines on the terminal.
    drawn: usize,
    /// What the last block said beside ages and counters.
    last: Option<Vec<String>>,
}

fn show(status: &pb::RegionStatusResponse, options: Options, width: usize) -> Outcome {
    match options.output {
        Output::Json => print(Json::new()?.line("RegionStatusResponse", status)?),
        Output::Table => print(view::lines(status, width).join("\n")),
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

/// A terminal, in characters.
#[derive(Clone, Copy)]
struct Screen {
    height: usize,
    width: usize,
}

impl Screen {
    /// What is higher or wider than the terminal would make it scroll, and then nothing can be drawn over.
    fn cut(self, lines: Vec<String>) -> Vec<String> {
        let room = self.height.saturating_sub(1).max(1);
        lines.iter().take(room).map(|line| console::truncate_str(line, self.width, "…").into_owned()).collect()
    }
}

/// The lines, in place of those drawn before.
fn over(drawn: usize, lines: &[String]) -> String {
    let erase = if drawn == 0 { String::new() } else { format!("\x1b[{drawn}A\x1b[J") };
    format!("{erase}{}", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_is_drawn_over_the_one_before_and_never_beyond_its_size() {
        let screen = Screen { height: 3, width: 5 };
        let lines = screen.cut(["one", "two two", "three", "four"].map(str::to_owned).to_vec());
        assert_eq!(lines, ["one", "two …"]);
        assert_eq!(over(0, &lines), "one\ntwo …");
        assert_eq!(over(2, &lines), "\u{1b}[2A\u{1b}[Jone\ntwo …");
    }
}
