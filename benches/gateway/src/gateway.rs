//! What stands between the load generator and the upstream: how each column starts and where it listens.
use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use crate::{
    Settings,
    floor::Upstreams,
    load::Protocol,
    process::Process,
    workload::{VECTOR_LENGTH, Work},
};

/// Holds the key that the upstream asks for.
pub(crate) const KEY_VARIABLE: &str = "SEALANE_BENCH_KEY";
/// The key; it opens nothing but a process of the bench's own.
pub(crate) const KEY: &str = "bench";

/// How long a child may take to listen.
const START_LIMIT: Duration = Duration::from_secs(20);

/// What answers.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum UpstreamKind {
    /// The simulated Azure region.
    #[default]
    Simulator,
    /// Fixed answers.
    Fixed,
}

/// The columns of the table, from left to right.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Column {
    /// No gateway.
    Direct,
    /// nginx as a plain proxy.
    Nginx,
    /// The least a gRPC gateway can cost.
    Floor,
    /// The release binary.
    Sealane,
}

impl Column {
    /// All, from left to right.
    pub(crate) const ALL: [Self; 4] = [Self::Direct, Self::Nginx, Self::Floor, Self::Sealane];

    /// How it is spoken to.
    pub(crate) fn protocol(self) -> Protocol {
        match self {
            Self::Direct | Self::Nginx => Protocol::Http,
            Self::Floor | Self::Sealane => Protocol::Grpc,
        }
    }
}

/// A directory for configuration and logs of the children, removed when dropped unless something failed.
pub(crate) struct Scratch {
    path: PathBuf,
    /// Leave it, so that the logs can be read.
    pub(crate) keep: bool,
}

