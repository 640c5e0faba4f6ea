//! Nothing of what callers send or get, and no secret, is ever written down: strings that occur nowhere else go through
//! the real process at trace level, through every fault and through an upstream that repeats whatever it is sent, and
//! are then looked for in logs, spans, metrics, the status page, errors and the journal.
use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use sealane::{
    grpc::pb::{self, complete_stream_response::Event, inference_service_client::InferenceServiceClient},
    simulator::{ErrorBody, Fault, FilterMode, Latency, RegionSettings, SimulatedRegion},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tonic::{
    Request, Response, Status, codec::CompressionEncoding::Gzip, metadata::MetadataValue, transport::Channel,
    transport::server::TcpIncoming,
};

use crate::{
    metrics::exposition::get,
    support::{
        service::{eventually, hi, text, user},
        world::connect,
    },
};

const KEY: &str = "canary-key-4b1d0c7f9a";
const TOKEN: &str = "canary-bearer-77e2f0a1c3";
const REQUEST_KEY: &str = "canary-request-key-51c0e7d2b94a6f38";
const PROMPT: &str = "canary-prompt-9f3a6c2e51";
const INPUT: &str = "canary-embedding-input-0d8b7e";
const ITEM: &str = "canary-item-id-5e2a9d";
const END_USER: &str = "canary-tenant-6a5f4e3d2c";
const TOOL: &str = "canary-tool-arguments-3c1b";

/// Spans exactly as they arrive.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<String>>);

#[tonic::async_trait]
impl TraceService for Spans {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        *self.0.lock().unwrap() += &format!("{:?}", request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Spans {
    async fn start(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = TraceServiceServer::new(self.clone()).accept_compressed(Gzip);
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
        address
    }
}

/// An upstream that answers with what it was sent, key and all, each time in another way.
async fn parrot() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut turn = 0;
        while let Ok((connection, _)) = listener.accept().await {
            turn += 1;
            tokio::spawn(repeat(connection, turn));
        }
    });
    address
}

