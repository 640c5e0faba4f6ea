//! Every request that the adapter sends, taken off the wire and held strictly to the official files.
use std::collections::BTreeSet;

use proptest::{
    prelude::{Strategy as _, any, prop},
    test_runner::{Config, TestRunner},
};
use sealane::{
    azure::{Azure, PathStyle},
    upstream::{AttemptOrder, TraceContext, Upstream as _},
};
use sealane_core::domain::{
    ChatRequest, EmbedRequest, ImageDetail, ImageSource, JsonSchema, Part, ReasoningEffort, ResponseFormat, Role, Tool,
    ToolCall, ToolChoice, UserSecurityContext, Verbosity,
};
use serde_json::{Value, json};

use super::strict::{Document, Violation};
use crate::support::{
    attempt::{KEY, ask, azure, dated, message, order, patient},
    canned::{Canned, Request, Step, response},
    openapi::{self, DATED, V1},
};

const CHAT_DATED: &str = "/deployments/{deployment-id}/chat/completions";
const CHAT_V1: &str = "/chat/completions";
const EMBEDDINGS_DATED: &str = "/deployments/{deployment-id}/embeddings";
const EMBEDDINGS_V1: &str = "/embeddings";

/// What Azure takes and its files lack.
struct Waiver {
    file: &'static str,
    pointer: &'static str,
    /// What a strict reading says against it.
    objections: &'static [&'static str],
    /// Why it is sent all the same.
    reason: &'static str,
    /// Who says that Azure takes it.
    source: &'static str,
}

const WAIVERS: &[Waiver] = &[
    Waiver {
        file: DATED,
        pointer: "/stream_options",
        objections: &["unknown member"],
        reason: "without it a streamed call has no usage; the file defines chatCompletionStreamOptions and forgets to refer to it",
        source: "azure-openai-spec/README.md, waiver 9; contract 3.1",
    },
    Waiver {
        file: DATED,
        pointer: "/messages/*/role",
        objections: &["\"developer\" is not one of the enum's"],
        reason: "`developer` is the only word for it that reasoning models keep apart from `system`",
        source: "azure-openai-spec/README.md, waiver 9; openai-v1.json OpenAI.ChatCompletionRole",
    },
    Waiver {
        file: DATED,
        pointer: "/reasoning_effort",
        objections: &["unknown member"],
        reason: "reasoning models are served on dated paths too",
        source: "recorded/chat-reasoning-200-2025-08.json: sent to a dated path, answered 200",
    },
    Waiver {
        file: DATED,
        pointer: "/prediction",
        objections: &["unknown member"],
        reason: "predicted outputs came after the file; a model that lacks them answers 400, which names the parameter",
        source: "azure-openai-spec/README.md, waiver 9; openai-v1.json AzureCreateChatCompletionRequest",
    },
    Waiver {
        file: DATED,
        pointer: "/metadata",
        objections: &["unknown member"],
        reason: "came after the file, as `prediction` did",
        source: "openai-v1.json AzureCreateChatCompletionRequest",
    },
    Waiver {
        file: DATED,
        pointer: "/user_security_context",
        objections: &["unknown member"],
        reason: "a field of v1 and of the later previews; a path that lacks it answers 400, which names it",
        source: "openai-v1.json AzureCreateChatCompletionRequest; inference-2025-03-01-preview.json",
    },
    Waiver {
        file: DATED,
        pointer: "/messages/*/content/*/type",
        objections: &["\"file\" is not one of the enum's"],
        reason: "documents came after the file; a model that lacks them answers 400",
        source: "openai-v1.json, OpenAI.ChatCompletionRequestMessageContentPartFile; contract 3.1",
    },
    Waiver {
        file: DATED,
        pointer: "/messages/*/content/*",
        objections: &["lacks text"],
        reason: "documents came after the file; a model that lacks them answers 400",
        source: "openai-v1.json, OpenAI.ChatCompletionRequestMessageContentPartFile; contract 3.1",
    },
    Waiver {
        file: DATED,
        pointer: "/messages/*/content/*/file",
        objections: &["unknown member"],
        reason: "documents came after the file; a model that lacks them answers 400",
        source: "openai-v1.json, OpenAI.ChatCompletionRequestMessageContentPartFile; contract 3.1",
    },
    Waiver {
        file: DATED,
        pointer: "/verbosity",
        objections: &["unknown member"],
        reason: "came with the gpt-5 models; neither of Azure's files has it",
        source: "openai-subset-chat-embeddings.json, Verbosity; contract 3.1",
    },
    Waiver {
        file: DATED,
        pointer: "/response_format/json_schema",
        objections: &["lacks type"],
        reason: "the file demands a member `type` there that it does not define; it means the one beside it",
        source: "openai-subset-chat-embeddings.json and openai-v1.json, ResponseFormatJsonSchema: only `name` is required",
    },
    Waiver {
        file: V1,
        pointer: "/verbosity",
        objections: &["unknown member"],
        reason: "came with the gpt-5 models; neither of Azure's files has it",
        source: "openai-subset-chat-embeddings.json, Verbosity; contract 3.1",
    },
    Waiver {
        file: V1,
        pointer: "/reasoning_effort",
        objections: &[
            "\"none\" is not one of the enum's",
            "\"minimal\" is not one of the enum's",
            "\"xhigh\" is not one of the enum's",
        ],
        reason: "the file's list ends at low, medium, high; newer models take none, minimal and xhigh",
        source: "openai-subset-chat-embeddings.json, ReasoningEffort; contract 3.1: the enum is out of date",
    },
];

