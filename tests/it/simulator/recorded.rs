//! Answers stand beside real ones, and requests are refused as Azure refuses them.
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn refusals_come_back_as_recorded_byte_for_byte() {
    let region = start(RegionSettings::named("eastus2", "East US 2"));
    let missing = "/openai/deployments/absent/chat/completions?api-version=2024-10-21";
    for (file, path, key) in [
        ("chat-404-deployment-not-found-2026-03.json", missing, "simulated-key"),
        ("embeddings-401-bad-key-2026-03.json", EMBED, "wrong"),
    ] {
        let Some(recording) = recording(file) else { return };
        let recorded = &recording["response"];
        let (head, body) = raw(region.address(), path, key, &ask("hi").to_string());
        let status_line = format!("HTTP/1.1 {} {}", recorded["status"], recorded["reason"].as_str().unwrap());
        assert_eq!(head.lines().next().unwrap(), status_line);
        // The test asks to close, which Azure's recorders did not.
        let mut names = header_names(&head);
        names.remove("connection");
        assert_eq!(names, recorded_header_names(&recording), "{file}");
        let text = recorded["body_text"].as_str().unwrap();
        let expected = if names.contains("transfer-encoding") {
            format!("{:X}\r\n{text}\r\n0\r\n\r\n", text.len())
        } else {
            text.to_owned()
        };
        assert_eq!(body, expected, "{file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_carry_the_recorded_headers_and_members() {
    let region = start(RegionSettings::named("eastus2", "East US 2"));
    let Some(unary) = recording("chat-unary-200-2026-03.json") else { return };
    let Some(stream) = recording("chat-stream-200-2026-03.json") else { return };
    for (recording, body) in [(unary, ask("hi")), (stream, with(ask("hi"), json!({"stream": true})))] {
        let (head, answer) = raw(region.address(), CHAT, "simulated-key", &body.to_string());
        let mut names = header_names(&head);
        names.remove("connection");
        assert_eq!(names, recorded_header_names(&recording));
        assert!(head.contains("x-ms-region: East US 2"), "{head}");
        let recorded = recording["response"]["body_text"].as_str().unwrap();
        if body.get("stream").is_none() {
            let (ours, theirs): (Value, Value) =
                (serde_json::from_str(&answer).unwrap(), serde_json::from_str(recorded).unwrap());
            assert_eq!(shape(&ours), shape(&theirs));
        } else {
            let answer = post(&region, CHAT, &body).await.text().await.unwrap();
            let (ours, theirs) = (events(&answer), events(recorded));
            for (ours, theirs) in
                [(0, 0), (1, 1), (2, 2), (ours.len() - 2, theirs.len() - 2), (ours.len() - 1, theirs.len() - 1)]
                    .map(|(our, their)| (&ours[our], &theirs[their]))
            {
                assert_eq!(shape(ours), shape(theirs));
            }
        }
    }
}

/// A JSON value with every string emptied and every number zeroed: its members and their kinds remain.
fn shape(value: &Value) -> Value {
    match value {
        Value::String(_) => json!(""),
        Value::Number(_) => json!(0),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
        other => other.clone(),
    }
}

#[tokio::test]
async fn addresses_and_credentials_are_told_apart() {
    let settings = RegionSettings { bearer_tokens: vec!["token".into()], ..RegionSettings::default() };
    let region = start(settings);
    let key = ("api-key", "simulated-key");
    let no_version = "/openai/deployments/gpt-4o/chat/completions";
    let unknown_version = "/openai/deployments/gpt-4o/chat/completions?api-version=2020-01-01";
    let v1 = |version| format!("{CHAT_V1}?api-version={version}");
    let cases: [(&str, &str, (&str, &str), u16); 14] = [
        ("POST", CHAT, key, 200),
        ("POST", "/openai/deployments/gpt%2D4o/chat/completions?api-version=2024-10-21", key, 200),
        ("POST", CHAT, ("authorization", "Bearer token"), 200),
        ("POST", CHAT, ("authorization", "Bearer simulated-key"), 401),
        ("POST", CHAT_V1, ("authorization", "Bearer simulated-key"), 200),
        ("POST", CHAT_V1, key, 200),
        ("POST", &v1("preview"), key, 200),
        ("POST", &v1("2024-10-21"), key, 404),
        ("POST", CHAT, ("api-key", ""), 401),
        ("POST", no_version, key, 404),
        ("POST", unknown_version, key, 404),
        ("GET", CHAT, key, 404),
        ("GET", "/openai/v1/models", key, 200),
        ("GET", "/openai/models?api-version=2024-10-21", key, 200),
    ];
    for (method, path, (name, value), expected) in cases {
        let request = client().request(method.parse().unwrap(), format!("http://{}{path}", region.address()));
        let body = with(ask("hi"), json!({"model": "gpt-4o"})).to_string();
        let status = request.header(name, value).body(body).send().await.unwrap().status();
        assert_eq!(status.as_u16(), expected, "{method} {path} with {name}");
    }
    let probe = client().get(format!("http://{}/status-0123456789abcdef", region.address())).send().await.unwrap();
    assert_eq!(probe.status().as_u16(), 200, "the status page asks for no key");
}

#[tokio::test]
async fn more_than_ten_custom_headers_are_refused() {
    let region = start(RegionSettings::default());
    for (count, expected) in [(10, 200), (11, 431)] {
        let mut request =
            client().post(format!("http://{}{CHAT}", region.address())).header("api-key", "simulated-key");
        for index in 0..count {
            request = request.header(format!("x-custom-{index}"), "1");
        }
        let status = request.body(ask("hi").to_string()).send().await.unwrap().status();
        assert_eq!(status.as_u16(), expected);
    }
}

#[tokio::test]
async fn bad_requests_are_refused_with_azures_codes() {
    let region = start(RegionSettings {
        deployments: vec![
            DeploymentSettings { context_window: 100, ..DeploymentSettings::chat("small", "gpt-4o", "2024-11-20") },
            DeploymentSettings {
                reasoning: true,
                ..DeploymentSettings::chat("gpt-5-nano", "gpt-5-nano", "2025-08-07")
            },
            DeploymentSettings::embedding("text-embedding-3-large", 3072),
            DeploymentSettings::embedding("text-embedding-ada-002", 1536),
        ],
        ..RegionSettings::default()
    });
    let small = "/openai/deployments/small/chat/completions?api-version=2024-10-21";
    let embed_chat = "/openai/deployments/small/embeddings?api-version=2024-10-21";
    let chat_embed = "/openai/deployments/text-embedding-3-large/chat/completions?api-version=2024-10-21";
    let function = |name: String| json!({"type": "function", "function": {"name": name}});
    let tools = |count: usize| (0..count).map(|index| function(format!("tool-{index}"))).collect::<Vec<_>>();
    let hi = |members: Value| with(ask("hi"), members);
    let cases = [
        (small, json!([1]), Value::Null, Value::Null),
        (small, json!({}), json!("missing_required_parameter"), json!("messages")),
        (small, json!({"messages": []}), json!("empty_array"), json!("messages")),
        (
            small,
            json!({"messages": [{"role": "wizard", "content": ""}]}),
            json!("invalid_value"),
            json!("messages[0].role"),
        ),
        (
            small,
            json!({"messages": [{"role": "tool", "content": ""}]}),
            json!("missing_required_parameter"),
            json!("messages[0].tool_call_id"),
        ),
        (
            small,
            json!({"messages": [{"role": "user", "content": 7}]}),
            json!("invalid_type"),
            json!("messages[0].content"),
        ),
        (small, hi(json!({"temperature": 2.5})), json!("decimal_above_max_value"), json!("temperature")),
        (small, hi(json!({"temperature": "hot"})), json!("invalid_type"), json!("temperature")),
        (small, hi(json!({"top_p": -0.1})), json!("decimal_below_min_value"), json!("top_p")),
        (small, hi(json!({"n": 129})), json!("integer_above_max_value"), json!("n")),
        (small, hi(json!({"max_tokens": 0})), json!("integer_below_min_value"), json!("max_tokens")),
        (
            small,
            hi(json!({"max_tokens": 1, "max_completion_tokens": 1})),
            json!("invalid_parameter_combination"),
            json!("max_tokens"),
        ),
        (small, hi(json!({"stop": ["a", "b", "c", "d", "e"]})), json!("array_above_max_length"), json!("stop")),
        (small, hi(json!({"tools": tools(129)})), json!("array_above_max_length"), json!("tools")),
        (
            small,
            hi(json!({"tools": [function("a b".to_owned())]})),
            json!("invalid_value"),
            json!("tools[0].function.name"),
        ),
        (small, hi(json!({"top_logprobs": 2})), Value::Null, json!("top_logprobs")),
        (small, hi(json!({"stream_options": {"include_usage": true}})), Value::Null, json!("stream_options")),
        (small, hi(json!({"response_format": {"type": "json_object"}})), Value::Null, json!("messages")),
        (small, hi(json!({"reasoning_effort": "low"})), json!("unsupported_parameter"), json!("reasoning_effort")),
        (small, ask(&"long".repeat(101)), json!("context_length_exceeded"), json!("messages")),
        (small, hi(json!({"max_tokens": 100})), json!("context_length_exceeded"), json!("messages")),
        (small, hi(json!({"top_k": 3})), Value::Null, Value::Null),
        (REASONING, hi(json!({"max_tokens": 5})), json!("unsupported_parameter"), json!("max_tokens")),
        (REASONING, hi(json!({"temperature": 0.5})), json!("unsupported_parameter"), json!("temperature")),
        (small, ask(PROMPT_BLOCK_WORD), json!("content_filter"), json!("prompt")),
        (chat_embed, ask("hi"), json!("OperationNotSupported"), Value::Null),
        (embed_chat, json!({"input": "a"}), json!("OperationNotSupported"), Value::Null),
        (EMBED, json!({}), json!("missing_required_parameter"), json!("input")),
        (EMBED, json!({"input": ""}), Value::Null, Value::Null),
        (EMBED, json!({"input": vec!["a"; 2049]}), json!("array_above_max_length"), json!("input")),
        (EMBED, json!({"input": "long".repeat(8193)}), Value::Null, Value::Null),
        (EMBED, json!({"input": vec!["long".repeat(8000); 38]}), json!("max_tokens_per_request"), Value::Null),
        (EMBED, json!({"input": "a", "dimensions": 3073}), Value::Null, json!("dimensions")),
        (EMBED, json!({"input": "a", "encoding_format": "hex"}), json!("invalid_value"), json!("encoding_format")),
        (ADA, json!({"input": "a", "dimensions": 8}), Value::Null, json!("dimensions")),
        (CHAT_V1, ask("hi"), Value::Null, json!("model")),
    ];
    for (path, body, code, param) in cases {
        let response = post(&region, path, &body).await;
        let status = response.status().as_u16();
        let error = json_of(response).await["error"].take();
        let place = body.to_string().chars().take(120).collect::<String>();
        assert_eq!((status, &error["code"], &error["param"]), (400, &code, &param), "{place}: {error}");
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{place}");
    }
    let response = send(&region, small, "{not json").await.unwrap();
    assert_eq!(response.status().as_u16(), 400);
    let blocked = json_of(post(&region, small, &ask(PROMPT_BLOCK_WORD)).await).await;
    assert_eq!(blocked["error"]["innererror"]["content_filter_result"]["violence"]["filtered"], true, "live spelling");
}
