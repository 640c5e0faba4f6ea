//! Whoever stops waiting stops the work: a dropped attempt closes its request upstream.
use futures_util::StreamExt as _;
use sealane::upstream::Upstream as _;

use super::*;

async fn within_patience<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("the upstream connection is closed")
}

#[tokio::test]
async fn a_dropped_attempt_closes_its_request_before_any_answer() {
    let server = Canned::start([Step::Hang]).await;
    let azure = azure(server.address, dated());
    let (order, request, texts) = (order("gpt-4o", patient()), ask("hi"), inputs());
    for (number, attempt) in [
        Box::pin(async { azure.stream_chat(&order, &request).await.is_ok() })
            as futures_util::future::BoxFuture<'_, bool>,
        Box::pin(async { azure.complete_chat(&order, &request).await.is_ok() }),
        Box::pin(async { azure.embed(&order, &texts).await.is_ok() }),
    ]
    .into_iter()
    .enumerate()
    {
        tokio::select! {
            _ = attempt => panic!("nobody answers"),
            () = server.received(number + 1) => {}
        }
        within_patience(server.ended(number + 1)).await;
    }
}

#[tokio::test]
async fn a_dropped_stream_closes_its_request_in_the_middle() {
    let server = Canned::start([Step::Send(opening(&[ROLE, HELLO])), Step::Hang]).await;
    let azure = azure(server.address, dated());
    let mut stream = azure.stream_chat(&order("gpt-4o", patient()), &ask("hi")).await.unwrap();
    while !stream.events.next().await.unwrap().unwrap().is_content() {}
    drop(stream);
    within_patience(server.ended(1)).await;
}

#[tokio::test]
async fn a_unary_answer_is_not_read_to_its_end_for_nobody() {
    let server = Canned::start([Step::Send(whole(UNARY)[..200].to_vec()), Step::Hang]).await;
    let azure = azure(server.address, dated());
    let (order, request) = (order("gpt-4o", patient()), ask("hi"));
    tokio::select! {
        _ = azure.complete_chat(&order, &request) => panic!("half an answer"),
        () = server.received(1) => {}
    }
    within_patience(server.ended(1)).await;
}

#[tokio::test]
async fn an_attempt_that_ran_out_of_time_is_closed_too() {
    let server = Canned::start([Step::Send(opening(&[ROLE, HELLO])), Step::Hang]).await;
    let azure = azure(server.address, dated());
    let (_, end) = stream(&azure, &order("gpt-4o", limits(20_000, 100, 20_000)), &ask("hi")).await;
    assert!(end.is_err());
    within_patience(server.ended(1)).await;
}
