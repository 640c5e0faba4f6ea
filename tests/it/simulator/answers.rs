//! What the simulated models say.
use super::*;

#[tokio::test]
async fn a_stream_says_what_the_unary_answer_says() {
    let region = start(RegionSettings::default());
    for (path, body) in corpus() {
        let unary = json_of(post(&region, path, &body).await).await;
        let text = post(&region, path, &streamed(body.clone())).await.text().await.unwrap();
        let events = events(&text);
        assert_eq!(events.last().unwrap(), "[DONE]");
        let usage = &events[events.len() - 2];
        assert_eq!((&usage["choices"], &usage["usage"]), (&json!([]), &unary["usage"]), "{body}");
        let choices = assembled(&events);
        assert_eq!(choices.len(), unary["choices"].as_array().unwrap().len(), "{body}");
        for choice in unary["choices"].as_array().unwrap() {
            let whole = &choices[&choice["index"].as_u64().unwrap()];
            assert_eq!(whole["finish_reason"], choice["finish_reason"], "{body}");
            if choice["finish_reason"] == "content_filter" {
                assert!(choice["message"]["content"].is_null(), "a withheld answer carries nothing");
                continue;
            }
            for name in ["content", "refusal", "tool_calls"] {
                assert_eq!(&whole[name], choice["message"].get(name).unwrap_or(&Value::Null), "{name} of {body}");
            }
            assert_eq!(whole["logprobs"], choice["logprobs"], "{body}");
        }
    }
}

#[tokio::test]
async fn answers_obey_the_request() {
    let region = start(RegionSettings::default());
    let chat = async |path: &str, body: Value| json_of(post(&region, path, &body).await).await;
    let hi = |members: Value| with(ask("hi"), members);
    let first = chat(CHAT, hi(json!({"seed": 1}))).await;
    assert_eq!(first["choices"], chat(CHAT, hi(json!({"seed": 1}))).await["choices"]);
    assert_ne!(first["choices"], chat(CHAT, hi(json!({"seed": 2}))).await["choices"]);
    assert_ne!(first["id"], chat(CHAT, hi(json!({"seed": 1}))).await["id"], "ids are unique");

    let short = chat(CHAT, hi(json!({"max_tokens": 4}))).await;
    assert_eq!(
        (&short["choices"][0]["finish_reason"], &short["usage"]["completion_tokens"]),
        (&json!("length"), &json!(4))
    );

    let full = chat(CHAT, ask("hi")).await["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    let stop = full.split(' ').nth(3).unwrap();
    let stopped = chat(CHAT, hi(json!({"stop": stop}))).await;
    // `stop` is part of the request that the answer is drawn from, so only its own promise can be checked.
    assert!(!stopped["choices"][0]["message"]["content"].as_str().unwrap().contains(stop));

    let thought = chat(REASONING, hi(json!({"reasoning_effort": "low"}))).await;
    assert_eq!(thought["usage"]["completion_tokens_details"]["reasoning_tokens"], 192);
    let cut = chat(REASONING, hi(json!({"reasoning_effort": "low", "max_completion_tokens": 100}))).await;
    assert_eq!(
        (
            &cut["choices"][0]["message"]["content"],
            &cut["choices"][0]["finish_reason"],
            &cut["usage"]["completion_tokens"]
        ),
        (&json!(""), &json!("length"), &json!(100)),
        "all of a small cap goes into reasoning"
    );
    let unfiltered = chat(CHAT, ask(FILTER_OUTAGE_WORD)).await;
    assert_eq!(unfiltered["choices"][0]["content_filter_results"]["error"]["code"], "content_filter_error");
}

#[tokio::test]
async fn vectors_depend_on_text_model_and_dimensions_alone() {
    let (one, other) =
        (start(RegionSettings::default()), start(RegionSettings::named("francecentral", "France Central")));
    let vectors = async |region: &SimulatedRegion, path: &str, body: Value| {
        let answer = json_of(post(region, path, &body).await).await;
        answer["data"].as_array().unwrap().iter().map(|item| vector(&item["embedding"])).collect::<Vec<_>>()
    };
    for dimensions in [1, 256, 3072] {
        let body = json!({"input": ["a", "b", "a"], "dimensions": dimensions});
        let floats = vectors(&one, EMBED, body.clone()).await;
        assert_eq!(floats[0].len(), dimensions);
        assert!(floats.iter().all(|vector| (norm(vector) - 1.0).abs() < 1e-4));
        assert_eq!(floats[0], floats[2]);
        assert_eq!(floats, vectors(&other, EMBED, body.clone()).await, "another region");
        let packed = with(body, json!({"encoding_format": "base64", "model": "text-embedding-3-large"}));
        assert_eq!(floats, vectors(&one, EMBED_V1, packed).await, "base64 on the v1 path");
    }
    let full = vectors(&one, EMBED, json!({"input": ["a", "b"]})).await;
    assert_ne!(full[0], full[1]);
    assert_eq!(full[0].len(), 3072);
    let tokens = vectors(&one, EMBED, json!({"input": [[1, 2], [3]]})).await;
    assert_eq!(tokens[0], vectors(&one, EMBED, json!({"input": [1, 2]})).await[0]);
    assert_ne!(tokens[0], tokens[1]);
}

fn vector(value: &Value) -> Vec<f32> {
    match value {
        Value::String(text) => {
            let bytes = base64_simd::STANDARD.decode_to_vec(text).unwrap();
            bytes.chunks(4).map(|chunk| f32::from_le_bytes(chunk.try_into().unwrap())).collect()
        }
        numbers => numbers.as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect(),
    }
}

fn norm(vector: &[f32]) -> f64 {
    vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

#[tokio::test]
async fn limits_are_enforced_with_azures_hints() {
    let deployment = |requests_per_minute, tokens_per_minute| DeploymentSettings {
        requests_per_minute,
        tokens_per_minute,
        ..DeploymentSettings::chat("gpt-4o", "gpt-4o", "2024-11-20")
    };
    for (deployment, allowed, words) in
        [(deployment(6, 1_000_000), 1, "call rate limit"), (deployment(6_000, 120), 1, "token rate limit")]
    {
        let region = start(RegionSettings { deployments: vec![deployment], ..RegionSettings::default() });
        let body = with(ask("hi"), json!({"max_tokens": 100}));
        for _ in 0..allowed {
            assert_eq!(post(&region, CHAT, &body).await.status().as_u16(), 200);
        }
        let response = post(&region, CHAT, &body).await;
        // A fresh request slice may begin at any moment; then the second request passes, and the third must not.
        let response = if response.status() == 200 { post(&region, CHAT, &body).await } else { response };
        assert_eq!(response.status().as_u16(), 429);
        let number = |name: &str| response.headers()[name].to_str().unwrap().parse::<u64>().unwrap();
        let (seconds, milliseconds) = (number("retry-after"), number("retry-after-ms"));
        assert_eq!(seconds, milliseconds.div_ceil(1000).max(1));
        let error = json_of(response).await["error"].take();
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(words) && message.contains(&format!("retry after {seconds} seconds")), "{message}");
        assert_eq!(error["code"], "429");
    }
}