/// One path style: its file, and an adapter that talks to a server which only listens.
pub(super) struct Style {
    pub(super) file: &'static str,
    document: Document,
    server: Canned,
    azure: Azure,
}

impl Style {
    pub(super) async fn load(file: &'static str) -> Option<Self> {
        let text = std::fs::read_to_string(openapi::directory()?.join(file)).unwrap();
        let path = if file == V1 { PathStyle::V1 } else { dated() };
        let server = listener().await;
        let azure = azure(server.address, path);
        Some(Self { file, document: Document(serde_json::from_str(&text).unwrap()), server, azure })
    }

    pub(super) async fn both() -> Option<[Self; 2]> {
        Some([Self::load(DATED).await?, Self::load(V1).await?])
    }

    /// The request as the server got it.
    pub(super) async fn send(&self, request: &ChatRequest, streamed: bool) -> Request {
        send(&self.azure, request, streamed).await;
        self.server.seen().pop().unwrap()
    }

    pub(super) fn is_v1(&self) -> bool {
        self.file == V1
    }

    /// The places where a request's body leaves the file; each is waived.
    pub(super) fn check(&self, operation: &str, request: &Request) -> BTreeSet<Violation> {
        let body = request.json();
        let found = self.document.violations(self.document.body(operation), &body);
        for violation @ Violation { pointer, why } in &found {
            assert!(self.waives(violation), "{} {operation}: {pointer}: {why}\nin {body}", self.file);
        }
        found.into_iter().collect()
    }

    fn waives(&self, Violation { pointer, why }: &Violation) -> bool {
        let waives = |waiver: &&Waiver| waiver.pointer == pointer && waiver.objections.contains(&why.as_str());
        WAIVERS.iter().filter(|waiver| waiver.file == self.file).any(|waiver| waives(&waiver))
    }

    /// Where the file calls a chat request's body wrong, and no waiver says that Azure takes it.
    pub(super) fn objections(&self, body: &Value) -> Vec<Violation> {
        let found = self.document.violations(self.document.body(self.chat()), body);
        found.into_iter().filter(|violation| !self.waives(violation)).collect()
    }

    /// The file's path of chat completions.
    pub(super) fn chat(&self) -> &'static str {
        if self.is_v1() { CHAT_V1 } else { CHAT_DATED }
    }

    /// The address is the file's own, with no parameter that it does not name.
    fn check_address(&self, operation: &str, deployment: &str, request: &Request) {
        let (path, query) = request.path().split_once('?').unwrap_or((request.path(), ""));
        let base = if self.is_v1() { "/openai/v1" } else { "/openai" };
        assert_eq!(path, format!("{base}{}", operation.replace("{deployment-id}", deployment)));
        let parameters = self.document.0["paths"][operation]["post"]["parameters"].as_array().unwrap();
        let in_query = |name: &str| parameters.iter().find(|known| known["in"] == "query" && known["name"] == name);
        let sent: Vec<_> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
        assert!(sent.iter().all(|(name, _)| in_query(name).is_some()), "{query}");
        for known in parameters.iter().filter(|known| known["in"] == "query" && known["required"] == true) {
            assert!(sent.iter().any(|(name, _)| known["name"] == *name), "{query} lacks {}", known["name"]);
        }
    }
}

/// Any answer will do: only the request matters.
async fn listener() -> Canned {
    Canned::start([Step::Send(response("500 No", &[], b""))]).await
}

fn traced(deployment: &str) -> AttemptOrder {
    let trace = TraceContext {
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        tracestate: Some("a=b".into()),
    };
    AttemptOrder { trace, ..order(deployment, patient()) }
}

