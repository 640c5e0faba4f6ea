//! A primary that speaks HTTP/2 over TLS with a certificate that the service believes, and does not treat it well.
use crate::support::{
    authority::Authority,
    http2::{Http2Region, Manner},
    process::Running,
    world::World,
};

use super::processes::{calls_under_way, serve, started};

/// The real binary, told whom to believe, between callers and this primary.
struct Http2World {
    world: World,
    region: Http2Region,
    _running: Running,
    _authority: Authority,
}

async fn over(name: &str, manner: Manner) -> Http2World {
    let authority = Authority::new(name);
    let region = Http2Region::start(authority.server("localhost", 2100), manner).await;
    let (world, running) = believing(name, &authority, region.endpoint()).await;
    Http2World { world, region, _running: running, _authority: authority }
}

pub(super) async fn believing(name: &str, authority: &Authority, primary: String) -> (World, Running) {
    started(name, "", Some(primary), |config| {
        let mut command = serve(config);
        command.env("SSL_CERT_FILE", &authority.file);
        command
    })
    .await
}

/// Calls in rounds of eight, all of which must succeed; how many each region served.
async fn rounds(world: &World, rounds: usize) -> (usize, usize) {
    let mut by_primary = 0;
    for _ in 0..rounds {
        let outcomes = calls_under_way(world, 8).await.join_all().await;
        let regions: Vec<String> = outcomes.into_iter().map(|outcome| outcome.unwrap()).collect();
        by_primary += regions.iter().filter(|region| *region == "swedencentral").count();
    }
    (by_primary, rounds * 8 - by_primary)
}

#[tokio::test]
async fn row_65_a_goaway_after_every_ten_requests_costs_no_caller_anything() {
    let Http2World { world, region, .. } = &over("goaway", Manner::GoAwayAfter(10)).await;
    assert_eq!(rounds(world, 10).await, (80, 0));
    assert!(region.connections() > 3, "{} connections for 80 calls", region.connections());
    assert_eq!(world.target("gpt-4o", "swedencentral").await.failed_attempts, 0);
    assert_eq!(world.transitions().await, [""; 0]);
}

#[tokio::test]
async fn row_65_a_region_that_takes_one_stream_at_a_time_serves_one_after_the_other() {
    let Http2World { world, region, .. } = &over("one-stream", Manner::OneStream).await;
    assert_eq!(rounds(world, 3).await, (24, 0));
    assert_eq!(region.answered(), region.asked());
    assert_eq!(world.transitions().await, [""; 0]);
}

#[tokio::test]
async fn row_65_a_refused_stream_is_sent_again_once_and_unseen() {
    let Http2World { world, region, .. } = &over("refused", Manner::RefuseEvery(3)).await;
    let (by_primary, by_standby) = rounds(world, 6).await;
    assert_eq!(by_primary + by_standby, 48);
    assert!(region.asked() > region.answered() + 10, "{} of {}", region.answered(), region.asked());
    // A few are refused a second time: those are rescued.
    assert!(by_primary > by_standby, "{by_primary} and {by_standby}");
    assert_eq!(world.target("gpt-4o", "swedencentral").await.failed_attempts, by_standby as i64);
}

#[tokio::test]
async fn row_65_a_region_that_refuses_every_stream_is_asked_twice_for_each_call() {
    let Http2World { world, region, .. } = &over("all-refused", Manner::RefuseEvery(1)).await;
    assert_eq!(world.call().await.unwrap(), "francecentral");
    assert_eq!(region.asked(), 2, "once more, and no storm");
    assert_eq!(world.target("gpt-4o", "swedencentral").await.failed_attempts, 1);
}
