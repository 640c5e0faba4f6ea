//! Against a simulated region: the assembled answer is the unary one, and faults come out as what they are.
use futures_util::StreamExt as _;
use sealane::{
    azure::PathStyle,
    simulator::{
        FILTER_OUTAGE_WORD, Fault, FaultRule, OUTPUT_BLOCK_WORD, PROMPT_BLOCK_WORD, REFUSAL_WORD, RegionSettings,
        SimulatedRegion,
    },
    upstream::Upstream as _,
};
use sealane_core::domain::{
    ChatReply, ChatRequest, FinishReason, JsonSchema, Rejection, ReplyHeader, ResponseFormat, Tool,
};

use super::*;
use crate::support::attempt::assemble;

fn start(faults: impl IntoIterator<Item = Fault>) -> SimulatedRegion {
    let faults = faults.into_iter().map(FaultRule::from).collect();
    let settings = RegionSettings { faults, ..RegionSettings::default() };
    SimulatedRegion::start(settings, ([127, 0, 0, 1], 0).into()).unwrap()
}

/// Two answers to one request differ in what names the answer, not in what it says.
fn unnamed(reply: ChatReply) -> ChatReply {
    let header = ReplyHeader { response_id: String::new(), created: 0, ..reply.header };
    ChatReply { header, ..reply }
}