async fn repeat(mut connection: TcpStream, turn: usize) {
    let (mut heard, mut piece) = (Vec::new(), [0; 4096]);
    // Whatever comes at once is enough to repeat.
    while let Ok(Ok(length @ 1..)) = tokio::time::timeout(Duration::from_millis(30), connection.read(&mut piece)).await
    {
        heard.extend_from_slice(&piece[..length]);
    }
    let echo: String = String::from_utf8_lossy(&heard).chars().filter(|c| !c.is_control()).collect();
    let quoted = echo.replace(['"', '\\'], "'");
    let error =
        format!(r#"{{"error":{{"code":"{quoted}","message":"{quoted}","type":"{quoted}","param":"{quoted}"}}}}"#);
    let (status, kind, body) = match turn % 8 {
        0 => ("500 Internal Server Error", "application/json", error),
        1 => ("503 Service Unavailable", "text/html", echo.clone()),
        2 => ("200 OK", "application/json", echo.clone()),
        3 => ("200 OK", "text/event-stream", format!("data: {echo}\n\n")),
        4 => ("200 OK", "text/event-stream", format!("data: {error}\n\n")),
        5 => ("401 Unauthorized", "application/json", error),
        6 => ("429 Too Many Requests", "application/json", error),
        _ => ("302 Found", "text/plain", echo.clone()),
    };
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\nlocation: http://127.0.0.1:1/{END_USER}\r\nx-echo: {PROMPT}\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    let _ = connection.write_all(answer.as_bytes()).await;
}

fn every_fault() -> Vec<Fault> {
    let status = |status, body| Fault::Status { status, retry_after: None, retry_after_ms: None, body };
    vec![
        Fault::Down,
        Fault::Reset,
        Fault::Close,
        status(500, ErrorBody::Json),
        status(502, ErrorBody::Html),
        status(503, ErrorBody::BareString),
        status(400, ErrorBody::Json),
        status(404, ErrorBody::Empty),
        Fault::Throttle { retry_after_seconds: 1 },
        Fault::ExpiredCredentials { credentials: vec![KEY.into()] },
        Fault::Redirect { location: format!("http://127.0.0.1:1/{PROMPT}") },
        Fault::LargeBody { bytes: 100_000 },
        Fault::NestedJson { depth: 1000 },
        Fault::MalformedJson,
        Fault::ErrorInOk,
        Fault::EmptyAnswer,
        Fault::CutBody { after_bytes: 40 },
        Fault::Latency(Latency { first_token_ms: 5, ..Latency::default() }),
        Fault::Drip { bytes: 7, every_ms: 0 },
        Fault::RegionHeader { value: Some("Elsewhere".into()) },
        Fault::Spillover { deployment: "gpt-4o-spill".into() },
        Fault::Provisioned { utilization: 120.0 },
        Fault::ServedModel { model: "gpt-4o-2031-01-01".into() },
        Fault::AnswerLength { tokens: 3 },
        Fault::ContentFilter { mode: FilterMode::Asynchronous },
        Fault::ContentFilter { mode: FilterMode::Outage },
        Fault::StreamError { at: 2 },
        Fault::StreamReset { at: 2 },
        Fault::StreamEnd { at: 2 },
        Fault::StreamBlocked { at: 2 },
        Fault::StreamMalformed { at: 2 },
        Fault::StreamLargeEvent { at: 2, bytes: 100_000 },
        Fault::StreamNoDone,
        Fault::StreamNeverCloses,
        Fault::StreamCrlf,
    ]
}

/// The process, where it listens for callers, and where for operators.
struct Process(Child, SocketAddr, SocketAddr);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve(folder: &Path, spans: SocketAddr) -> Process {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sealane"))
        .args(["serve", "--output", "json", "--config", "sealane.yaml"])
        .current_dir(folder)
        .envs([("KEY", KEY), ("TOKEN", TOKEN), ("REQUEST_KEY", REQUEST_KEY), ("RUST_LOG", "trace")])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{spans}"))
        .env("OTEL_BSP_SCHEDULE_DELAY", "100")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(fs::File::create(folder.join("log")).unwrap())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    let address = |what: &str| ready[what].as_str().unwrap().parse().unwrap();
    Process(child, address("listening"), address("ops"))
}

fn configuration(primary: SocketAddr, standby: SocketAddr) -> String {
    format!(
        "
listen: 127.0.0.1:0
ops: {{ listen: 127.0.0.1:0 }}
telemetry: {{ otlp_metrics: false }}
drain: {{ delay: 0s, grace: 1s }}
audit: {{ directory: journal, request_key: {{ env: REQUEST_KEY }} }}
failover: {{ stall: 1s }}
resources:
  - {{ name: swc, region: swedencentral, boundary: eu, endpoint: 'http://{primary}', auth: {{ api_key: {{ env: KEY }} }} }}
  - {{ name: frc, region: francecentral, boundary: eu, endpoint: 'http://{standby}', auth: {{ api_key: {{ env: KEY }} }} }}
models:
  - name: gpt-4o
    targets: [{{ resource: swc, deployment: gpt-4o, sku: Standard }}, {{ resource: frc, deployment: gpt-4o, sku: Standard }}]
  - name: text-embedding-3-large
    kind: embedding
    targets:
      - {{ resource: swc, deployment: text-embedding-3-large, sku: Standard }}
      - {{ resource: frc, deployment: text-embedding-3-large, sku: Standard }}
callers: [{{ name: team, token: {{ env: TOKEN }}, policy: unrestricted }}]
"
    )
}

/// What callers heard: errors, which must be clean, and content, which must not turn up elsewhere.
#[derive(Default)]
struct Heard {
    errors: String,
    contents: Vec<String>,
}

fn with_token<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value: MetadataValue<_> = format!("Bearer {TOKEN}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request.set_timeout(Duration::from_secs(5));
    request
}

fn question() -> pb::CompleteRequest {
    let parameters_json_schema = format!(r#"{{"type":"object","description":"{TOOL}"}}"#);
    let function = pb::FunctionTool { name: "look_up".into(), parameters_json_schema, ..Default::default() };
    pb::CompleteRequest {
        messages: vec![user(PROMPT)],
        tools: vec![pb::Tool { tool: Some(pb::tool::Tool::Function(function)) }],
        end_user_id: END_USER.into(),
        ..hi()
    }
}

/// One call of each kind, side by side.
async fn ask(client: &InferenceServiceClient<Channel>, heard: &Mutex<Heard>) {
    let failed = |status: Status| heard.lock().unwrap().errors += &format!("{status:?}\n");
    let got = |content: String| heard.lock().unwrap().contents.push(content);
    let [mut one, mut two, mut three, mut four] = [(); 4].map(|()| client.clone());
    let whole = async {
        match one.complete(with_token(question())).await {
            Ok(reply) => got(text(reply.get_ref())),
            Err(status) => failed(status),
        }
    };
    let streamed = async {
        let mut events = match two.complete_stream(with_token(question())).await {
            Ok(events) => events.into_inner(),
            Err(status) => return failed(status),
        };
        let mut answer = String::new();
        loop {
            match events.message().await {
                Ok(Some(pb::CompleteStreamResponse { event: Some(Event::Delta(delta)) })) => answer += &delta.text,
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(status) => {
                    failed(status);
                    break;
                }
            }
        }
        got(answer);
    };
    let embedded = async {
        let inputs = vec![INPUT.to_owned()];
        let request = pb::EmbedRequest { model: "text-embedding-3-large".into(), inputs, ..Default::default() };
        match three.embed(with_token(request)).await {
            Ok(reply) => reply.get_ref().embeddings[0].values.iter().take(2).for_each(|value| got(value.to_string())),
            Err(status) => failed(status),
        }
    };
    let ingested = async {
        use pb::embed_stream_request::Event::{Item, Open};
        let open = pb::EmbedStreamOpen { model: "text-embedding-3-large".into(), ..Default::default() };
        let item = pb::EmbedItem { id: ITEM.into(), text: INPUT.into() };
        let messages = [Open(open), Item(item)].map(|event| pb::EmbedStreamRequest { event: Some(event) });
        match four.embed_stream(with_token(tokio_stream::iter(messages))).await {
            // An ingestion waits for regions that fail; one answer or a moment is enough here.
            Ok(answers) => drop(tokio::time::timeout(Duration::from_millis(500), answers.into_inner().message()).await),
            Err(status) => failed(status),
        }
    };
    tokio::join!(whole, streamed, embedded, ingested);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_content_and_no_secret_is_written_down() {
    let folder = std::env::temp_dir().join(format!("sealane-canary-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let region = |name: &str| {
        let settings = RegionSettings { keys: vec![KEY.into()], ..RegionSettings::named(name, name) };
        SimulatedRegion::start(settings, ([127, 0, 0, 1], 0).into()).unwrap()
    };
    let (primary, standby) = (region("swedencentral"), region("francecentral"));
    let spans = Spans::default();
    let collector = spans.start().await;
    let heard = Mutex::new(Heard::default());
    let (mut written, mut shown) = (String::new(), String::new());
    // The parrot has ways of its own to fail; behind it a few faults of the standby are enough.
    let few = || every_fault().into_iter().step_by(4).collect();
    for (upstream, faults) in [(primary.address(), every_fault()), (parrot().await, few())] {
        fs::write(folder.join("sealane.yaml"), configuration(upstream, standby.address())).unwrap();
        let service = serve(&folder, collector);
        let client = InferenceServiceClient::new(connect(service.1).await);
        let mut stranger = client.clone();
        for fault in faults {
            for both in [false, true] {
                primary.faults().set(vec![fault.clone().into()]);
                standby.faults().set(if both { vec![fault.clone().into()] } else { vec![] });
                ask(&client, &heard).await;
            }
            let refused = stranger.complete(Request::new(question())).await.unwrap_err();
            heard.lock().unwrap().errors += &format!("{refused:?}\n");
        }
        let seen = spans.0.lock().unwrap().len();
        ask(&client, &heard).await;
        eventually("the last spans are exported", async || spans.0.lock().unwrap().len() > seen).await;
        for path in ["/metrics", "/"] {
            shown += &get(service.2, path).await.1;
        }
        drop(service);
        written += &fs::read_to_string(folder.join("log")).unwrap();
    }
    for file in fs::read_dir(folder.join("journal")).unwrap() {
        written += &String::from_utf8_lossy(&fs::read(file.unwrap().path()).unwrap());
    }
    let (spans, heard) = (spans.0.lock().unwrap().clone(), heard.into_inner().unwrap());
    assert!(written.contains("\"level\":\"TRACE\"") && written.contains("\"request_mac\":"), "nothing was written");
    assert!(spans.contains("sealane.region.served") && !heard.errors.is_empty() && heard.contents.len() > 50);

    assert!(shown.contains("sealane_attempts_total{") && shown.contains("<h2>gpt-4o</h2>"), "nothing was shown");

    let contents = heard.contents.iter().filter(|content| content.len() >= 6);
    let contents: Vec<&str> = contents.map(|content| content.get(..24).unwrap_or(content)).collect();
    let secrets = [KEY, TOKEN, REQUEST_KEY, PROMPT, INPUT, ITEM, END_USER, TOOL];
    let places =
        [("logs or journal", &written), ("spans", &spans), ("metrics or page", &shown), ("errors", &heard.errors)];
    for (place, text) in places {
        for canary in secrets.iter().chain(&contents) {
            if let Some(at) = text.find(canary) {
                let from = text.floor_char_boundary(at.saturating_sub(300));
                panic!("{canary:?} in {place}: ...{}", &text[from..text.ceil_char_boundary(at + 100)]);
            }
        }
    }
    fs::remove_dir_all(&folder).unwrap();
}
