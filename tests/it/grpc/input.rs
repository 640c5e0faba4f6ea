//! Bad input of every kind: a precise error that names the field, and the server lives on.
use prost::Message as _;
use sealane::grpc::pb;
use tonic::{Request, metadata::MetadataValue};
use tonic_types::StatusExt as _;

use crate::support::{
    scripted::Scripted,
    service::{Service, Wanted, caller, embed, hi, told, user, with_token},
};

fn chat(change: impl FnOnce(&mut pb::CompleteRequest)) -> pb::CompleteRequest {
    let mut request = hi();
    change(&mut request);
    request
}

fn image(source: pb::image_part::Source, mime_type: &str) -> pb::Message {
    let image = pb::ImagePart { source: Some(source), mime_type: mime_type.into(), detail: 0 };
    let part = pb::ContentPart { part: Some(pb::content_part::Part::Image(image)) };
    pb::Message { content: vec![part], ..user("") }
}

fn tool(name: &str, schema: &str) -> pb::Tool {
    let function = pb::FunctionTool { name: name.into(), parameters_json_schema: schema.into(), ..Default::default() };
    pb::Tool { tool: Some(pb::tool::Tool::Function(function)) }
}

fn json_schema(name: &str, schema: &str) -> Option<pb::ResponseFormat> {
    let schema = pb::JsonSchemaFormat { name: name.into(), schema_json: schema.into(), ..Default::default() };
    Some(pb::ResponseFormat { format: Some(pb::response_format::Format::JsonSchema(schema)) })
}

fn extra(name: &str) -> Option<prost_types::Struct> {
    let value = prost_types::Value { kind: Some(prost_types::value::Kind::BoolValue(true)) };
    Some(prost_types::Struct { fields: [(name.to_owned(), value)].into() })
}

