//! All ten recorded exchanges, served from a socket with their own headers and bodies, come out as the right values.
use sealane::{azure::PathStyle, upstream::Upstream as _};
use sealane_core::domain::{
    ChatReply, Choice, ContentFilterResults, ContentFilterVerdict, EmbedRequest, Evidence, Failure, FailureKind,
    FinishReason, Part, PromptFilterResult, Quota, ReplyHeader, Severity, Usage, Vector,
};
use serde_json::Value;

use crate::support::{
    attempt::{ask, assemble, azure, order, patient},
    canned::{Canned, Step, chunk, chunked, chunked_head, response},
    openapi,
};

/// A recorded exchange; `None` where the recordings are absent.
struct Recording(Value);

impl Recording {
    fn load(name: &str) -> Option<Self> {
        let path = openapi::directory()?.join("recorded").join(name);
        Some(Self(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()))
    }

    fn body(&self) -> &str {
        self.0["response"]["body_text"].as_str().unwrap()
    }

    fn status(&self) -> String {
        format!("{} {}", self.0["response"]["status"], self.0["response"]["reason"].as_str().unwrap())
    }

    /// The recorded headers but those that frame the body: the recorders joined the chunks and edited one body.
    fn headers(&self) -> Vec<(&str, &str)> {
        let headers = self.0["response"]["headers"].as_object().unwrap();
        let all = headers.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap()));
        all.filter(|(name, _)| !matches!(*name, "content-length" | "transfer-encoding")).collect()
    }

    fn is_chunked(&self) -> bool {
        self.0["response"]["headers"].get("transfer-encoding").is_some()
    }

    async fn serve(&self) -> Canned {
        let body = self.body().as_bytes();
        let bytes = if self.is_chunked() {
            chunked(&self.status(), &self.headers(), body)
        } else {
            response(&self.status(), &self.headers(), body)
        };
        Canned::start([Step::Send(bytes)]).await
    }

    /// The path that the recorded client called.
    fn path(&self) -> &str {
        let url = self.0["request"]["url"].as_str().unwrap();
        &url[url.find("/openai").unwrap()..]
    }

    /// The deployment and the path style of the recorded call.
    fn call(&self) -> (&str, PathStyle) {
        let deployment = self.path().split('/').nth(3).unwrap();
        let api_version = self.path().split_once("api-version=").unwrap().1.to_owned();
        (deployment, PathStyle::Dated { api_version })
    }

    async fn complete(&self) -> Result<(ChatReply, Evidence), Failure> {
        let server = self.serve().await;
        let (deployment, style) = self.call();
        let prompt = self.0["request"]["body"]["messages"][0]["content"].as_str().unwrap();
        let result = azure(server.address, style).complete_chat(&order(deployment, patient()), &ask(prompt)).await;
        assert_eq!(server.seen()[0].path(), self.path());
        result
    }
}

fn graded(category: &'static str, severity: Severity) -> ContentFilterVerdict {
    let filtered = severity > Severity::Safe;
    ContentFilterVerdict {
        category: category.into(),
        filtered,
        detected: None,
        severity: Some(severity),
        grounds: None,
    }
}

fn detection(category: &'static str) -> ContentFilterVerdict {
    let category = category.into();
    ContentFilterVerdict { category, detected: Some(false), ..ContentFilterVerdict::default() }
}

