//! Silence has three limits and a patience for the tail; waiting ends, whatever the server sends meanwhile.
use super::*;
use sealane::upstream::Upstream as _;
use sealane_core::domain::Silence;

fn silent(silence: Silence) -> Result<(), FailureKind> {
    Err(FailureKind::Silence(silence))
}

/// `bytes` again and again for two seconds at least, then the connection closes: to be found out before that.
fn drip(bytes: &[u8]) -> impl Iterator<Item = Step> {
    let step = [Step::Wait(Duration::from_millis(10)), Step::Send(bytes.to_vec())];
    (0..200).flat_map(move |_| step.clone()).chain([Step::Close])
}

#[tokio::test]
async fn the_table_of_silences() {
    let first = limits(100, 20_000, 20_000);
    let stall = limits(20_000, 100, 20_000);
    let total = limits(20_000, 20_000, 100);
    let opened = |events: &[&str]| vec![Step::Send(opening(events))];
    let then = |mut steps: Vec<Step>, more: Vec<Step>| {
        steps.extend(more);
        steps
    };
    let hang = || vec![Step::Hang];
    let comments = || drip(&chunk(b": still here\n\n")).collect();
    let half_event = || drip(&chunk(b"data: {\"choices\":[] ")).collect();
    let roles = || drip(&chunk(&body(&[ROLE]))).collect();
    let words = || drip(&chunk(&body(&[HELLO]))).collect();
    for (name, steps, limits, expected) in [
        ("no head", hang(), first, silent(Silence::FirstContent)),
        ("no head, short of time", hang(), total, silent(Silence::FirstContent)),
        (
            "half a head",
            vec![Step::Send(b"HTTP/1.1 200 OK\r\n".to_vec()), Step::Hang],
            first,
            silent(Silence::FirstContent),
        ),
        ("no event", then(opened(&[]), hang()), first, silent(Silence::FirstContent)),
        ("no content", then(opened(&[ROLE]), hang()), first, silent(Silence::FirstContent)),
        ("role chunks for ever", then(opened(&[ROLE]), roles()), first, silent(Silence::FirstContent)),
        ("no second word", then(opened(&[ROLE, HELLO]), hang()), stall, silent(Silence::Stall)),
        ("comments for ever", then(opened(&[ROLE, HELLO]), comments()), stall, silent(Silence::Stall)),
        ("an event that never ends", then(opened(&[ROLE, HELLO]), half_event()), stall, silent(Silence::Stall)),
        ("words for ever", then(opened(&[ROLE, HELLO]), words()), total, silent(Silence::Total)),
        ("finished, then no time", then(opened(&[ROLE, HELLO, FINISH]), hang()), total, Ok(())),
        ("finished, then comments", then(opened(&[ROLE, HELLO, FINISH]), comments()), total, Ok(())),
    ] {
        let (_, end) = streamed(steps, limits).await;
        assert_eq!(kind(end), expected, "{name}");
    }
}

#[tokio::test]
async fn the_tail_is_not_waited_for_longer_than_its_patience() {
    let server = Canned::start([Step::Send(opening(&[ROLE, HELLO, FINISH])), Step::Hang]).await;
    let azure = azure(server.address, dated());
    let (order, request) = (order("gpt-4o", patient()), ask("hi"));
    let ended = tokio::time::timeout(PATIENCE / 2, stream(&azure, &order, &request));
    let (events, end) = ended.await.expect("nothing more is waited for");
    assert_eq!((kind(end), text(&events)), (Ok(()), "hé é😀".to_owned()));
    server.ended(1).await;
}

#[tokio::test]
async fn unary_answers_have_their_limit_too() {
    let half = [Step::Send(whole(UNARY)[..200].to_vec()), Step::Hang];
    for (name, steps) in [("no head", vec![Step::Hang]), ("half a body", half.to_vec())] {
        let server = Canned::start(steps).await;
        let azure = azure(server.address, dated());
        let order = order("gpt-4o", limits(100, 20_000, 20_000));
        let chat = azure.complete_chat(&order, &ask("hi")).await.unwrap_err();
        let vectors = azure.embed(&order, &inputs()).await.unwrap_err();
        for failure in [chat, vectors] {
            assert!(matches!(failure.kind, FailureKind::Silence(_)), "{name}: {failure:?}");
            assert!(failure.maybe_billed, "{name}");
        }
    }
}

#[tokio::test]
async fn an_error_without_its_body_still_is_that_error() {
    let mut half = response("503 Service Unavailable", &[("x-ms-region", "Sweden Central")], &[b' '; 100]);
    half.truncate(half.len() - 50);
    let server = Canned::start([Step::Send(half), Step::Hang]).await;
    let order = order("gpt-4o", limits(200, 20_000, 20_000));
    let failure = azure(server.address, dated()).complete_chat(&order, &ask("hi")).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unavailable);
    assert_eq!(failure.evidence.reported_region.as_deref(), Some("Sweden Central"));
}