impl Scratch {
    /// A new one under the system's directory for temporary files.
    pub(crate) fn new() -> Result<Self> {
        let path = env::temp_dir().join(format!("sealane-bench-{}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self { path, keep: false })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// The running upstream.
pub(crate) struct Upstream {
    /// Addresses by kind of work.
    pub(crate) at: Upstreams,
    /// Its processes.
    pub(crate) processes: Vec<Process>,
}

impl Upstream {
    /// Starts it on the load core. Paced streams always come from fixed answers, which alone carry the time of
    /// sending.
    pub(crate) fn start(kind: UpstreamKind, settings: &Settings, scratch: &Path) -> Result<Self> {
        let start = |verb: &str| {
            let log = scratch.join(format!("{verb}.log"));
            Process::start(settings.load_core, &env::current_exe()?, &[verb.to_owned()], &[], &log)
        };
        let mut fixed = start("upstream")?;
        let [answers] = fixed.addresses()?;
        match kind {
            UpstreamKind::Fixed => {
                let at = Upstreams { plain: answers, paced: answers, idle: answers };
                Ok(Self { at, processes: vec![fixed] })
            }
            UpstreamKind::Simulator => {
                let mut simulator = start("simulator")?;
                let [plain, idle] = simulator.addresses()?;
                let at = Upstreams { plain, paced: answers, idle };
                Ok(Self { at, processes: vec![fixed, simulator] })
            }
        }
    }
}

/// One running column.
pub(crate) struct Gateway {
    /// Which one.
    pub(crate) column: Column,
    /// Its processes; none for the direct column.
    pub(crate) process: Option<Process>,
    listens: Listens,
}

enum Listens {
    At(SocketAddr),
    AsUpstream(Upstreams),
}

impl Gateway {
    /// Starts it on the gateway core; none where its program is absent.
    pub(crate) fn start(
        column: Column,
        upstream: &Upstream,
        settings: &Settings,
        scratch: &Path,
    ) -> Result<Option<Self>> {
        let (process, at) = match column {
            Column::Direct => {
                let listens = Listens::AsUpstream(upstream.at.clone());
                return Ok(Some(Self { column, process: None, listens }));
            }
            Column::Nginx if find_nginx().is_none() => return Ok(None),
            Column::Sealane if !settings.sealane.exists() => return Ok(None),
            Column::Nginx => start_nginx(upstream, settings, scratch)?,
            Column::Floor => start_floor(upstream, settings, scratch)?,
            Column::Sealane => start_sealane(upstream, settings, scratch, None)?,
        };
        Ok(Some(Self { column, process: Some(process), listens: Listens::At(at) }))
    }

    /// Sealane with an audit journal of this durability, or without one.
    pub(crate) fn recording(
        durability: Option<&str>,
        upstream: &Upstream,
        settings: &Settings,
        scratch: &Path,
    ) -> Result<Option<Self>> {
        if !settings.sealane.exists() {
            return Ok(None);
        }
        let (process, at) = start_sealane(upstream, settings, scratch, durability)?;
        Ok(Some(Self { column: Column::Sealane, process: Some(process), listens: Listens::At(at) }))
    }

    /// Where to send this kind of work.
    pub(crate) fn address(&self, work: Work) -> SocketAddr {
        match &self.listens {
            Listens::At(address) => *address,
            Listens::AsUpstream(upstreams) => upstreams.of(work),
        }
    }
}

fn start_floor(upstream: &Upstream, settings: &Settings, scratch: &Path) -> Result<(Process, SocketAddr)> {
    let Upstreams { plain, paced, idle } = upstream.at;
    let arguments =
        ["floor", "--plain", &plain.to_string(), "--paced", &paced.to_string(), "--idle", &idle.to_string()]
            .map(str::to_owned);
    let environment = [(KEY_VARIABLE, KEY)];
    let log = scratch.join("floor.log");
    let mut process = Process::start(settings.gateway_core, &env::current_exe()?, &arguments, &environment, &log)?;
    let [at] = process.addresses()?;
    Ok((process, at))
}

/// nginx, wherever distributions put it; an ordinary user's PATH often lacks `sbin`.
pub(crate) fn find_nginx() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let places = env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")]);
    places.map(|place| place.join("nginx")).find(|program| program.is_file())
}

fn start_nginx(upstream: &Upstream, settings: &Settings, scratch: &Path) -> Result<(Process, SocketAddr)> {
    let program = find_nginx().context("no nginx")?;
    let address = free_address()?;
    let folder = scratch.join(format!("nginx-{}", address.port()));
    fs::create_dir_all(&folder)?;
    let file = folder.join("nginx.conf");
    fs::write(&file, nginx_configuration(&upstream.at, address))?;
    let arguments = |more: &[&str]| {
        let common =
            ["-p", &folder.to_string_lossy(), "-e", "stderr", "-c", &file.to_string_lossy()].map(str::to_owned);
        common.into_iter().chain(more.iter().map(|word| (*word).to_owned())).collect::<Vec<_>>()
    };
    let mut process = Process::start(settings.gateway_core, &program, &arguments(&[]), &[], &folder.join("log"))?;
    await_listening(&mut process, address, &folder.join("log"))?;
    // A killed master would leave its worker behind.
    let mut stop = Command::new(program);
    stop.args(arguments(&["-s", "stop"])).stderr(std::process::Stdio::null());
    Ok((process.stopped_by(stop), address))
}

/// A plain proxy with what any careful one would set: kept-alive connections on both sides, nothing on disk.
fn nginx_configuration(upstream: &Upstreams, listen: SocketAddr) -> String {
    let Upstreams { plain, paced, idle } = upstream;
    let pool = |name: &str, at: &SocketAddr| {
        format!("upstream {name} {{ server {at}; keepalive 64; keepalive_requests 100000000; }}\n")
    };
    let pools = [pool("plain", plain), pool("paced", paced), pool("idle", idle)].concat();
    let (paced, idle) = (Work::Paced.deployment(), Work::Idle.deployment());
    format!(
        "daemon off; worker_processes 1; pid nginx.pid;\n\
         events {{ worker_connections 8192; }}\n\
         http {{\n\
         access_log off; tcp_nodelay on; keepalive_requests 100000000;\n\
         client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n\
         client_body_buffer_size 64k; proxy_buffers 64 16k; proxy_max_temp_file_size 0;\n\
         proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_read_timeout 600s;\n\
         {pools}\
         server {{ listen {listen};\n\
         location / {{ proxy_pass http://plain; }}\n\
         location /openai/deployments/{paced}/ {{ proxy_pass http://paced; }}\n\
         location /openai/deployments/{idle}/ {{ proxy_pass http://idle; }}\n\
         }} }}\n"
    )
}

fn start_sealane(
    upstream: &Upstream,
    settings: &Settings,
    scratch: &Path,
    durability: Option<&str>,
) -> Result<(Process, SocketAddr)> {
    let name = durability.unwrap_or("sealane");
    let file = scratch.join(format!("{name}.yaml"));
    let journal = durability
        .map(|durability| format!("audit: {{ directory: journal-{durability}, durability: {durability} }}\n"));
    fs::write(&file, sealane_configuration(&upstream.at) + &journal.unwrap_or_default())?;
    let arguments = ["serve", "--config", &file.to_string_lossy(), "--listen", "127.0.0.1:0", "--workers", "1"];
    let log = scratch.join(format!("{name}.log"));
    let environment = [(KEY_VARIABLE, KEY)];
    let arguments = arguments.map(str::to_owned);
    let mut process = Process::start(settings.gateway_core, &settings.sealane, &arguments, &environment, &log)?;
    let [at] = process.addresses().with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
    Ok((process, at))
}

fn sealane_configuration(upstream: &Upstreams) -> String {
    let Upstreams { plain, paced, idle } = upstream;
    let resource = |name: &str, at: &SocketAddr| {
        format!(
            "  - name: {name}\n    region: swedencentral\n    boundary: eu\n    endpoint: http://{at}\n    \
             auth: {{ api_key: {{ env: {KEY_VARIABLE} }} }}\n"
        )
    };
    // The idle streams are more than one target should carry in earnest.
    let mut text = "failover: { concurrency: 10000 }\nresources:\n".to_owned();
    text += &[resource("plain", plain), resource("paced", paced), resource("idle", idle)].concat();
    text += "models:\n";
    for work in Work::ALL {
        let (model, deployment) = (work.model(), work.deployment());
        let (kind, resource) = match work {
            Work::Embed | Work::EmbedStream => ("embedding", "plain"),
            Work::Paced => ("chat", "paced"),
            Work::Idle => ("chat", "idle"),
            Work::Unary | Work::Assembled | Work::Flood => ("chat", "plain"),
        };
        text += &format!("  - name: {model}\n    kind: {kind}\n");
        match work {
            Work::Unary => text += "    upstream_stream: never\n",
            Work::Embed | Work::EmbedStream => {
                let space = format!("model: text-embedding-3-small, version: \"1\", dimensions: {VECTOR_LENGTH}");
                text += &format!("    embedding: {{ {space} }}\n");
            }
            _ => {}
        }
        text += &format!("    targets:\n      - {{ resource: {resource}, deployment: {deployment}, sku: Standard }}\n");
    }
    text
}

/// A loopback address that was free a moment ago, for programs that cannot say which one they took.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn await_listening(process: &mut Process, address: SocketAddr, log: &Path) -> Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < START_LIMIT {
        if !process.is_running() {
            bail!("a gateway ended at start: {}", fs::read_to_string(log).unwrap_or_default().trim());
        }
        if TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("nothing listens on {address} after {START_LIMIT:?}: {}", fs::read_to_string(log).unwrap_or_default().trim())
}
