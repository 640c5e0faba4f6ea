//! `sealane serve`: the service, until SIGTERM or Ctrl-C; a second one ends it at once.
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::Args;
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};
use tracing::warn;

use super::{
    Output,
    outcome::{Outcome, print},
};
use crate::{
    config::Config,
    server::{Server, Watched},
    telemetry::{LogStyle, Metrics, Telemetry, TelemetrySettings},
};

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// The configuration file.
    #[arg(long, default_value = "sealane.yaml", env = "SEALANE_CONFIG")]
    config: PathBuf,
    /// Listen here instead of where the configuration says; port 0 takes a free one.
    #[arg(long, env = "SEALANE_LISTEN")]
    listen: Option<SocketAddr>,
    /// Worker threads. Default: one for each processor.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    workers: Option<u16>,
}

impl Serve {
    pub(super) fn run(self, output: Output) -> Outcome {
        let mut config = Config::load(&self.config)?;
        if let Some(listen) = self.listen {
            config.listen_on(listen).map_err(anyhow::Error::from)?;
        }
        let settings = TelemetrySettings {
            otlp_endpoint: config.telemetry.otlp_endpoint.clone(),
            otlp_traces_only: !config.telemetry.otlp_metrics,
            prometheus: config.ops.is_some(),
            service_name: config.telemetry.service_name.clone(),
            logs: LogStyle::Json,
        };
        let telemetry = Telemetry::install(&settings).map_err(anyhow::Error::from)?;
        let runtime = runtime(self.workers.map(usize::from).unwrap_or_else(processors)).enable_all().build()?;
        let served = runtime.block_on(serve(config, &self.config, telemetry.metrics().clone(), output));
        telemetry.shutdown();
        served
    }
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// One worker takes its tasks strictly in turn: all answers that are ready together are made before the connection
/// is written to, and so leave in one write. The scheduler for several workers would write each by itself.
fn runtime(workers: usize) -> Builder {
    match workers {
        1 => Builder::new_current_thread(),
        workers => {
            let mut runtime = Builder::new_multi_thread();
            runtime.worker_threads(workers);
            runtime
        }
    }
}

async fn serve(config: Config, file: &Path, metrics: Metrics, output: Output) -> Outcome {
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let revision = config.revision.clone();
    let watched = Watched::new(&config);
    let server = Server::from_config(config, metrics).await?;
    let reload = server.reload(file, watched)?;
    // Before anyone is told that the service is up, and may want it to stop again.
    let stop = stop_signal()?;
    announce(server.local_addr()?, server.ops_addr()?, output)?;
    if let Some(address) = server.ops_addr()? {
        tracing::info!(%address, "metrics, probes and the status page are served");
    }
    tracing::info!(address = %server.local_addr()?, config_revision = revision, "serving");
    tokio::select! {
        served = server.serve(stop) => Ok(served?),
        lost = reload.run() => Ok(lost?),
    }
}

/// The one line on standard output, for people and for whatever waits for the service to be up.
fn announce(address: SocketAddr, ops: Option<SocketAddr>, output: Output) -> Outcome {
    match output {
        Output::Table => print(format_args!("sealane is listening on {address}")),
        Output::Json => match ops {
            Some(ops) => print(serde_json::json!({ "listening": address, "ops": ops })),
            None => print(serde_json::json!({ "listening": address })),
        },
    }
}

/// Resolves at the first SIGTERM or SIGINT; the second one ends the process at once.
pub(super) fn stop_signal() -> std::io::Result<impl Future<Output = ()> + Send> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            std::process::exit(1);
        });
    })
}