async fn send(azure: &Azure, request: &ChatRequest, streamed: bool) {
    let order = traced("our gpt-4o");
    if streamed {
        assert!(azure.stream_chat(&order, request).await.is_err());
    } else {
        azure.complete_chat(&order, request).await.unwrap_err();
    }
}

/// One field of a request: how it is set, and what it must become in the body.
type Field = (fn(&mut ChatRequest), Value);

const SCHEMA: &str = r#"{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}"#;

fn fields() -> Vec<Field> {
    fn say(role: Role, text: &str) -> sealane_core::domain::Message {
        message(role, vec![Part::Text(text.into())])
    }
    let schema_json: Value = serde_json::from_str(SCHEMA).unwrap();
    vec![
        (|r| r.max_output_tokens = Some(100), json!({"max_completion_tokens": 100})),
        (|r| r.temperature = Some(0.1), json!({"temperature": 0.1})),
        (|r| r.temperature = Some(2.0), json!({"temperature": 2})),
        (|r| r.top_p = Some(0.95), json!({"top_p": 0.95})),
        (|r| r.seed = Some(i64::MIN), json!({"seed": i64::MIN})),
        (|r| r.stop = vec!["a".into(), "\n".into()], json!({"stop": ["a", "\n"]})),
        (|r| r.frequency_penalty = Some(-2.0), json!({"frequency_penalty": -2})),
        (|r| r.presence_penalty = Some(0.3), json!({"presence_penalty": 0.3})),
        (
            |r| r.tools.push(Tool { name: "f".into(), description: None, parameters_json: None, strict: false }),
            json!({"tools": [{"type": "function", "function": {"name": "f"}}]}),
        ),
        (
            |r| {
                let parameters_json = Some(SCHEMA.to_owned());
                r.tools =
                    vec![Tool { name: "g".into(), description: Some("does".into()), parameters_json, strict: true }];
            },
            json!({"tools": [{"type": "function", "function":
                {"name": "g", "description": "does", "parameters": schema_json, "strict": true}}]}),
        ),
        (|r| r.tool_choice = Some(ToolChoice::Auto), json!({"tool_choice": "auto"})),
        (|r| r.tool_choice = Some(ToolChoice::None), json!({"tool_choice": "none"})),
        (|r| r.tool_choice = Some(ToolChoice::Required), json!({"tool_choice": "required"})),
        (
            |r| r.tool_choice = Some(ToolChoice::Function("g".into())),
            json!({"tool_choice": {"type": "function", "function": {"name": "g"}}}),
        ),
        (|r| r.parallel_tool_calls = Some(false), json!({"parallel_tool_calls": false})),
        (|r| r.response_format = Some(ResponseFormat::Text), json!({"response_format": {"type": "text"}})),
        (|r| r.response_format = Some(ResponseFormat::JsonObject), json!({"response_format": {"type": "json_object"}})),
        (
            |r| {
                r.response_format = Some(ResponseFormat::JsonSchema(JsonSchema {
                    name: "answer".into(),
                    description: Some("the answer".into()),
                    schema_json: SCHEMA.into(),
                    strict: true,
                }));
            },
            json!({"response_format": {"type": "json_schema", "json_schema":
                {"name": "answer", "description": "the answer", "schema": schema_json, "strict": true}}}),
        ),
        (|r| r.reasoning_effort = Some(ReasoningEffort::None), json!({"reasoning_effort": "none"})),
        (|r| r.reasoning_effort = Some(ReasoningEffort::Minimal), json!({"reasoning_effort": "minimal"})),
        (|r| r.reasoning_effort = Some(ReasoningEffort::Low), json!({"reasoning_effort": "low"})),
        (|r| r.reasoning_effort = Some(ReasoningEffort::Medium), json!({"reasoning_effort": "medium"})),
        (|r| r.reasoning_effort = Some(ReasoningEffort::High), json!({"reasoning_effort": "high"})),
        (|r| r.reasoning_effort = Some(ReasoningEffort::Xhigh), json!({"reasoning_effort": "xhigh"})),
        (|r| r.verbosity = Some(Verbosity::Low), json!({"verbosity": "low"})),
        (|r| r.verbosity = Some(Verbosity::Medium), json!({"verbosity": "medium"})),
        (|r| r.verbosity = Some(Verbosity::High), json!({"verbosity": "high"})),
        (|r| r.choice_count = Some(128), json!({"n": 128})),
        (|r| r.logprobs = true, json!({"logprobs": true})),
        (|r| r.top_logprobs = Some(20), json!({"top_logprobs": 20})),
        (|r| r.logit_bias = vec![(9, -100.0), (50256, 1.0)], json!({"logit_bias": {"9": -100, "50256": 1}})),
        (|r| r.prediction = Some("x".into()), json!({"prediction": {"type": "content", "content": "x"}})),
        (|r| r.metadata = vec![("run".into(), "1".into())], json!({"metadata": {"run": "1"}})),
        (|r| r.end_user_id = Some("u".into()), json!({"user": "u"})),
        (
            |r| {
                r.user_security_context = Some(UserSecurityContext {
                    application_name: Some("app".into()),
                    end_user_id: Some("ann".into()),
                    end_user_tenant_id: Some("tenant".into()),
                    source_ip: Some("192.0.2.1".into()),
                });
            },
            json!({"user_security_context": {"application_name": "app", "end_user_id": "ann",
                "end_user_tenant_id": "tenant", "source_ip": "192.0.2.1"}}),
        ),
        (
            |r| {
                let (mime_type, name) = ("application/pdf".into(), "a.pdf".into());
                let file = Part::File { mime_type, name, bytes: b"%PDF".to_vec() };
                r.messages = vec![message(Role::User, vec![Part::Text("read".into()), file])];
            },
            json!({"messages": [{"role": "user", "content": [
                {"type": "text", "text": "read"},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}}]}]}),
        ),
        (
            |r| {
                r.messages = vec![say(Role::System, "be brief"), say(Role::Developer, "really"), say(Role::User, "hi")];
                r.messages[2].name = Some("ann".into());
            },
            json!({"messages": [
                {"role": "system", "content": "be brief"},
                {"role": "developer", "content": "really"},
                {"role": "user", "content": "hi", "name": "ann"}]}),
        ),
        (
            |r| {
                let picture = ImageSource::Inline { mime_type: "image/png".into(), bytes: vec![0x89, 0x50, 0x4e] };
                r.messages = vec![message(
                    Role::User,
                    vec![
                        Part::Text("what".into()),
                        Part::Image { source: picture, detail: None },
                        Part::Image {
                            source: ImageSource::Uri("https://example.org/a.png".into()),
                            detail: Some(ImageDetail::High),
                        },
                    ],
                )];
            },
            json!({"messages": [{"role": "user", "content": [
                {"type": "text", "text": "what"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "high"}}]}]}),
        ),
        (
            |r| {
                let call = |id: &str, arguments: &str| ToolCall {
                    id: id.into(),
                    name: "f".into(),
                    arguments_json: arguments.into(),
                };
                let mut calling = message(Role::Assistant, vec![]);
                calling.tool_calls = vec![call("call_1", "{\"a\":1}"), call("call_2", "not json")];
                let mut result = say(Role::Tool, "42");
                result.tool_call_id = Some("call_1".into());
                r.messages = vec![say(Role::User, "go"), calling, result];
            },
            json!({"messages": [
                {"role": "user", "content": "go"},
                {"role": "assistant", "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}},
                    {"id": "call_2", "type": "function", "function": {"name": "f", "arguments": "not json"}}]},
                {"role": "tool", "content": "42", "tool_call_id": "call_1"}]}),
        ),
        (
            |r| {
                let declined = message(Role::Assistant, vec![Part::Refusal("no".into())]);
                r.messages = vec![say(Role::User, "go"), declined, say(Role::User, "please")];
            },
            json!({"messages": [
                {"role": "user", "content": "go"},
                {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
                {"role": "user", "content": "please"}]}),
        ),
    ]
}