/// A request and the fields that its error must name.
fn unusable() -> Vec<(pb::CompleteRequest, Vec<&'static str>)> {
    use pb::image_part::Source::{Inline, Uri};
    let calls = vec![pb::ToolCall::default()];
    vec![
        (pb::CompleteRequest::default(), vec!["model", "messages"]),
        (chat(|r| r.model = "m".repeat(129)), vec!["model"]),
        (chat(|r| r.messages.clear()), vec!["messages"]),
        (chat(|r| r.messages = vec![user("x"); 2049]), vec!["messages"]),
        (chat(|r| r.messages[0].role = 0), vec!["messages[0].role"]),
        (chat(|r| r.messages[0].role = 99), vec!["messages[0].role"]),
        (chat(|r| r.messages[0].content.clear()), vec!["messages[0].content"]),
        (chat(|r| r.messages[0].content[0].part = None), vec!["messages[0].content[0]"]),
        (chat(|r| r.messages[0].name = "n".repeat(65)), vec!["messages[0].name"]),
        (chat(|r| r.messages[0].tool_call_id = "call_1".into()), vec!["messages[0].tool_call_id"]),
        (chat(|r| r.messages[0].role = pb::Role::Tool as i32), vec!["messages[0].tool_call_id"]),
        (
            chat(|r| r.messages[0].tool_calls = calls.clone()),
            vec!["messages[0].tool_calls", "messages[0].tool_calls[0].id", "messages[0].tool_calls[0].name"],
        ),
        (
            chat(|r| {
                r.messages[0].role = pb::Role::System as i32;
                r.messages.push(pb::Message { role: pb::Role::Developer as i32, ..user("x") });
            }),
            vec!["messages"],
        ),
        (
            chat(|r| r.messages = vec![image(Uri("https://a/b.png".into()), "")]),
            vec!["messages[0].content[0].image.uri"],
        ),
        (
            chat(|r| r.messages = vec![image(Inline(vec![1]), "text/html")]),
            vec!["messages[0].content[0].image.mime_type"],
        ),
        (chat(|r| r.messages = vec![image(Inline(vec![]), "image/png")]), vec!["messages[0].content[0].image.inline"]),
        (chat(|r| r.max_output_tokens = Some(0)), vec!["max_output_tokens"]),
        (chat(|r| r.max_output_tokens = Some(-5)), vec!["max_output_tokens"]),
        (chat(|r| r.temperature = Some(f32::NAN)), vec!["temperature"]),
        (chat(|r| r.temperature = Some(2.1)), vec!["temperature"]),
        (chat(|r| r.top_p = Some(f32::INFINITY)), vec!["top_p"]),
        (chat(|r| r.frequency_penalty = Some(-2.5)), vec!["frequency_penalty"]),
        (chat(|r| r.presence_penalty = Some(f32::NEG_INFINITY)), vec!["presence_penalty"]),
        (chat(|r| r.stop_sequences = vec!["a".into(); 5]), vec!["stop_sequences"]),
        (chat(|r| r.stop_sequences = vec![String::new()]), vec!["stop_sequences[0]"]),
        (chat(|r| r.choice_count = Some(129)), vec!["choice_count"]),
        (chat(|r| r.top_logprobs = Some(3)), vec!["top_logprobs"]),
        (
            chat(|r| {
                r.logprobs = true;
                r.top_logprobs = Some(21);
            }),
            vec!["top_logprobs"],
        ),
        (chat(|r| r.logit_bias = [(7, f32::NAN)].into()), vec!["logit_bias[7]"]),
        (chat(|r| r.logit_bias = [(-1, 1.0)].into()), vec!["logit_bias[-1]"]),
        (chat(|r| r.metadata = [("k".repeat(65), String::new())].into()), vec!["metadata"]),
        (chat(|r| r.reasoning_effort = 77), vec!["reasoning_effort"]),
        (chat(|r| r.verbosity = -1), vec!["verbosity"]),
        (chat(|r| r.tools = vec![tool("has space", "")]), vec!["tools[0].function.name"]),
        (chat(|r| r.tools = vec![tool("f", ""), tool("f", "")]), vec!["tools[1].function.name"]),
        (chat(|r| r.tools = vec![tool("f", "{broken")]), vec!["tools[0].function.parameters_json_schema"]),
        (chat(|r| r.tools = vec![pb::Tool { tool: None }]), vec!["tools[0].function"]),
        (chat(|r| r.parallel_tool_calls = Some(true)), vec!["parallel_tool_calls"]),
        (
            chat(|r| {
                r.tools = vec![tool("f", "")];
                let name = pb::tool_choice::Choice::FunctionName("g".into());
                r.tool_choice = Some(pb::ToolChoice { choice: Some(name) });
            }),
            vec!["tool_choice.function_name"],
        ),
        (
            chat(|r| {
                let mode = pb::tool_choice::Choice::Mode(42);
                r.tool_choice = Some(pb::ToolChoice { choice: Some(mode) });
            }),
            vec!["tool_choice.mode"],
        ),
        (chat(|r| r.response_format = Some(pb::ResponseFormat { format: None })), vec!["response_format"]),
        (
            chat(|r| r.response_format = json_schema("", "[1]")),
            vec!["response_format.json_schema.name", "response_format.json_schema.schema_json"],
        ),
        (chat(|r| r.logit_bias = [(7, 0.5)].into()), vec!["logit_bias[7]"]),
        (
            chat(|r| {
                let part = pb::content_part::Part::File(pb::FilePart::default());
                r.messages[0].content.push(pb::ContentPart { part: Some(part) });
            }),
            vec![
                "messages[0].content[1].file.inline",
                "messages[0].content[1].file.mime_type",
                "messages[0].content[1].file.name",
            ],
        ),
        (
            chat(|r| {
                r.model = "thinker".into();
                r.temperature = Some(0.0);
                r.top_p = Some(0.5);
                r.frequency_penalty = Some(0.5);
                r.presence_penalty = Some(-2.0);
                r.logprobs = true;
                r.top_logprobs = Some(0);
                r.logit_bias = [(7, 1.0)].into();
            }),
            vec![
                "temperature",
                "top_p",
                "frequency_penalty",
                "presence_penalty",
                "logprobs",
                "top_logprobs",
                "logit_bias",
            ],
        ),
        (chat(|r| r.extra_params = extra("backdoor")), vec!["extra_params.backdoor"]),
        (
            chat(|r| {
                r.routing = Some(pb::RoutingOptions {
                    workflow_id: "new\nline".into(),
                    allowed_regions: vec![" ".into()],
                    max_processing_scope: 9,
                    priority: 9,
                    on_interruption: 9,
                    hedge: 9,
                    ..Default::default()
                });
            }),
            vec![
                "routing.workflow_id",
                "routing.allowed_regions[0]",
                "routing.max_processing_scope",
                "routing.priority",
                "routing.on_interruption",
                "routing.hedge",
            ],
        ),
    ]
}

