//! The operator's port.
use std::time::Duration;

use sealane::{
    clock::Clock,
    grpc::pb,
    ops::{Ops, View},
    telemetry::Metrics,
};
use sealane_core::domain::FailureKind;
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::Instant};

use super::exposition::{ask, get};
use crate::support::{
    scripted::{Line::Fails, Scripted},
    service::{Service, Wanted, eventually, hi},
};

#[tokio::test]
async fn the_probes_tell_what_the_health_service_tells() {
    let wanted = Wanted { drain_delay: Duration::from_secs(30), ..Wanted::default() };
    let mut service = Service::start_as(Scripted::default(), wanted).await;
    for path in ["/livez", "/readyz"] {
        let (head, body) = get(service.ops, path).await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
        assert_eq!(body, "ok\n");
    }
    service.drain();
    eventually("not ready while draining", async || get(service.ops, "/readyz").await.0.starts_with("HTTP/1.1 503 "))
        .await;
    assert!(get(service.ops, "/livez").await.0.starts_with("HTTP/1.1 200 "), "it is alive while it drains");
    assert!(get(service.ops, "/").await.1.contains("This process draining"));
}

#[tokio::test]
async fn readiness_does_not_follow_the_regions() {
    let down = Scripted::default()
        .with("swedencentral", [Fails(FailureKind::Unavailable)])
        .with("francecentral", [Fails(FailureKind::Unavailable)]);
    let service = Service::start(down).await;
    service.inference().await.complete(hi()).await.unwrap_err();
    assert!(get(service.ops, "/readyz").await.0.starts_with("HTTP/1.1 200 "), "a restart would not mend Azure");
}

#[tokio::test]
async fn the_page_tells_where_work_goes_and_why() {
    let service = Service::start(Scripted::default()).await;
    let reason = "<script>alert(1)</script>".to_owned();
    let drain = pb::DrainRequest {
        selector: Some(pb::TargetSelector { region: "swedencentral".into(), ..Default::default() }),
        reason,
        duration: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
    };
    service.operator().await.drain(drain).await.unwrap();
    let (head, page) = get(service.ops, "/").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/html"), "{head}");
    assert!(head.to_lowercase().contains("content-security-policy: default-src 'none'"), "{head}");
    for told in [
        "<h2>gpt-4o</h2><p>goes to francecentral",
        "<h2>solo</h2><p><b class=\"bad\">nobody can serve it</b>",
        "drained: &lt;script&gt;",
        "the drain ends by itself",
        "no_good_target",
        "takes calls",
    ] {
        assert!(page.contains(told), "`{told}` is missing in\n{page}");
    }
    assert!(!page.contains("<script"), "what a person wrote is text");
}

#[tokio::test]
async fn what_is_no_request_for_it_is_refused() {
    let service = Service::start(Scripted::default()).await;
    let long = format!("GET / HTTP/1.1\r\nhost: ops\r\nx: {}\r\n\r\n", "a".repeat(20 << 10));
    for (request, status) in [
        ("POST /metrics HTTP/1.1\r\nhost: ops\r\ncontent-length: 0\r\n\r\n", "405"),
        ("GET /etc/passwd HTTP/1.1\r\nhost: ops\r\n\r\n", "404"),
        ("HEAD /livez HTTP/1.1\r\nhost: ops\r\n\r\n", "200"),
        (long.as_str(), "431"),
        ("nonsense\r\n\r\n", "400"),
    ] {
        let (head, _) = ask(service.ops, request).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{}: {head}", &request[..20.min(request.len())]);
    }
}

/// Time is the test's own here: the runtime lets it pass as soon as nobody has anything to do.
#[tokio::test(start_paused = true)]
async fn who_connects_and_says_nothing_gives_its_place_back() {
    let ops = Ops::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = ops.local_addr().unwrap();
    let view = View {
        ready: Box::new(|| true),
        snapshot: Box::new(|| unreachable!("nobody asks for the page")),
        clock: Clock::start(),
        metrics: Metrics::off(),
        config_revision: Box::new(|| "test".into()),
    };
    let serving = tokio::spawn(ops.serve(view));
    let start = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let (head, _) = get(address, "/livez").await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    for mut stream in silent {
        let mut told = Vec::new();
        stream.read_to_end(&mut told).await.unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    serving.abort();
}
