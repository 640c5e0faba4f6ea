//! Whole or not: an answer that was cut anywhere is never passed off as complete.
use super::*;
use sealane_core::domain::{BadResponse, ContentFilterResults, Delta, FinishReason, ReplyHeader, Usage};

#[tokio::test]
async fn a_whole_stream_event_by_event() {
    let (events, end) = streamed([Step::Send(streaming(&[ROLE, HELLO, FINISH, USAGE, "[DONE]"]))], patient()).await;
    assert_eq!(end, Ok(()));
    let header = ReplyHeader {
        response_id: "chatcmpl-1".into(),
        model: "gpt-4o-2024-11-20".into(),
        created: 1,
        system_fingerprint: None,
        service_tier: None,
    };
    let usage = Usage { input_tokens: 3, output_tokens: 1, total_tokens: 4, ..Usage::default() };
    let expected = [
        ChatEvent::Header(header),
        ChatEvent::Delta(Delta::default()),
        ChatEvent::Delta(Delta { text: "hé é😀".into(), ..Delta::default() }),
        ChatEvent::Finish { choice: 0, reason: FinishReason::Stop, filter: ContentFilterResults::default() },
        ChatEvent::Usage(usage),
    ];
    assert_eq!(events, expected);
}

#[tokio::test]
async fn the_table_of_endings() {
    let two_choices = r#"{"choices":[{"delta":{"content":"b"},"finish_reason":"stop","index":1}],"id":"chatcmpl-1"}"#;
    let annotation = r#"{"id":"","object":"","created":0,"model":"","choices":[{"index":0,"finish_reason":null,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}},"content_filter_offsets":{"check_offset":44,"start_offset":44,"end_offset":198}}],"usage":null}"#;
    let blocked = r#"{"choices":[{"index":0,"finish_reason":"content_filter","content_filter_results":{"hate":{"filtered":true,"severity":"high"}}}],"id":"chatcmpl-1"}"#;
    let error = r#"{"error":{"message":"m","type":"server_error","code":"boom","param":null}}"#;
    let cut = || Err(FailureKind::Truncated);
    for (name, events, expected) in [
        ("all of it", vec![ROLE, HELLO, FINISH, USAGE, "[DONE]"], Ok(())),
        ("no usage", vec![ROLE, HELLO, FINISH, "[DONE]"], Ok(())),
        ("no [DONE]", vec![ROLE, HELLO, FINISH, USAGE], Ok(())),
        ("neither usage nor [DONE]", vec![ROLE, HELLO, FINISH], Ok(())),
        ("[DONE] without a finish reason", vec![ROLE, HELLO, "[DONE]"], cut()),
        ("usage and [DONE] without a finish reason", vec![ROLE, HELLO, USAGE, "[DONE]"], cut()),
        ("nothing but [DONE]", vec!["[DONE]"], cut()),
        (
            "the finish of a choice that was not asked for",
            vec![ROLE, HELLO, two_choices, "[DONE]"],
            Err(FailureKind::BadResponse(BadResponse::Malformed)),
        ),
        ("annotated, no [DONE]", vec![ROLE, HELLO, annotation, FINISH], cut()),
        ("annotated after the finish, [DONE]", vec![ROLE, HELLO, FINISH, annotation, "[DONE]"], Ok(())),
        ("blocked", vec![ROLE, HELLO, blocked, "[DONE]"], Ok(())),
        ("an error", vec![ROLE, HELLO, error, "[DONE]"], Err(FailureKind::ErrorEvent { code: Some("boom".into()) })),
        ("an error first", vec![error], Err(FailureKind::ErrorEvent { code: Some("boom".into()) })),
        ("not JSON", vec![ROLE, "{\"choices\":[", FINISH], Err(FailureKind::BadResponse(BadResponse::Malformed))),
        ("nothing", vec![], Err(FailureKind::BadResponse(BadResponse::Malformed))),
    ] {
        let (_, end) = streamed([Step::Send(streaming(&events))], patient()).await;
        assert_eq!(kind(end), expected, "{name}");
    }
}

#[tokio::test]
async fn every_choice_must_finish() {
    use crate::support::attempt::assemble;
    let second = r#"{"choices":[{"delta":{"content":"b"},"finish_reason":null,"index":1}],"id":"chatcmpl-1"}"#;
    let second_finish = r#"{"choices":[{"delta":{},"finish_reason":"length","index":1}],"id":"chatcmpl-1"}"#;
    let mut request = ask("hi");
    request.choice_count = Some(2);
    for (events, whole) in [
        (vec![ROLE, HELLO, second, FINISH, "[DONE]"], false),
        (vec![ROLE, HELLO, second, FINISH], false),
        (vec![ROLE, HELLO, second, FINISH, second_finish, "[DONE]"], true),
        (vec![ROLE, HELLO, second, second_finish, FINISH], true),
    ] {
        let server = Canned::start([Step::Send(streaming(&events))]).await;
        let result = assemble(&azure(server.address, dated()), &order("gpt-4o", patient()), &request).await;
        match result {
            Ok((reply, _)) if whole => {
                let told: Vec<_> = reply.choices.iter().map(|choice| (choice.index, choice.finish_reason)).collect();
                assert_eq!(told, [(0, FinishReason::Stop), (1, FinishReason::Length)]);
            }
            result => assert_eq!((whole, result.unwrap_err().kind), (false, FailureKind::Truncated)),
        }
    }
}

/// How a connection ends where the answer breaks off.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// The connection closes.
    Close,
    /// The connection is reset.
    Reset,
    /// The body ends as if that were all.
    End,
}

