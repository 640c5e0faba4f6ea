//! Answers that are no answers, and answers meant to hurt.
use sealane::{azure::ResponseBounds, upstream::Upstream as _};
use sealane_core::domain::{BadResponse, FailureClass, Rejection};

use super::*;
use crate::support::attempt::{KEY, azure_within};

fn bad(why: BadResponse) -> FailureKind {
    FailureKind::BadResponse(why)
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_key_does_not_travel() {
    let elsewhere = Canned::start([Step::Send(whole(UNARY))]).await;
    let location = format!("http://{}/openai/deployments/gpt-4o/chat/completions", elsewhere.address);
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let server = Canned::start([Step::Send(response(status, &[("location", &location)], b""))]).await;
        let azure = azure(server.address, dated());
        assert_eq!(complete(&azure).await, Err(FailureKind::Redirected), "{status}");
        assert_eq!(embed(&azure).await, Err(FailureKind::Redirected), "{status}");
        let (_, end) = stream(&azure, &order("gpt-4o", patient()), &ask("hi")).await;
        assert_eq!(kind(end), Err(FailureKind::Redirected), "{status}");
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn two_hundreds_that_are_no_completion() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_choice = format!(r#"{{"choices":[{{"index":0,"message":{deep},"finish_reason":"stop"}}]}}"#);
    for (name, body, expected) in [
        ("HTML", "<html>Sign in</html>".to_owned(), BadResponse::Malformed),
        ("nothing", String::new(), BadResponse::Malformed),
        ("an array", "[]".to_owned(), BadResponse::Malformed),
        ("an error", r#"{"error":{"code":"429","message":"m"}}"#.to_owned(), BadResponse::ErrorBody),
        ("a bare error", r#"{"error":"m"}"#.to_owned(), BadResponse::ErrorBody),
        ("no choices", r#"{"id":"x","choices":[]}"#.to_owned(), BadResponse::MissingChoices),
        ("null choices", r#"{"id":"x","choices":null}"#.to_owned(), BadResponse::MissingChoices),
        ("an empty object", "{}".to_owned(), BadResponse::MissingChoices),
        (
            "no finish reason",
            r#"{"choices":[{"index":0,"message":{"content":"a"},"finish_reason":null}]}"#.to_owned(),
            BadResponse::Unfinished,
        ),
        ("no message", r#"{"choices":[{"index":0,"finish_reason":"stop"}]}"#.to_owned(), BadResponse::Malformed),
        ("deep", deep.clone(), BadResponse::Malformed),
        ("deep where a message belongs", deep_choice, BadResponse::Malformed),
        ("a number too large", r#"{"choices":[{"index":4294967296}]}"#.to_owned(), BadResponse::Malformed),
        ("bad UTF-8 in spirit", r#"{"choices":[{"message":{"content":"\ud800"}}]}"#.to_owned(), BadResponse::Malformed),
    ] {
        let server = Canned::start([Step::Send(whole(&body))]).await;
        assert_eq!(complete(&azure(server.address, dated())).await, Err(bad(expected)), "{name}");
    }
}

#[tokio::test]
async fn members_nobody_asked_for_do_no_harm() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let body = UNARY.replacen('{', &format!("{{\"unknown\":{deep},\"service_tier\":null,\"x\":{{\"y\":[1]}},"), 1);
    let server = Canned::start([Step::Send(whole(&body))]).await;
    assert_eq!(complete(&azure(server.address, dated())).await, Ok(vec![Part::Text("hé".into())]));

    let event = HELLO.replacen('{', &format!("{{\"unknown\":{deep},"), 1);
    let events = [ROLE, &event, FINISH, "[DONE]"];
    let (events, end) = streamed([Step::Send(streaming(&events))], patient()).await;
    assert_eq!((kind(end), text(&events)), (Ok(()), "hé é😀".to_owned()));
}

#[tokio::test]
async fn vectors_must_be_as_many_as_inputs_and_of_one_length() {
    let rows =
        |rows: &str| format!(r#"{{"data":[{rows}],"model":"m","usage":{{"prompt_tokens":2,"total_tokens":2}}}}"#);
    let (one, two) = (r#"{"index":0,"embedding":"AACAPwAAAEA="}"#, r#"{"index":1,"embedding":"AABAQAAAgEA="}"#);
    let wrong = || Err(bad(BadResponse::WrongVectors));
    for (name, body, expected) in [
        ("in order", rows(&format!("{one},{two}")), Ok(vec![vec![1.0, 2.0], vec![3.0, 4.0]])),
        ("out of order", rows(&format!("{two},{one}")), Ok(vec![vec![1.0, 2.0], vec![3.0, 4.0]])),
        (
            "numbers",
            rows(r#"{"index":0,"embedding":[1,2.5]},{"index":1,"embedding":[-3e0,4]}"#),
            Ok(vec![vec![1.0, 2.5], vec![-3.0, 4.0]]),
        ),
        ("too few", rows(one), wrong()),
        ("too many", rows(&format!("{one},{two},{two}")), wrong()),
        ("one twice", rows(&format!("{one},{one}")), wrong()),
        ("an index out of range", rows(&format!("{one},{}", two.replace('1', "7"))), wrong()),
        ("lengths differ", rows(&format!(r#"{one},{{"index":1,"embedding":"AACAPw=="}}"#)), wrong()),
        ("not whole numbers of floats", rows(&format!(r#"{one},{{"index":1,"embedding":"AACA"}}"#)), wrong()),
        ("not base64", rows(&format!(r#"{one},{{"index":1,"embedding":"!!!!"}}"#)), wrong()),
        ("empty vectors", rows(r#"{"index":0,"embedding":""},{"index":1,"embedding":[]}"#), wrong()),
        ("an error", r#"{"error":{"code":"x"}}"#.to_owned(), Err(bad(BadResponse::ErrorBody))),
        ("no data", "{}".to_owned(), wrong()),
        ("HTML", "<html>".to_owned(), Err(bad(BadResponse::Malformed))),
    ] {
        let server = Canned::start([Step::Send(whole(&body))]).await;
        assert_eq!(embed(&azure(server.address, dated())).await, expected, "{name}");
    }
}

#[tokio::test]
async fn shortened_vectors_must_have_the_length_asked_for() {
    let server = Canned::start([Step::Send(whole(VECTORS))]).await;
    let azure = azure(server.address, dated());
    for (dimensions, fits) in [(2, true), (3, false)] {
        let request = EmbedRequest { dimensions: Some(dimensions), ..inputs() };
        assert_eq!(azure.embed(&order("embed", patient()), &request).await.is_ok(), fits, "{dimensions}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let bounds = ResponseBounds { max_body_bytes: 4096, max_event_bytes: 4096, max_error_bytes: 256 };
    let padded = |bytes: usize| UNARY.replacen('{', &format!("{{\"padding\":\"{}\",", "x".repeat(bytes)), 1);
    let too_large = || Err(bad(BadResponse::TooLarge));
    let fits = || Ok(vec![Part::Text("hé".into())]);
    for (name, answer, expected) in [
        ("fits", whole(padded(3000)), fits()),
        ("fits, in chunks", chunked("200 OK", &[], padded(3000).as_bytes()), fits()),
        ("announced", whole(padded(5000)), too_large()),
        ("announced, never sent", whole(padded(5000))[..200].to_vec(), too_large()),
        ("in chunks", chunked("200 OK", &[], padded(5000).as_bytes()), too_large()),
    ] {
        let server = Canned::start([Step::Send(answer), Step::Hang]).await;
        assert_eq!(complete(&azure_within(server.address, dated(), bounds)).await, expected, "{name}");
    }

    let endless = [Step::Send(opening(&[ROLE])), Step::Send(chunk(&[b'x'; 10_000])), Step::Hang];
    let large_event = format!("{{\"padding\":\"{}\"}}", "x".repeat(5000));
    let many_lines = "data: 0123456789\n".repeat(500);
    for (name, steps) in [
        ("a line without end", endless.to_vec()),
        ("a large event", vec![Step::Send(streaming(&[ROLE, &large_event]))]),
        ("many lines", vec![Step::Send(chunked("200 OK", &[], many_lines.as_bytes()))]),
    ] {
        let server = Canned::start(steps).await;
        let azure = azure_within(server.address, dated(), bounds);
        let (_, end) = stream(&azure, &order("gpt-4o", patient()), &ask("hi")).await;
        assert_eq!(kind(end), Err(bad(BadResponse::TooLarge)), "{name}");
    }

    let long_error = format!(r#"{{"error":{{"code":"content_filter","padding":"{}"}}}}"#, "x".repeat(1000));
    let server = Canned::start([Step::Send(response("400 Bad Request", &[], long_error.as_bytes()))]).await;
    let refused = complete(&azure_within(server.address, dated(), bounds)).await;
    assert_eq!(refused, Err(FailureKind::Rejected(Rejection::Invalid { code: None, param: None })), "status alone");
}

#[tokio::test]
async fn heads_meant_to_fill_the_memory_are_refused() {
    let long = "x".repeat(1 << 20);
    let many: Vec<(String, String)> = (0..10_000).map(|at| (format!("x-{at}"), "1".to_owned())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for headers in [vec![("x-long", long.as_str())], many] {
        let server = Canned::start([Step::Send(response("200 OK", &headers, UNARY.as_bytes())), Step::Close]).await;
        let failure =
            azure(server.address, dated()).complete_chat(&order("gpt-4o", patient()), &ask("hi")).await.unwrap_err();
        assert_eq!(failure.class(), FailureClass::Hard);
    }
}

#[tokio::test]
async fn a_compressed_answer_is_not_unpacked() {
    // Nobody asked for it: a bomb stays as small as it came.
    let bytes = response("200 OK", &[("content-encoding", "gzip")], &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]);
    let server = Canned::start([Step::Send(bytes)]).await;
    assert_eq!(complete(&azure(server.address, dated())).await, Err(bad(BadResponse::Malformed)));
}

#[tokio::test]
async fn deep_json_is_refused_wherever_it_stands() {
    let deep = format!("{}{}", "{\"error\":".repeat(10_000), "}".repeat(10_000));
    let server = Canned::start([Step::Send(response("400 Bad Request", &[], deep.as_bytes()))]).await;
    let refused = complete(&azure(server.address, dated())).await;
    assert_eq!(refused, Err(FailureKind::Rejected(Rejection::Invalid { code: None, param: None })));

    let (_, end) = streamed([Step::Send(streaming(&[ROLE, &"[".repeat(10_000)]))], patient()).await;
    assert_eq!(kind(end), Err(bad(BadResponse::Malformed)));

    let server = Canned::start([Step::Send(whole(&deep))]).await;
    assert!(embed(&azure(server.address, dated())).await.is_err());
}

#[tokio::test]
async fn nothing_that_upstream_says_is_kept_verbatim() {
    let body = r#"{"error":{"code":"the prompt was: hunter2","message":"hunter2","param":"hunter2 hunter2","type":"\u001b[31m"}}"#;
    let server = Canned::start([Step::Send(response("400 Bad Request", &[], body.as_bytes()))]).await;
    let failure =
        azure(server.address, dated()).complete_chat(&order("gpt-4o", patient()), &ask("hi")).await.unwrap_err();
    assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
    assert!(!format!("{failure:?}").contains("31m"), "{failure:?}");
}

#[tokio::test]
async fn the_key_is_not_printed() {
    let server = Canned::start([Step::Send(whole(UNARY))]).await;
    let azure = azure(server.address, dated());
    assert!(complete(&azure).await.is_ok());
    assert_eq!(server.seen()[0].header("api-key"), Some(KEY));
    assert!(!format!("{azure:?}").contains(KEY));
}