fn weather() -> Tool {
    let parameters = r#"{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}"#;
    Tool { name: "get_weather".into(), description: None, parameters_json: Some(parameters.into()), strict: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_assembled_answer_equals_the_unary_one() {
    let region = start([]);
    let schema = JsonSchema {
        name: "answer".into(),
        description: None,
        schema_json:
            r#"{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"additionalProperties":false}"#
                .into(),
        strict: true,
    };
    let requests: [(&str, ChatRequest); 10] = [
        ("plain", ask("hi")),
        ("cut short", ChatRequest { max_output_tokens: Some(3), ..ask("hi") }),
        ("several choices", ChatRequest { choice_count: Some(3), ..ask("hi") }),
        ("log probabilities", ChatRequest { logprobs: true, top_logprobs: Some(2), ..ask("hi") }),
        ("a tool", ChatRequest { tools: vec![weather()], ..ask("please get_weather in Oslo") }),
        ("a schema", ChatRequest { response_format: Some(ResponseFormat::JsonSchema(schema)), ..ask("hi") }),
        ("output blocked", ask(OUTPUT_BLOCK_WORD)),
        ("filter down", ask(FILTER_OUTAGE_WORD)),
        ("declined", ask(REFUSAL_WORD)),
        ("other letters", ask("h\u{e9} \u{1f600} \u{4f60}\u{597d}")),
    ];
    for path in [dated(), PathStyle::V1] {
        let azure = azure(region.address(), path.clone());
        let order = order("gpt-4o", patient());
        for (name, request) in &requests {
            let (unary, _) = azure.complete_chat(&order, request).await.unwrap();
            let (assembled, _) = assemble(&azure, &order, request).await.unwrap();
            assert_eq!(unnamed(assembled), unnamed(unary.clone()), "{name} over {path:?}");
            assert_eq!(unary.choices.len(), request.expected_choices() as usize, "{name}");
        }
    }
}

#[tokio::test]
async fn a_blocked_prompt_says_which_category() {
    let region = start([]);
    let failure = azure(region.address(), dated())
        .complete_chat(&order("gpt-4o", patient()), &ask(PROMPT_BLOCK_WORD))
        .await
        .unwrap_err();
    let FailureKind::Rejected(Rejection::PromptBlocked { categories }) = failure.kind else { panic!("{failure:?}") };
    assert!(!categories.is_empty());
    assert!(failure.maybe_billed, "Azure bills a prompt that its filter evaluated");
}

#[tokio::test]
async fn a_blocked_output_carries_nothing() {
    let region = start([]);
    let azure = azure(region.address(), dated());
    let (reply, _) = azure.complete_chat(&order("gpt-4o", patient()), &ask(OUTPUT_BLOCK_WORD)).await.unwrap();
    assert_eq!(reply.choices[0].finish_reason, FinishReason::ContentFilter);
    assert!(reply.choices[0].content.is_empty());
    assert!(reply.choices[0].filter.verdicts.iter().any(|verdict| verdict.filtered));
}

#[tokio::test]
async fn an_answer_that_nobody_filtered_says_so() {
    let region = start([]);
    let azure = azure(region.address(), dated());
    let (reply, _) = azure.complete_chat(&order("gpt-4o", patient()), &ask(FILTER_OUTAGE_WORD)).await.unwrap();
    assert!(reply.choices[0].filter.unfiltered);
}

#[tokio::test]
async fn faults_come_out_as_what_they_are() {
    let status = |status, retry_after: Option<&str>| Fault::Status {
        status,
        retry_after: retry_after.map(Into::into),
        retry_after_ms: None,
        body: Default::default(),
    };
    let seconds = |seconds| FailureKind::Throttled { retry_after: Duration::from_secs(seconds) };
    for (fault, expected) in [
        (Fault::Reset, FailureKind::Reset),
        (Fault::Close, FailureKind::Reset),
        (Fault::Down, FailureKind::Reset),
        (Fault::Throttle { retry_after_seconds: 7 }, seconds(7)),
        (Fault::Throttle { retry_after_seconds: 86_400 }, seconds(60)),
        (status(408, None), FailureKind::RequestTimeout),
        (status(409, None), FailureKind::Conflict),
        (status(424, None), FailureKind::FailedDependency),
        (status(500, None), FailureKind::ServerError),
        (status(502, None), FailureKind::Unavailable),
        (status(503, None), FailureKind::Unavailable),
        (status(504, None), FailureKind::Unavailable),
        (status(429, Some("3")), seconds(3)),
        (status(401, None), FailureKind::Unauthorized),
        (status(403, None), FailureKind::Forbidden),
        (status(404, None), FailureKind::DeploymentNotFound),
        (Fault::Redirect { location: "http://127.0.0.1:1/".into() }, FailureKind::Redirected),
    ] {
        let region = start([fault.clone()]);
        let azure = azure(region.address(), dated());
        let order = order("gpt-4o", patient());
        let unary = azure.complete_chat(&order, &ask("hi")).await.unwrap_err();
        assert_eq!(unary.kind, expected, "{fault:?}");
        let (_, end) = stream(&azure, &order, &ask("hi")).await;
        assert_eq!(kind(end), Err(expected), "{fault:?}, streamed");
    }
}

#[tokio::test]
async fn evidence_of_spillover_and_of_another_region_is_kept() {
    let region = start([
        Fault::Spillover { deployment: "gpt-4o-standard".into() },
        Fault::RegionHeader { value: Some("West US".into()) },
    ]);
    let azure = azure(region.address(), dated());
    let (_, evidence) = azure.complete_chat(&order("gpt-4o", patient()), &ask("hi")).await.unwrap();
    assert!(evidence.spilled_over);
    assert_eq!(evidence.reported_deployment.as_deref(), Some("gpt-4o-standard"));
    assert_eq!(evidence.reported_region.as_deref(), Some("West US"));
    let streamed = azure.stream_chat(&order("gpt-4o", patient()), &ask("hi")).await.unwrap();
    assert!(streamed.evidence.spilled_over);
}

#[tokio::test]
async fn an_unfinished_stream_is_counted_as_dropped_by_the_region() {
    let region = start([Fault::StreamStall { at: 2 }]);
    let azure = azure(region.address(), dated());
    let mut stream = azure.stream_chat(&order("gpt-4o", patient()), &ask("hi")).await.unwrap();
    while !stream.events.next().await.unwrap().unwrap().is_content() {}
    drop(stream);
    let dropped = async {
        while region.counters().dropped_by_client() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, dropped).await.expect("the region sees that nobody listens");
}
