//! `sealane demo`: simulated regions and the real service on this machine, and an outage under live traffic.
mod board;
mod standings;
mod traffic;
mod world;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use console::style;
use tonic::transport::{Channel, Endpoint};

use self::{
    board::{Board, Scene},
    standings::Standings,
    traffic::{Tally, Traffic},
    world::{QUICKENED, World},
};
use super::{
    Output,
    outcome::{Failure, Outcome, print},
    serve::stop_signal,
};
use crate::{
    audit::{self, Directory, Filter},
    telemetry::{LogStyle, Telemetry, TelemetrySettings},
};

/// Start simulated regions and the service, kill the primary under live traffic, and bring it back.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Where the service listens; simulated regions take free ports.
    #[arg(long, default_value = "127.0.0.1:50051")]
    listen: SocketAddr,
    /// How long the outage's story takes.
    #[arg(long, default_value_t = 42, value_parser = clap::value_parser!(u64).range(4..=3600))]
    seconds: u64,
    /// End after the story: exit code 1 if any call failed.
    #[arg(long, conflicts_with = "no_traffic")]
    once: bool,
    /// Only start everything, and leave the calls to you.
    #[arg(long)]
    no_traffic: bool,
}

impl Demo {
    pub(super) fn run(self, output: Output) -> Outcome {
        let telemetry = Telemetry::install(&TelemetrySettings {
            service_name: Some("sealane-demo".into()),
            // The board tells what happens; log lines would tear it.
            logs: LogStyle::Off,
            ..TelemetrySettings::default()
        })
        .map_err(anyhow::Error::from)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let outcome = runtime.block_on(self.play(output));
        telemetry.shutdown();
        outcome
    }

    async fn play(self, output: Output) -> Outcome {
        let stop = stop_signal()?;
        let mut world = World::start(self.listen).await?;
        let mut board = Board::new(output);
        introduce(&board, &world);
        let story = async {
            let tally = if self.no_traffic { None } else { Some(self.tell_story(&mut world, &mut board).await?) };
            if let Some(tally) = &tally {
                summarise(&board, tally, output)?;
                // The last outcomes may still be on their way to the disk.
                tokio::time::sleep(Duration::from_millis(200)).await;
                account(&board, &world)?;
            }
            if !self.once {
                invite(&board, &world);
                std::future::pending::<()>().await;
            }
            Ok::<_, Failure>(tally)
        };
        let tally = tokio::select! {
            told = story => told?,
            () = stop => None,
        };
        world.stop().await?;
        match tally.map(|tally| tally.all_failed()) {
            Some(failed) if failed > 0 => Err(anyhow::anyhow!("{failed} calls failed").into()),
            _ => Ok(()),
        }
    }

    /// A seventh of the time all is well; then the primary is killed, and revived after a third.
    async fn tell_story(&self, world: &mut World, board: &mut Board) -> anyhow::Result<Tally> {
        let total = Duration::from_secs(self.seconds);
        let (kill_at, revive_at) = (total / 7, total / 3);
        let channel = connect(world.service).await?;
        let traffic = Traffic::start(&channel);
        let mut standings = Standings::new(channel);
        let start = Instant::now();
        let primary = world.infos.first().map(|region| region.name.clone()).unwrap_or_default();
        let (mut killed, mut revived) = (false, false);
        let mut pace = tokio::time::interval(board.pace());
        loop {
            pace.tick().await;
            let elapsed = start.elapsed();
            if !killed && elapsed >= kill_at {
                killed = true;
                world.kill_primary().await?;
                board.event(elapsed, &format!("{primary} is killed: its port is closed, every connection is reset"));
            }
            if !revived && elapsed >= revive_at {
                revived = true;
                world.revive_primary().await?;
                board.event(elapsed, &format!("{primary} is back"));
            }
            for news in standings.news().await {
                board.event(elapsed, &news);
            }
            let tally = traffic.tally();
            board.draw(&Scene { elapsed, total, regions: &world.infos, tally: &tally });
            if elapsed >= total {
                break;
            }
        }
        let tally = traffic.finish().await;
        board.draw(&Scene { elapsed: total, total, regions: &world.infos, tally: &tally });
        Ok(tally)
    }
}

async fn connect(service: SocketAddr) -> anyhow::Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{service}"))?;
    endpoint.connect().await.context("the service does not answer")
}

fn introduce(board: &Board, world: &World) {
    let port = world.service.port();
    board.print(&style("Sealane, and two simulated Azure OpenAI regions, all on this machine").bold().to_string());
    board.print(&format!("\n  {:<14} {}", "service", world.service));
    for region in &world.infos {
        board.print(&format!("  {:<14} {}   {}", region.name, region.address, region.role));
    }
    board.print(&format!("\nHolds and steps of the return are {QUICKENED} times shorter here than in earnest."));
    let body = r#"{"model":"gpt-4o","messages":[{"role":"ROLE_USER","content":[{"text":"hi"}]}]}"#;
    board.print("\nTry it from another terminal, now or at the end:\n");
    board.print(&format!("  grpcurl -plaintext -d '{body}' localhost:{port} sealane.v1.InferenceService/Complete\n"));
    board.print("Without grpcurl, the same with this program:\n");
    let program = std::env::args().next().unwrap_or_else(|| "sealane".into());
    board.print(&format!("  {program} complete --addr localhost:{port} hi"));
    board.print(&format!("  {program} status --addr localhost:{port} --watch"));
}

fn summarise(board: &Board, tally: &Tally, output: Output) -> Outcome {
    let (calls, ok, failed, rescued) = (tally.calls(), tally.all_ok(), tally.all_failed(), tally.rescued);
    let line = format!("{calls} calls, {ok} OK, {failed} failed, {rescued} rescued");
    let line = if failed == 0 { style(line).green().bold() } else { style(line).red().bold() };
    board.print(&format!("\n{line}"));
    for failure in &tally.failures {
        board.print(&format!("  {failure}"));
    }
    if output == Output::Json {
        print(serde_json::json!({ "calls": calls, "ok": ok, "failed": failed, "rescued": rescued }))?;
    }
    Ok(())
}

/// What an auditor would read of all this.
fn account(board: &Board, world: &World) -> anyhow::Result<()> {
    let journal = Directory::read(&world.journal())?;
    let (attempts, findings) = audit::attempts(&journal, &Filter::default())?;
    board.print("\nThe audit journal says so, too, and every attempt stands in it:");
    for caller in audit::summarise(&attempts, Some("eu")) {
        board.print(&format!("  {caller}"));
    }
    let (records, checkpoints) = (findings.records, findings.checkpoints);
    let state = if findings.problems.is_empty() { "intact" } else { "not intact" };
    board.print(&format!("  {records} records, {checkpoints} signed checkpoints: {state}"));
    Ok(())
}

fn invite(board: &Board, world: &World) {
    board.print("\nThe service stays up. To kill a region yourself, and to bring it back with `true`:\n");
    for region in &world.infos {
        board.print(&format!(
            "  curl -X PUT -d '{{\"listening\":false}}' http://{}/_simulator/listening   # {}",
            region.control, region.name
        ));
    }
    let program = std::env::args().next().unwrap_or_else(|| "sealane".into());
    let journal = world.journal();
    board.print("\nTo ask the journal which region processed what:\n");
    board.print(&format!("  {program} audit query {} --region francecentral", journal.display()));
    board.print(&format!("  {program} audit verify {}", journal.display()));
    board.print(&format!("\n{}", style("Ctrl-C ends the demo.").dim()));
}
