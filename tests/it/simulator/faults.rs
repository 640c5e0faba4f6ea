//! Every way in which the region can be made to fail.
use super::*;

#[tokio::test]
async fn faults_before_the_answer() {
    let region = start(RegionSettings::default());
    let faults = region.faults();
    let status = |status| Fault::Status { status, retry_after: None, retry_after_ms: None, body: ErrorBody::Json };
    for code in [401, 403, 404, 408, 409, 424, 429, 500, 502, 503, 504] {
        faults.set(vec![status(code).into()]);
        let response = post(&region, CHAT, &ask("hi")).await;
        assert_eq!(response.status().as_u16(), code);
        assert!(json_of(response).await["error"].is_object(), "{code}");
    }
    let hints = Fault::Status {
        status: 503,
        retry_after: Some("7".to_owned()),
        retry_after_ms: Some(6500),
        body: ErrorBody::Html,
    };
    faults.set(vec![hints.into()]);
    let response = post(&region, CHAT, &ask("hi")).await;
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(
        (header("content-type"), header("retry-after"), header("retry-after-ms")),
        ("text/html".into(), "7".into(), "6500".into())
    );
    assert!(response.text().await.unwrap().starts_with("<html>"));

    faults.set(vec![Fault::Throttle { retry_after_seconds: 86_400 }.into()]);
    let response = post(&region, CHAT, &ask("hi")).await;
    assert_eq!(response.headers()["retry-after"], "86400");
    assert!(response.text().await.unwrap().contains("retry after 86400 seconds"));

    faults.set(vec![Fault::Redirect { location: "http://192.0.2.1/".to_owned() }.into()]);
    let response = post(&region, CHAT, &ask("hi")).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (307, &"http://192.0.2.1/".parse().unwrap())
    );

    faults.set(vec![Fault::ExpiredCredentials { credentials: vec!["simulated-key".to_owned()] }.into()]);
    assert_eq!(post(&region, CHAT, &ask("hi")).await.status().as_u16(), 401);

    for (fault, check) in [
        (Fault::LargeBody { bytes: 100_000 }, (|text| text.len() > 100_000) as fn(&str) -> bool),
        (Fault::NestedJson { depth: 500 }, |text| {
            text.starts_with(&"[".repeat(500)) && text.ends_with(&"]".repeat(500))
        }),
        (Fault::MalformedJson, |text| serde_json::from_str::<Value>(text).is_err()),
        (Fault::ErrorInOk, |text| text.contains("InternalServerError")),
        (Fault::EmptyAnswer, |text| text.contains(r#""choices":[]"#)),
    ] {
        faults.set(vec![fault.clone().into()]);
        let response = post(&region, CHAT, &ask("hi")).await;
        assert_eq!(response.status().as_u16(), 200, "{fault:?}");
        assert!(check(&response.text().await.unwrap()), "{fault:?}");
    }
}

#[tokio::test]
async fn faults_in_the_head() {
    let cases = [
        (Fault::RegionHeader { value: Some("West Europe".to_owned()) }, "x-ms-region", Some("West Europe")),
        (Fault::RegionHeader { value: None }, "x-ms-region", None),
        (Fault::Spillover { deployment: "overflow".to_owned() }, "x-ms-deployment-name", Some("overflow")),
        (Fault::Spillover { deployment: "overflow".to_owned() }, "x-ms-is-spilled-over", Some("true")),
        (Fault::Spillover { deployment: "overflow".to_owned() }, "x-ms-spillover-from-deployment", Some("gpt-4o")),
        (Fault::Provisioned { utilization: 37.5 }, "azure-openai-deployment-utilization", Some("37.5%")),
        (Fault::Headers { headers: [("x-new".to_owned(), "1".to_owned())].into() }, "x-new", Some("1")),
    ];
    for (fault, name, expected) in cases {
        let region = with_faults([fault]);
        let response = post(&region, CHAT, &ask("hi")).await;
        assert_eq!(response.headers().get(name).map(|value| value.to_str().unwrap()), expected, "{name}");
    }
    let full = with_faults([Fault::Provisioned { utilization: 104.0 }]);
    let response = post(&full, CHAT, &ask("hi")).await;
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after-ms"]), (429, &"1000".parse().unwrap()));
    let upgraded = with_faults([Fault::ServedModel { model: "gpt-4o-2099-01-01".to_owned() }]);
    assert_eq!(json_of(post(&upgraded, CHAT, &ask("hi")).await).await["model"], "gpt-4o-2099-01-01");
}

/// Reads a stream as it comes: its text, and whether the body ended well.
async fn read_all(mut response: reqwest::Response) -> (String, bool) {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return (String::from_utf8(bytes).unwrap(), true),
            Err(_) => return (String::from_utf8(bytes).unwrap(), false),
        }
    }
}