#[tokio::test]
async fn every_unusable_field_is_named() {
    let service = Service::start(Scripted::default()).await;
    let mut client = service.inference().await;
    for (request, fields) in unusable() {
        let status = client.complete(request.clone()).await.expect_err(&format!("{fields:?} is accepted"));
        assert_eq!(told(&status), "InvalidArgument INVALID_REQUEST", "{fields:?}");
        let violations = status.get_error_details().bad_request().unwrap().field_violations.clone();
        let named: Vec<_> = violations.iter().map(|one| one.field.as_str()).collect();
        assert_eq!(named, fields);
        let status = client.complete_stream(request).await.unwrap_err();
        assert_eq!(told(&status), "InvalidArgument INVALID_REQUEST", "streamed: {fields:?}");
    }
    assert!(service.upstream.seen().is_empty(), "nothing was sent");
    client.complete(hi()).await.expect("the server lives on");
}

#[tokio::test]
async fn unusable_embedding_requests() {
    let service = Service::start(Scripted::default()).await;
    let mut client = service.inference().await;
    let many = vec!["x"; 2049];
    for (request, fields) in [
        (embed(&[]), vec!["inputs"]),
        (embed(&["a", ""]), vec!["inputs[1]"]),
        (embed(&many), vec!["inputs"]),
        (pb::EmbedRequest { dimensions: Some(0), ..embed(&["a"]) }, vec!["dimensions"]),
        (pb::EmbedRequest { encoding: 9, ..embed(&["a"]) }, vec!["encoding"]),
    ] {
        let status = client.embed(request).await.unwrap_err();
        let violations = status.get_error_details().bad_request().unwrap().field_violations.clone();
        assert_eq!(violations.iter().map(|one| one.field.as_str()).collect::<Vec<_>>(), fields);
    }
    client.embed(embed(&["a"])).await.expect("the server lives on");
}

#[tokio::test]
async fn a_message_one_byte_over_the_limit() {
    let limit = hi().encoded_len();
    let wanted = Wanted { max_request_bytes: limit, ..Wanted::default() };
    let service = Service::start_as(Scripted::default(), wanted).await;
    let mut client = service.inference().await;
    client.complete(hi()).await.expect("exactly the limit");
    let over = chat(|r| r.end_user_id = String::new()).encoded_len();
    assert_eq!(over, limit);
    let status = client.complete(chat(|r| r.messages = vec![user("hi!")])).await.unwrap_err();
    assert_eq!(told(&status), "ResourceExhausted REQUEST_TOO_LARGE");
    let facts = status.get_error_details().error_info().unwrap().metadata.clone();
    assert_eq!((facts["bytes"].as_str(), facts["limit"].as_str()), (&*(limit + 1).to_string(), &*limit.to_string()));
    client.complete(hi()).await.expect("the server lives on");
}

#[tokio::test]
async fn a_reply_that_the_caller_could_not_take() {
    let wanted = Wanted { max_response_bytes: 400, ..Wanted::default() };
    let service = Service::start_as(Scripted::default(), wanted).await;
    let mut client = service.inference().await;
    let many = vec!["x"; 100];
    let status = client.embed(embed(&many)).await.unwrap_err();
    assert_eq!(told(&status), "ResourceExhausted RESPONSE_TOO_LARGE");
    assert!(status.message().contains("x-sealane-max-recv-bytes"), "{}", status.message());
    let mut request = Request::new(embed(&many));
    request.metadata_mut().insert("x-sealane-max-recv-bytes", "1000000".parse().unwrap());
    assert_eq!(client.embed(request).await.unwrap().into_inner().embeddings.len(), 100);
    let mut request = Request::new(embed(&["x"]));
    request.metadata_mut().insert("x-sealane-max-recv-bytes", "lots".parse().unwrap());
    let status = client.embed(request).await.unwrap_err();
    assert_eq!(told(&status), "InvalidArgument INVALID_REQUEST");
}