fn cut(bytes: &[u8], how: Cut) -> Vec<Step> {
    match how {
        Cut::Close => vec![Step::Send(bytes.to_vec()), Step::Close],
        Cut::Reset => vec![Step::Send(bytes.to_vec()), Step::Reset],
        Cut::End => vec![Step::Send(bytes.to_vec())],
    }
}

#[tokio::test]
async fn a_stream_cut_at_any_byte_is_whole_only_after_its_finish() {
    let full = body(&[ROLE, HELLO, FINISH, USAGE, "[DONE]"]);
    let finished = body(&[ROLE, HELLO, FINISH]).len();
    for how in [Cut::Close, Cut::Reset, Cut::End] {
        let head = chunked_head("200 OK", &[("content-type", "text/event-stream")]);
        let answers = (0..full.len()).map(|at| match how {
            Cut::End => cut(&chunked("200 OK", &[], &full[..at]), how),
            _ if at == 0 => cut(&head, how),
            _ => cut(&[&head[..], &chunk(&full[..at])].concat(), how),
        });
        let server = Canned::start_with(answers).await;
        let azure = azure(server.address, dated());
        for at in 0..full.len() {
            let (events, end) = stream(&azure, &order("gpt-4o", patient()), &ask("hi")).await;
            if at < finished {
                assert!(end.is_err(), "{how:?} at {at} of {finished}: {events:?}");
            } else if !matches!(how, Cut::Reset) {
                // A reset may overtake the bytes before it.
                assert_eq!((end, text(&events)), (Ok(()), "hé é😀".to_owned()), "{how:?} at {at} of {finished}");
            }
        }
    }
}

#[tokio::test]
async fn a_response_cut_at_any_byte_of_its_head_is_no_answer() {
    let answer = streaming(&[ROLE, HELLO, FINISH, USAGE, "[DONE]"]);
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let server = Canned::start_with((0..head).map(|at| cut(&answer[..at], Cut::Close))).await;
    let azure = azure(server.address, dated());
    for at in 0..head {
        let (_, end) = stream(&azure, &order("gpt-4o", patient()), &ask("hi")).await;
        assert_eq!(kind(end), Err(FailureKind::Reset), "at {at}");
    }
}

#[tokio::test]
async fn unary_answers_cut_at_any_byte_are_no_answers() {
    for (answer, is_chat) in [(whole(UNARY), true), (whole(VECTORS), false)] {
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let server = Canned::start_with((0..=answer.len()).map(|at| cut(&answer[..at], Cut::Close))).await;
        let azure = azure(server.address, dated());
        for at in 0..=answer.len() {
            let failed = if is_chat { complete(&azure).await.err() } else { embed(&azure).await.err() };
            let expected = if at < head {
                Some(FailureKind::Reset)
            } else {
                (at < answer.len()).then_some(FailureKind::Truncated)
            };
            assert_eq!(failed, expected, "at {at} of {}", answer.len());
        }
    }
}

#[tokio::test]
async fn events_cut_at_any_byte_by_the_wire_come_out_whole() {
    let full = body(&[ROLE, HELLO, FINISH, USAGE, "[DONE]"]);
    let crlf = String::from_utf8(full.clone()).unwrap().replace('\n', "\r\n").into_bytes();
    for bytes in [&full, &crlf] {
        let answers = (1..bytes.len()).map(|at| {
            let head = chunked_head("200 OK", &[]);
            let (first, second) = bytes.split_at(at);
            vec![Step::Send([head, chunk(first), chunk(second), chunk(b"")].concat())]
        });
        let server = Canned::start_with(answers).await;
        let azure = azure(server.address, dated());
        for at in 1..bytes.len() {
            let (events, end) = stream(&azure, &order("gpt-4o", patient()), &ask("hi")).await;
            assert_eq!((end, text(&events), events.len()), (Ok(()), "hé é😀".to_owned(), 5), "at {at}");
        }
    }
}

#[tokio::test]
async fn connections_are_used_again() {
    let mut stream_then_end = streaming(&[ROLE, HELLO, FINISH, USAGE, "[DONE]"]);
    let last_chunk = stream_then_end.split_off(stream_then_end.len() - 5);
    assert_eq!(last_chunk, b"0\r\n\r\n");
    let pause = Step::Wait(Duration::from_millis(5));
    for answer in [
        vec![Step::Send(streaming(&[ROLE, HELLO, FINISH, USAGE, "[DONE]"]))],
        vec![Step::Send(stream_then_end), pause, Step::Send(last_chunk)],
        vec![Step::Send(response("429 Too Many Requests", &[], b"{}"))],
    ] {
        let server = Canned::start(answer).await;
        let azure = azure(server.address, dated());
        for _ in 0..20 {
            let _ = stream(&azure, &order("gpt-4o", patient()), &ask("hi")).await;
        }
        // A new call may be quicker than the connection's way back into the pool, but not often.
        let connections = server.connections();
        assert!(server.seen().len() == 20 && connections <= 5, "{connections} connections");
    }
}

#[tokio::test]
async fn a_body_that_stays_open_after_done_keeps_nobody_waiting() {
    let server = Canned::start([Step::Send(opening(&[ROLE, HELLO, FINISH, USAGE, "[DONE]"])), Step::Hang]).await;
    let azure = azure(server.address, dated());
    let (order, request) = (order("gpt-4o", patient()), ask("hi"));
    let ended = tokio::time::timeout(PATIENCE / 2, stream(&azure, &order, &request));
    let (events, end) = ended.await.expect("nothing more is waited for");
    assert_eq!((kind(end), events.len()), (Ok(()), 5));
    server.ended(1).await;
}