#[tokio::test]
async fn every_field_goes_where_azure_expects_it() {
    let Some(styles) = Style::both().await else { return };
    let mut needed = BTreeSet::new();
    for style in &styles {
        for (set, members) in fields() {
            for streamed in [false, true] {
                let mut request = ask("hi \u{1f600}");
                set(&mut request);
                let sent = style.send(&request, streamed).await;
                let operation = if style.is_v1() { CHAT_V1 } else { CHAT_DATED };
                needed.extend(style.check(operation, &sent).into_iter().map(|violation| (style.file, violation)));
                style.check_address(operation, "our%20gpt-4o", &sent);

                let mut expected = json!({"messages": [{"role": "user", "content": "hi \u{1f600}"}]});
                let expected_members = expected.as_object_mut().unwrap();
                expected_members.extend(members.as_object().unwrap().clone());
                if style.is_v1() {
                    expected_members.insert("model".into(), json!("our gpt-4o"));
                }
                if streamed {
                    expected_members.insert("stream".into(), json!(true));
                    expected_members.insert("stream_options".into(), json!({"include_usage": true}));
                }
                assert_eq!(sent.json(), expected);
            }
        }
    }
    for Waiver { file, pointer, objections, reason, source } in WAIVERS {
        for why in *objections {
            let violation = Violation { pointer: (*pointer).to_owned(), why: (*why).to_owned() };
            assert!(needed.contains(&(*file, violation)), "{file} {pointer}: {why}: not needed");
        }
        assert!(!reason.is_empty() && !source.is_empty());
    }
}