#[tokio::test]
async fn metadata_that_is_no_text_and_timeouts_that_are_none() {
    let service = Service::start(Scripted::default()).await;
    let mut client = service.inference().await;
    let opaque = |bytes: &[u8]| MetadataValue::try_from(bytes).unwrap();
    for key in ["traceparent", "x-request-id", "x-anything"] {
        let mut request = Request::new(hi());
        request.metadata_mut().insert(key, opaque(b"\xff\xfe\x80"));
        client.complete(request).await.unwrap_or_else(|status| panic!("{key}: {status:?}"));
    }
    let mut request = Request::new(hi());
    request.metadata_mut().insert("x-sealane-max-recv-bytes", opaque(b"\xff"));
    assert_eq!(told(&client.complete(request).await.unwrap_err()), "InvalidArgument INVALID_REQUEST");
    for timeout in ["soon", "5", "123456789S", "-1S"] {
        let mut request = Request::new(hi());
        request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
        let status = client.complete(request).await.unwrap_err();
        assert_eq!(told(&status), "InvalidArgument INVALID_REQUEST", "{timeout}");
        assert!(status.message().starts_with("grpc-timeout "), "{}", status.message());
    }
}

#[tokio::test]
async fn bytes_that_are_no_message_and_methods_that_do_not_exist() {
    let service = Service::start(Scripted::default()).await;
    let raw = async |path: &'static str, bytes: &'static [u8]| {
        let mut grpc = tonic::client::Grpc::new(service.channel().await);
        grpc.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static(path);
        grpc.unary(Request::new(bytes.to_vec()), path, raw::Raw).await.unwrap_err()
    };
    let complete = "/sealane.v1.InferenceService/Complete";
    assert_eq!(told(&raw(complete, b"\xff\xff\xff").await), "InvalidArgument INVALID_REQUEST");
    // Field 1 (model) holds bytes that are no UTF-8.
    assert_eq!(told(&raw(complete, b"\x0a\x02\xc3\x28").await), "InvalidArgument INVALID_REQUEST");
    assert_eq!(told(&raw("/sealane.v1.InferenceService/Compleet", b"").await), "Unimplemented NOT_IMPLEMENTED");
    assert_eq!(told(&raw("/other.v1.Service/Method", b"").await), "Unimplemented NOT_IMPLEMENTED");
}

/// Sends bytes as they are.
mod raw {
    use bytes::{Buf as _, BufMut as _};
    use tonic::{
        Status,
        codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    };

    #[derive(Default)]
    pub(super) struct Raw;

    impl Codec for Raw {
        type Encode = Vec<u8>;
        type Decode = Vec<u8>;
        type Encoder = Self;
        type Decoder = Self;

        fn encoder(&mut self) -> Self {
            Self
        }

        fn decoder(&mut self) -> Self {
            Self
        }
    }

    impl Encoder for Raw {
        type Item = Vec<u8>;
        type Error = Status;

        fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
            buffer.put_slice(&item);
            Ok(())
        }
    }

    impl Decoder for Raw {
        type Item = Vec<u8>;
        type Error = Status;

        fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
            Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
        }
    }
}

#[tokio::test]
async fn only_known_callers_are_served_where_callers_are_configured() {
    let callers = vec![caller("engine", "secret-token")];
    let service = Service::start_as(Scripted::default(), Wanted { callers, ..Wanted::default() }).await;
    let mut client = service.inference().await;
    assert_eq!(told(&client.complete(hi()).await.unwrap_err()), "Unauthenticated MISSING_TOKEN");
    let refused = client.complete(with_token("guess", hi())).await.unwrap_err();
    assert_eq!(told(&refused), "Unauthenticated INVALID_TOKEN");
    assert!(!format!("{refused:?}").contains("guess"), "the token is not repeated");
    let status = service.regions().await.region_status(pb::RegionStatusRequest::default()).await.unwrap_err();
    assert_eq!(told(&status), "Unauthenticated MISSING_TOKEN");
    assert!(service.upstream.seen().is_empty());
    client.complete(with_token("secret-token", hi())).await.unwrap();
}