/// Safe in the four graded categories, and nothing found by these detectors; by name.
fn safe(detectors: &[&'static str]) -> ContentFilterResults {
    let graded = ["hate", "self_harm", "sexual", "violence"].map(|category| graded(category, Severity::Safe));
    let mut verdicts: Vec<_> = graded.into_iter().chain(detectors.iter().copied().map(detection)).collect();
    verdicts.sort_by(|a, b| a.category.cmp(&b.category));
    ContentFilterResults { verdicts, unfiltered: false }
}

const PROTECTED: &[&str] = &["protected_material_code", "protected_material_text"];

fn prompt(results: ContentFilterResults) -> Vec<PromptFilterResult> {
    vec![PromptFilterResult { prompt_index: 0, results }]
}

fn header(response_id: &str, model: &str, created: i64, system_fingerprint: Option<&str>) -> ReplyHeader {
    ReplyHeader {
        response_id: response_id.into(),
        model: model.into(),
        created,
        system_fingerprint: system_fingerprint.map(Into::into),
        service_tier: None,
    }
}

fn choice(text: &str, filter: ContentFilterResults) -> Choice {
    Choice {
        index: 0,
        content: vec![Part::Text(text.into())],
        tool_calls: vec![],
        finish_reason: FinishReason::Stop,
        filter,
        logprobs: None,
        url_citations: vec![],
    }
}

fn usage(input_tokens: u64, output_tokens: u64, reasoning_output_tokens: u64) -> Option<Usage> {
    let total_tokens = input_tokens + output_tokens;
    Some(Usage { input_tokens, output_tokens, total_tokens, reasoning_output_tokens, ..Usage::default() })
}

fn evidence(deployment: Option<&str>, ids: [&str; 2], remaining: [u64; 2], limit: Option<[u64; 2]>) -> Evidence {
    Evidence {
        http_status: Some(200),
        reported_region: Some("East US 2".into()),
        reported_deployment: deployment.map(Into::into),
        spilled_over: false,
        request_id: Some(ids[0].into()),
        model_request_id: Some(ids[1].into()),
        quota: Quota {
            remaining_requests: Some(remaining[0]),
            remaining_tokens: Some(remaining[1]),
            limit_requests: limit.map(|limit| limit[0]),
            limit_tokens: limit.map(|limit| limit[1]),
        },
    }
}

#[tokio::test]
async fn a_unary_answer_of_2026() {
    let Some(recording) = Recording::load("chat-unary-200-2026-03.json") else { return };
    let expected = ChatReply {
        header: header(
            "chatcmpl-DPTBKC5U7aQYydhXIGw4HbPc0HcVT",
            "gpt-4.1-mini-2025-04-14",
            1_774_962_746,
            Some("fp_b6f445fc1c"),
        ),
        choices: vec![choice(
            "Why did the developer bring OpenTelemetry to the party?\n\nBecause they wanted to trace all the fun events!",
            safe(PROTECTED),
        )],
        usage: usage(16, 22, 0),
        prompt_filter: prompt(safe(&["jailbreak"])),
    };
    let ids = ["f93b3050-42ab-44dd-936f-7bc80fba2799", "13ca6804-8e49-485c-a60b-559c68c76671"];
    let told = evidence(Some("openllmetry-testing"), ids, [119, 119_986], Some([120, 120_000]));
    assert_eq!(recording.complete().await, Ok((expected, told)));
}

#[tokio::test]
async fn a_unary_answer_of_2024_with_fewer_members() {
    let Some(recording) = Recording::load("chat-unary-200-2024-04.json") else { return };
    let expected = ChatReply {
        header: header("chatcmpl-9HpbZPf84KZFiQG6fdY0KVtIwHyIa", "gpt-35-turbo", 1_714_036_973, None),
        choices: vec![choice(
            "Why did the Opentelemetry developer refuse to share their candy?\n\nBecause they wanted to keep all the traces for themselves!",
            safe(&[]),
        )],
        usage: usage(15, 24, 0),
        prompt_filter: prompt(safe(&[])),
    };
    let ids = ["8a3ae7c6-2eb5-45ea-947e-b4218c7ca1a5", "0f63a0ff-049a-4f46-88e1-5e5c2e4c87c0"];
    assert_eq!(recording.complete().await, Ok((expected, evidence(None, ids, [119, 119_984], None))));
}

#[tokio::test]
async fn a_unary_answer_with_the_filters_off() {
    let Some(recording) = Recording::load("chat-unary-200-2025-10-filters-off.json") else { return };
    let expected = ChatReply {
        header: header("chatcmpl-CM9n9OhFOl4lSSFwarLEIMnPrNWSP", "gpt-5-nano-2025-08-07", 1_759_396_891, None),
        choices: vec![choice(
            "Hi there! How can I help today? I can answer questions, brainstorm ideas, write or edit text, explain concepts, help with coding, plan projects, translate languages, or just chat. What would you like to do? If you\u{2019}re not sure, tell me a topic you\u{2019}re curious about and I\u{2019}ll give you a quick rundown.",
            ContentFilterResults::default(),
        )],
        usage: usage(8, 271, 192),
        prompt_filter: vec![],
    };
    let ids = ["8f2cae43-720b-42c3-9ca7-44a99a6ca1b1", "c44b65e2-6f05-4899-abbe-9cfe79d74b26"];
    let told = evidence(Some("gpt-5-nano"), ids, [99, 99_998], Some([100, 100_000]));
    assert_eq!(recording.complete().await, Ok((expected, told)));
}

#[tokio::test]
async fn a_reasoning_model_counts_its_hidden_tokens() {
    let Some(recording) = Recording::load("chat-reasoning-200-2025-08.json") else { return };
    let expected = ChatReply {
        header: header("chatcmpl-C6EJeKZdEaC0VeeKH3lWwJBjCTcpd", "gpt-5-nano-2025-08-07", 1_755_601_034, None),
        choices: vec![choice("3", safe(PROTECTED))],
        usage: usage(11, 203, 192),
        prompt_filter: prompt(safe(&["jailbreak"])),
    };
    let ids = ["aebd8320-f701-4e7d-801f-2955f84e3811", "7acf5821-70fa-4fab-b202-ba3700578d08"];
    let told = evidence(Some("gpt-5-nano"), ids, [99, 99_994], Some([100, 100_000]));
    assert_eq!(recording.complete().await, Ok((expected, told)));
}

#[tokio::test]
async fn a_withheld_answer_says_why_and_nothing_else() {
    let Some(recording) = Recording::load("chat-unary-content-filter-edited.json") else { return };
    let mut filter = safe(&[]);
    filter.verdicts[0] = graded("hate", Severity::High);
    let withheld =
        Choice { content: vec![], finish_reason: FinishReason::ContentFilter, filter, ..choice("", safe(&[])) };
    let expected = ChatReply {
        header: header("chatcmpl-9HpyGSWv1hoKdGaUaiFhfxzTEVlZo", "gpt-35-turbo", 1_714_038_380, None),
        choices: vec![withheld],
        usage: usage(15, 19, 0),
        prompt_filter: prompt(safe(&[])),
    };
    let ids = ["6624fbc0-526e-4c5f-b98c-fb96daf3c582", "cc6ffd40-d056-43b3-9813-19c43abd66d6"];
    assert_eq!(recording.complete().await, Ok((expected, evidence(None, ids, [119, 119_984], None))));
}

/// Streams as one chunk, and with every event cut into three.
async fn streamed(recording: &Recording) -> Vec<Result<(ChatReply, Evidence), Failure>> {
    let whole = recording.serve().await;
    let mut steps = vec![Step::Send(chunked_head(&recording.status(), &recording.headers()))];
    steps.extend(recording.body().as_bytes().chunks(97).map(|piece| Step::Send(chunk(piece))));
    steps.push(Step::Send(chunk(b"")));
    let pieces = Canned::start(steps).await;
    let (deployment, style) = recording.call();
    let mut results = Vec::new();
    for server in [whole, pieces] {
        let azure = azure(server.address, style.clone());
        results.push(assemble(&azure, &order(deployment, patient()), &ask("Tell me a joke")).await);
    }
    results
}

#[tokio::test]
async fn a_stream_of_2026() {
    let Some(recording) = Recording::load("chat-stream-200-2026-03.json") else { return };
    let expected = ChatReply {
        header: header(
            "chatcmpl-DPTMiF7ruY2rWM1dtvSxwd6xmxya2",
            "gpt-4.1-mini-2025-04-14",
            1_774_963_452,
            Some("fp_b6f445fc1c"),
        ),
        choices: vec![choice(
            "Why did the developer bring OpenTelemetry to the party?\n\nBecause they wanted to trace all the fun from start to finish!",
            safe(PROTECTED),
        )],
        usage: None,
        prompt_filter: prompt(safe(&["jailbreak"])),
    };
    let ids = ["9b5a9ac0-44f2-4dc6-8c0a-5b1ed8f5022f", "0ee37bcf-ca0a-440e-a381-9e07cef6bc02"];
    let told = evidence(Some("openllmetry-testing"), ids, [119, 119_986], Some([120, 120_000]));
    for result in streamed(&recording).await {
        assert_eq!(result, Ok((expected.clone(), told.clone())));
    }
}

#[tokio::test]
async fn a_stream_of_2024() {
    let Some(recording) = Recording::load("chat-stream-200-2024-04.json") else { return };
    let expected = ChatReply {
        header: header("chatcmpl-9HpbbsSaH8U6amSDAwdA2WzMeDdLB", "gpt-35-turbo", 1_714_036_975, None),
        choices: vec![choice(
            "Why did the OpenTelemetry project become a stand-up comedian?\n\nBecause it wanted to trace its steps and observe its laughter-per-minute rate!",
            safe(&[]),
        )],
        usage: None,
        prompt_filter: prompt(safe(&[])),
    };
    let ids = ["4e4b1dd6-9a06-40b0-a6e5-50d7f9ee0b5e", "ceebacd4-7104-4f62-9590-7d679358ff3c"];
    for result in streamed(&recording).await {
        assert_eq!(result, Ok((expected.clone(), evidence(None, ids, [117, 119_952], None))));
    }
}

#[tokio::test]
async fn a_missing_deployment_is_known_without_a_content_type() {
    let Some(recording) = Recording::load("chat-404-deployment-not-found-2026-03.json") else { return };
    let told = Evidence {
        http_status: Some(404),
        reported_region: Some("East US 2".into()),
        request_id: Some("229984e1-2885-42a2-9668-09b5037db6ea".into()),
        ..Evidence::default()
    };
    let expected = Failure { kind: FailureKind::DeploymentNotFound, evidence: Box::new(told), maybe_billed: false };
    assert_eq!(recording.complete().await, Err(expected));
}

#[tokio::test]
async fn a_wrong_key_is_an_alarm_not_an_outage() {
    let Some(recording) = Recording::load("embeddings-401-bad-key-2026-03.json") else { return };
    let server = recording.serve().await;
    let (deployment, style) = recording.call();
    let request = EmbedRequest { inputs: vec!["Tell me a joke".into()], ..EmbedRequest::default() };
    let result = azure(server.address, style).embed(&order(deployment, patient()), &request).await;
    let told = Evidence {
        http_status: Some(401),
        request_id: Some("a12b8d1c-ec44-4f47-836c-af5095ede296".into()),
        ..Evidence::default()
    };
    let expected = Failure { kind: FailureKind::Unauthorized, evidence: Box::new(told), maybe_billed: false };
    assert_eq!(result, Err(expected));
    assert_eq!(server.seen()[0].path(), recording.path());
}

#[tokio::test]
async fn a_vector_keeps_every_bit() {
    let Some(recording) = Recording::load("embeddings-base64-200-2024-02.json") else { return };
    let server = recording.serve().await;
    let (deployment, style) = recording.call();
    let input = "Tell me a joke about opentelemetry".to_owned();
    let request = EmbedRequest { inputs: vec![input], ..EmbedRequest::default() };
    let reply = azure(server.address, style).embed(&order(deployment, patient()), &request).await.unwrap();

    let body: Value = serde_json::from_str(recording.body()).unwrap();
    let text = body["data"][0]["embedding"].as_str().unwrap();
    let bytes = base64_simd::STANDARD.decode_to_vec(text).unwrap();
    assert_eq!(reply.vectors, [Vector::from_le_bytes(bytes).unwrap()]);
    assert_eq!(reply.vectors[0].dimensions(), 3072);
    let norm: f64 = reply.vectors[0].components().map(|x| f64::from(x) * f64::from(x)).sum();
    assert!((norm - 1.0).abs() < 1e-4, "{norm}");
    assert_eq!(reply.model, body["model"].as_str().unwrap());
    assert_eq!(reply.usage, Usage { input_tokens: 8, total_tokens: 8, ..Usage::default() });
    let ids = ["a9de7d0d-fd3b-4bf8-bffa-fcc0af815a28", "8b0fb6a3-60b6-4ddf-a576-e36e74519f5e"];
    assert_eq!(reply.evidence, evidence(None, ids, [119, 119_991], None));
}