#[tokio::test]
async fn faults_within_a_stream() {
    // Fault, content events seen, payload of the last event, whether the body ends well.
    let cases = [
        (Fault::StreamError { at: 3 }, 3, "\"error\"", true),
        (Fault::StreamError { at: 0 }, 0, "\"error\"", true),
        (Fault::StreamReset { at: 3 }, 3, "\"content\"", false),
        (Fault::StreamEnd { at: 3 }, 3, "\"content\"", true),
        (Fault::StreamBlocked { at: 3 }, 3, "[DONE]", true),
        (Fault::StreamMalformed { at: 3 }, 24, "[DONE]", true),
        (Fault::StreamLargeEvent { at: 3, bytes: 300_000 }, 24, "[DONE]", true),
        (Fault::StreamNoDone, 24, "\"usage\":{", true),
        (Fault::StreamReset { at: 1000 }, 24, "\"content\"", false),
    ];
    for (fault, content_events, last, whole) in cases {
        let region = with_faults([fault.clone()]);
        let (text, ended) = read_all(post(&region, CHAT, &streamed(ask("hi"))).await).await;
        let seen = text.matches(r#""delta":{"content":""#).count() - text.matches(r#""delta":{"content":"","#).count();
        assert_eq!((seen, ended), (content_events, whole), "{fault:?}");
        let end = text.trim_end().rsplit("\n\n").next().unwrap().to_owned();
        assert!(end.contains(last), "{fault:?}: {end}");
        assert_eq!(region.counters().dropped_by_client(), 0, "{fault:?} is the region's doing, not the client's");
    }
    let region = with_faults([Fault::StreamBlocked { at: 3 }]);
    let text = post(&region, CHAT, &with(ask("hi"), json!({"stream": true}))).await.text().await.unwrap();
    let events = events(&text);
    assert_eq!(events[events.len() - 2]["choices"][0]["finish_reason"], "content_filter");
}

#[tokio::test]
async fn a_stalled_stream_stays_open_and_a_client_that_leaves_is_counted() {
    for fault in [Fault::StreamStall { at: 2 }, Fault::StreamNeverCloses, Fault::Hang] {
        let region = with_faults([fault.clone()]);
        let counters = region.counters();
        if fault == Fault::Hang {
            let request = tokio::spawn({
                let url = format!("http://{}{CHAT}", region.address());
                client().post(url).header("api-key", "simulated-key").body(ask("hi").to_string()).send()
            });
            until(|| counters.requests(Operation::Chat) == 1).await;
            request.abort();
        } else {
            let mut response = post(&region, CHAT, &streamed(ask("hi"))).await;
            let mut text = String::new();
            let enough =
                if fault == Fault::StreamNeverCloses { r#""finish_reason":"stop""# } else { r#""content":" "# };
            while !text.contains(enough) {
                text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
            }
            assert!(!text.contains("[DONE]"));
            assert_eq!((counters.in_flight(), counters.dropped_by_client()), (1, 0));
            drop(response);
        }
        until(|| counters.in_flight() == 0).await;
        assert_eq!(counters.dropped_by_client(), 1, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wire_oddities_do_not_change_what_is_said() {
    let body = with(ask("hi"), json!({"stream": true, "stream_options": {"include_obfuscation": false}}));
    let content = |text: &str| assembled(&events(&text.replace("\r\n", "\n")))[&0]["content"].clone();
    let plain = start(RegionSettings::default());
    let expected = content(&post(&plain, CHAT, &body).await.text().await.unwrap());
    for fault in [Fault::Drip { bytes: 1, every_ms: 0 }, Fault::Drip { bytes: 4000, every_ms: 1 }, Fault::StreamCrlf] {
        let region = with_faults([fault.clone()]);
        let text = post(&region, CHAT, &body).await.text().await.unwrap();
        assert!(!text.contains("obfuscation"));
        assert_eq!(text.contains("\r\n\r\n"), fault == Fault::StreamCrlf);
        assert_eq!(content(&text), expected, "{fault:?}");
    }
    let dripping = with_faults([Fault::Drip { bytes: 1, every_ms: 0 }]);
    let (_, chunks) = raw(
        dripping.address(),
        CHAT,
        "simulated-key",
        &with(ask("hi"), json!({"stream": true, "max_tokens": 1})).to_string(),
    );
    assert!(chunks.starts_with("1\r\nd\r\n1\r\na\r\n1\r\nt\r\n"), "every byte is a chunk");
}

#[tokio::test]
async fn the_asynchronous_filter_speaks_between_and_after_content() {
    let region = with_faults([Fault::ContentFilter { mode: FilterMode::Asynchronous }]);
    let events = events(&post(&region, CHAT, &streamed(ask("hi"))).await.text().await.unwrap());
    let is_annotation = |event: &&Value| event["choices"][0].get("content_filter_offsets").is_some();
    let annotations: Vec<&Value> = events.iter().filter(is_annotation).collect();
    assert!(annotations.len() >= 2);
    for annotation in &annotations {
        assert_eq!((&annotation["id"], annotation["choices"][0].get("delta")), (&json!(""), None));
    }
    let finish = events.iter().position(|event| event["choices"][0]["finish_reason"] == "stop").unwrap();
    assert!(is_annotation(&&events[finish + 1]), "one follows the finish reason");
    let off = with_faults([Fault::ContentFilter { mode: FilterMode::Off }]);
    let text = post(&off, CHAT, &streamed(ask("hi"))).await.text().await.unwrap();
    assert!(!text.contains("prompt_filter_results") && !text.contains("severity"));
}

#[tokio::test]
async fn connections_break_as_asked() {
    let region = start(RegionSettings::default());
    for (fault, kind) in [
        (Fault::Reset, Some(ErrorKind::ConnectionReset)),
        (Fault::Close, None),
        (Fault::Down, Some(ErrorKind::ConnectionReset)),
    ] {
        region.faults().set(vec![fault.clone().into()]);
        let address = region.address();
        let end = tokio::task::spawn_blocking(move || {
            let mut socket = TcpStream::connect(address).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let body = ask("hi").to_string();
            write!(socket, "POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
            socket.read(&mut [0; 16]).map_err(|error| error.kind())
        });
        let expected = kind.map_or(Ok(0), Err);
        assert_eq!(end.await.unwrap(), expected, "{fault:?}");
    }
    region.faults().set(vec![Fault::CutBody { after_bytes: 100 }.into()]);
    let (text, ended) = read_all(post(&region, CHAT, &ask("hi")).await).await;
    assert_eq!((text.len(), ended), (100, false));
}

#[tokio::test]
async fn a_region_goes_down_and_comes_back() {
    let region = with_faults([Fault::StreamStall { at: 1 }]);
    let open = post(&region, CHAT, &streamed(ask("hi"))).await;
    region.faults().set(vec![Fault::Down.into()]);
    assert!(!read_all(open).await.1, "an open stream is cut");
    assert!(send(&region, CHAT, ask("hi")).await.is_err());
    let state = client().get(format!("http://{}/_simulator/state", region.address())).send().await.unwrap();
    assert_eq!(state.status().as_u16(), 200, "control stays");
    region.faults().clear();
    assert_eq!(post(&region, CHAT, &ask("hi")).await.status().as_u16(), 200);
    assert_eq!(region.counters().dropped_by_client(), 0);
}

#[tokio::test]
async fn connections_are_refused_and_the_same_port_taken_again() {
    let region = SimulatedRegion::start_with_control(RegionSettings::default(), loopback(), loopback()).unwrap();
    let address = region.address();
    let connect = || TcpStream::connect(address).map(drop).map_err(|error| error.kind());
    for _ in 0..3 {
        region.refuse_connections().await.unwrap();
        assert_eq!(connect(), Err(ErrorKind::ConnectionRefused));
        region.accept_connections().await.unwrap();
        assert_eq!(post(&region, CHAT, &ask("hi")).await.status().as_u16(), 200);
    }
    let control = region.control_address().unwrap();
    let listen = async |on: bool| {
        let request = client().put(format!("http://{control}/_simulator/listening"));
        request.body(json!({"listening": on}).to_string()).send().await.unwrap().status().as_u16()
    };
    assert_eq!(listen(false).await, 200);
    assert_eq!(connect(), Err(ErrorKind::ConnectionRefused));
    assert_eq!(listen(true).await, 200);
    assert_eq!(connect(), Ok(()));
    region.stop().await;
    assert_eq!(connect(), Err(ErrorKind::ConnectionRefused));
}