#[test]
fn requests_of_every_make_are_valid() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(styles) = runtime.block_on(Style::both()) else { return };
    let some_fields = prop::sample::subsequence(fields(), 0..=fields().len());
    let strategy = (some_fields, ".{0,40}", ".{0,40}", 1..=i32::MAX as u32, 0.0f32..=2.0, any::<bool>());
    let mut runner = TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
    let result = runner.run(&strategy.no_shrink(), |(fields, text, user, tokens, heat, streamed)| {
        let mut request = ask(&text);
        request.temperature = Some(heat);
        request.max_output_tokens = Some(tokens);
        request.end_user_id = Some(user);
        for (set, _) in &fields {
            set(&mut request);
        }
        for style in &styles {
            let sent = runtime.block_on(style.send(&request, streamed));
            style.check(if style.is_v1() { CHAT_V1 } else { CHAT_DATED }, &sent);
        }
        Ok(())
    });
    result.unwrap();
}

#[tokio::test]
async fn embeddings_are_asked_for_as_base64() {
    let Some(styles) = Style::both().await else { return };
    let texts = vec!["a".to_owned(), "quote \" backslash \\ nul \0 \u{1f600}".to_owned()];
    let plain = EmbedRequest { inputs: texts.clone(), ..EmbedRequest::default() };
    let full = EmbedRequest { dimensions: Some(256), end_user_id: Some("u".into()), ..plain.clone() };
    for style in &styles {
        for (request, members) in [(&plain, json!({})), (&full, json!({"dimensions": 256, "user": "u"}))] {
            style.azure.embed(&traced("embed-3"), request).await.unwrap_err();
            let sent = style.server.seen().pop().unwrap();
            let operation = if style.is_v1() { EMBEDDINGS_V1 } else { EMBEDDINGS_DATED };
            assert_eq!(style.check(operation, &sent), BTreeSet::new(), "no waiver here");
            style.check_address(operation, "embed-3", &sent);
            let mut expected = json!({"input": texts, "encoding_format": "base64"});
            expected.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            if style.is_v1() {
                expected["model"] = json!("embed-3");
            }
            assert_eq!(sent.json(), expected);
        }
    }
}

#[tokio::test]
async fn headers_are_few_and_say_who_and_what() {
    for (path, streamed, accept) in [(dated(), false, "application/json"), (PathStyle::V1, true, "text/event-stream")] {
        let server = listener().await;
        let azure = azure(server.address, path);
        send(&azure, &ask("hi"), streamed).await;
        let sent = server.seen().remove(0);
        assert_eq!(sent.header("api-key"), Some(KEY));
        assert_eq!(sent.header("content-type"), Some("application/json"));
        assert_eq!(sent.header("accept"), Some(accept));
        assert_eq!(sent.header("traceparent"), Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        assert_eq!(sent.header("tracestate"), Some("a=b"));
        for absent in ["authorization", "x-ms-spillover-deployment", "referer", "accept-encoding", "cookie"] {
            assert_eq!(sent.header(absent), None, "{absent}");
        }
        // Azure passes about ten custom headers on and answers 431 to more (contract 2).
        assert!(sent.head.lines().count() <= 12, "{}", sent.head);
    }
}

#[tokio::test]
async fn a_deployment_name_cannot_leave_its_place_in_the_path() {
    for (name, segment) in [
        ("gpt 4o", "gpt%204o"),
        ("a/b", "a%2Fb"),
        ("a?b=c", "a%3Fb=c"),
        ("a#b", "a%23b"),
        ("a%2fb", "a%252fb"),
        ("\u{e9}", "%C3%A9"),
        ("a\\b", "a%5Cb"),
    ] {
        let server = listener().await;
        let result = azure(server.address, dated()).complete_chat(&order(name, patient()), &ask("hi")).await;
        assert!(result.is_err());
        let expected = format!("/openai/deployments/{segment}/chat/completions?api-version=2024-10-21");
        assert_eq!(server.seen()[0].path(), expected);
    }
}
