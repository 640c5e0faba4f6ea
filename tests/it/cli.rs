//! The command line, as a shell sees it: the real binary, its exit codes, and what it says on which stream.
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Output, Stdio},
};

use serde_json::Value;

use crate::support::process::{Folder, Running, configuration, sealane};

fn run(args: &[&str]) -> (i32, String, String) {
    told(&sealane(args).output().unwrap())
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// Two simulated regions, and the service over them.
struct World {
    _folder: Folder,
    regions: Running,
    service: Running,
    config: String,
    addr: String,
}

impl World {
    fn start(name: &str, extra: &str) -> Self {
        let folder = Folder::new(name);
        let regions = Running::start(&["simulate"]);
        let config = folder.write("sealane.yaml", &configuration(&regions.ready, extra));
        let service = Running::start(&["serve", "--config", &config, "--listen", "127.0.0.1:0"]);
        let addr = service.ready["listening"].as_str().unwrap().to_owned();
        Self { _folder: folder, regions, service, config, addr }
    }

    fn call(&self, args: &[&str]) -> (i32, String, String) {
        told(&sealane(args).args(["--addr", &self.addr]).output().unwrap())
    }
}

#[test]
fn exit_codes_are_as_documented() {
    let (code, help, _) = run(&["--help"]);
    assert_eq!(code, 0);
    for line in [
        "0  done",
        "1  failed",
        "2  wrong usage",
        "3  the configuration is invalid",
        "4  the service",
        "5  not healthy",
    ] {
        assert!(help.contains(line), "{line} is not in --help");
    }
    let folder = Folder::new("codes");
    let malformed = folder.write("malformed.yaml", "resources: [\n");
    let misspelt = folder.write("misspelt.yaml", "resources: []\nmodls: []\n");
    let keyless = folder.write(
        "keyless.yaml",
        "resources:\n  - { name: a, region: b, endpoint: \"https://c.example\", auth: { api_key: { env: SEALANE_NOT_SET } } }\nmodels: []\n",
    );
    for (args, expected, message) in [
        (vec!["--version"], 0, ""),
        (vec![], 2, "Usage"),
        (vec!["frobnicate"], 2, "unrecognized subcommand"),
        (vec!["complete", "--nonsense"], 2, "unexpected argument"),
        (vec!["complete", "--addr", "no address", "hi"], 2, "--addr no address"),
        (vec!["complete", "--token-file", "/not/there", "hi"], 2, "--token-file /not/there"),
        (vec!["simulate", "--region", "x=nowhere"], 1, "nowhere is no address"),
        (vec!["serve", "--config", "/not/there.yaml"], 3, "/not/there.yaml"),
        (vec!["serve", "--config", &malformed], 3, "malformed.yaml:"),
        (vec!["check", "--config", &misspelt], 3, "unknown key `modls`, did you mean `models`?"),
        (vec!["check", "--config", &misspelt], 3, "misspelt.yaml:2:1"),
        (vec!["check", "--config", &keyless], 3, "the environment variable `SEALANE_NOT_SET` is not set"),
        (vec!["check", "--config", &keyless], 3, "keyless.yaml:2:"),
        (vec!["complete", "--addr", "127.0.0.1:1", "hi"], 4, "no service answers at 127.0.0.1:1"),
        (vec!["embed", "--addr", "127.0.0.1:1", "hi"], 4, "no service answers"),
        (vec!["status", "--addr", "127.0.0.1:1"], 4, "no service answers"),
        (vec!["release", "--addr", "127.0.0.1:1", "--model", "m", "--reason", "r"], 4, "no service answers"),
        (vec!["healthcheck", "--addr", "no address"], 1, "--addr no address"),
        (vec!["healthcheck", "--addr", "127.0.0.1:1"], 2, "cannot be reached"),
    ] {
        let (code, _, stderr) = run(&args);
        assert_eq!(code, expected, "{args:?}\n{stderr}");
        assert!(stderr.contains(message), "{args:?} said\n{stderr}");
    }
}

#[test]
fn a_call_declares_what_kind_of_data_it_carries() {
    let policy = "policies: [{ name: internal, data_classes: [internal] }]\ndefault_policy: internal\n";
    let world = World::start("data-class", policy);
    let (code, _, stderr) = world.call(&["embed", "one"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("DATA_CLASS_REQUIRED"), "{stderr}");
    let (code, _, stderr) = world.call(&["embed", "--data-class", "internal", "one"]);
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn every_verb_that_calls_a_service_works() {
    let world = World::start("verbs", "");

    let (code, answer, who) = world.call(&["complete", "hi", "there"]);
    assert_eq!(code, 0, "{who}");
    assert!(answer.trim().len() > 20, "{answer}");
    assert!(who.starts_with("swedencentral · gpt-4o-2024-11-20 · "), "{who}");

    let (_, streamed, _) = world.call(&["complete", "--stream", "hi", "there"]);
    assert_eq!(streamed, answer, "a stream says what the whole answer says");

    let (_, _, nothing) = world.call(&["complete", "--quiet", "hi"]);
    assert_eq!(nothing, "");
    let (_, _, attempts) = world.call(&["complete", "--verbose", "hi"]);
    assert!(attempts.contains("1. swedencentral (gpt-4o, route): served after"), "{attempts}");

    let (_, json, _) = world.call(&["complete", "--output", "json", "hi", "there"]);
    let reply: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(reply["choices"][0]["message"]["content"][0]["text"], answer.trim_end());
    assert_eq!(reply["servedBy"]["attempts"][0]["outcome"], "OUTCOME_SERVED");

    let (_, events, _) = world.call(&["complete", "--stream", "--output", "json", "hi"]);
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.first().unwrap().get("start").is_some() && events.last().unwrap().get("end").is_some());

    let (code, table, _) = world.call(&["embed", "one", "two"]);
    assert_eq!(code, 0);
    assert_eq!(table.matches("3072").count(), 3, "two vectors and the space:\n{table}");
    let (_, json, _) = world.call(&["embed", "--output", "json", "--dimensions", "8", "one"]);
    let reply: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(reply["embeddings"][0]["values"].as_array().unwrap().len(), 8);

    let (code, table, _) = world.call(&["status"]);
    assert_eq!(code, 0);
    assert_eq!(table.matches("● serving").count(), 4, "{table}");
    assert!(!table.contains('\u{1b}'), "no colours into a pipe");
    let (_, coloured, _) = world.call(&["status", "--color", "always"]);
    assert!(coloured.contains('\u{1b}'));
    let (_, json, _) = world.call(&["status", "--output", "json", "--region", "francecentral"]);
    let status: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(status["regions"].as_array().unwrap().len(), 1);
    assert_eq!(status["regions"][0]["targets"][0]["standing"], "STANDING_SERVING");

    for (args, expected, said) in [
        (vec!["healthcheck"], 0, ""),
        (vec!["healthcheck", "--service", "nonsense"], 3, "unknown service"),
        (vec!["complete", "--model", "nope", "hi"], 1, "NOT_FOUND MODEL_NOT_CONFIGURED"),
        (vec!["complete", "--temperature", "9", "hi"], 1, "temperature must be a number from 0 to 2"),
        (vec!["status", "--region", "mars"], 1, "NOT_FOUND REGION_NOT_CONFIGURED"),
    ] {
        let (code, _, stderr) = world.call(&args);
        assert_eq!(code, expected, "{args:?}\n{stderr}");
        assert!(stderr.to_lowercase().contains(&said.to_lowercase()), "{args:?} said\n{stderr}");
    }
}

#[test]
fn an_operator_drains_releases_and_validates() {
    let world = World::start("operator", "");
    let because = ["--reason", "the deployment is being replaced"];
    let call = |args: &[&str]| world.call(&[args, &because].concat());

    let (code, table, stderr) = call(&["drain", "--region", "swedencentral", "--for", "10m"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(table.matches("drained until 2").count(), 2, "both models of the region:\n{table}");
    let (_, _, who) = world.call(&["complete", "hi"]);
    assert!(who.starts_with("francecentral · "), "{who}");
    let (code, table, _) = world.call(&["status", "--model", "gpt-4o"]);
    assert_eq!(code, 0);
    assert!(table.contains("◌ drained") && table.contains("drained: the deployment is being replaced"), "{table}");
    assert!(table.contains(": the drain ends by itself") && table.contains("no standby is ready"), "{table}");

    let (code, json, _) = call(&["release", "--region", "swedencentral", "--model", "gpt-4o", "--output", "json"]);
    assert_eq!(code, 0);
    let released: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(released["targets"][0]["model"], "gpt-4o");
    let (code, nothing, stderr) = call(&["release", "--model", "gpt-4o"]);
    assert_eq!((code, nothing.as_str(), stderr.as_str()), (0, "", "none of them was drained\n"));

    let (code, table, stderr) = call(&["validate", "--resource", "swedencentral"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(table.matches("● passed").count(), 2, "{table}");

    for (args, expected, said) in [
        (vec!["drain", "--for", "10m"], 2, "required arguments were not provided"),
        (vec!["drain", "--region", "swedencentral"], 2, "--for <DURATION>"),
        (vec!["drain", "--region", "swedencentral", "--for", "soon"], 2, "is no duration such as 90s"),
        (vec!["drain", "--region", "swedencentral", "--for", "8d"], 1, "duration must be from 1s"),
        (vec!["release", "--region", "mars"], 1, "NOT_FOUND REGION_NOT_CONFIGURED"),
        (vec!["validate", "--resource", "mars"], 1, "NOT_FOUND RESOURCE_NOT_CONFIGURED"),
    ] {
        let (code, _, stderr) = call(&args);
        assert_eq!(code, expected, "{args:?}\n{stderr}");
        assert!(stderr.contains(said), "{args:?} said\n{stderr}");
    }

    drop(world.regions);
    let (code, table, stderr) = told(
        &sealane(&["validate", "--model", "gpt-4o", "--region", "swedencentral", "--addr", &world.addr])
            .args(because)
            .output()
            .unwrap(),
    );
    assert_eq!(code, 5, "{stderr}");
    assert!(table.contains("✕ failed") && table.contains("connection_refused"), "{table}");
    assert!(stderr.contains("1 of 1 did not pass"), "{stderr}");
}

#[test]
fn a_watch_into_a_pipe_is_one_block_after_another() {
    let world = World::start("watch", "");
    let mut watch = sealane(&["status", "--watch", "--addr", &world.addr]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    let is_first = |line: &String| line.contains(" · test calls: ");
    assert!(is_first(&lines.next().unwrap()), "the view at once");
    let drained = world.call(&["drain", "--model", "gpt-4o", "--for", "10m", "--reason", "to be seen"]);
    assert_eq!(drained.0, 0, "{}", drained.2);
    let mut block: Vec<String> = Vec::new();
    // Bounded by the words alone: the drain is news, and news is told at once.
    for line in lines.by_ref() {
        if is_first(&line) {
            block.clear();
        }
        block.push(line);
        if block.iter().filter(|line| line.contains("drained: to be seen")).count() == 2 {
            break;
        }
    }
    assert_eq!(world.call(&["release", "--model", "gpt-4o", "--reason", "seen"]).0, 0);
    let mut counted = 0;
    for line in lines.by_ref() {
        counted += usize::from(is_first(&line));
        if line.contains("an operator released it: seen") {
            break;
        }
    }
    assert_eq!(counted, 1, "one block for one change");
    watch.kill().unwrap();
    watch.wait().unwrap();
    assert!(!block.concat().contains('\u{1b}'), "neither colours nor cursor movements: {block:?}");
}

#[test]
fn a_watch_outlives_a_restart_of_the_service() {
    let mut world = World::start("watch-again", "");
    let mut watch = sealane(&["status", "--watch", "--addr", &world.addr])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains(" · test calls: ")));
    let (config, addr) = (world.config.clone(), world.addr.clone());
    drop(world.service);
    world.service = Running::start(&["serve", "--config", &config, "--listen", &addr]);
    let mut told = String::new();
    BufReader::new(watch.stderr.take().unwrap()).read_line(&mut told).unwrap();
    assert!(told.starts_with("the watch broke (") && told.ends_with("); connecting again\n"), "{told}");
    let drained = world.call(&["drain", "--model", "gpt-4o", "--for", "10m", "--reason", "after the restart"]);
    assert_eq!(drained.0, 0, "{}", drained.2);
    assert!(lines.any(|line| line.contains("drained: after the restart")), "it goes on");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn a_prompt_may_come_from_standard_input() {
    let world = World::start("stdin", "");
    let mut child = sealane(&["complete", "--addr", &world.addr])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"hi there").unwrap();
    let (code, piped, stderr) = told(&child.wait_with_output().unwrap());
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(piped, world.call(&["complete", "hi there"]).1);
    for verb in ["complete", "embed"] {
        let (code, _, stderr) = world.call(&[verb]);
        assert_eq!(code, 2, "{verb}");
        assert!(stderr.contains("standard input is empty"), "{stderr}");
    }
}

#[test]
fn what_reads_the_output_may_leave_early() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let (code, _, stderr) =
        told(&sealane(&["config", "schema"]).stdout(writer).stderr(Stdio::piped()).output().unwrap());
    assert_eq!((code, stderr.as_str()), (0, ""));
}

#[test]
fn sigterm_drains_the_service_and_ends_it_well() {
    let world = World::start("sigterm", "");
    let World { regions, service, addr, .. } = world;
    assert_eq!(service.terminate(), 0);
    assert_eq!(run(&["healthcheck", "--addr", &addr]).0, 2);
    assert_eq!(regions.terminate(), 0);
}

#[test]
fn callers_need_their_token_and_it_never_stands_in_a_flag() {
    let folder = Folder::new("tokens");
    let token = folder.write("token", "a-token-of-24-characters\n");
    let world = World::start(
        "callers",
        &format!("callers:\n  - {{ name: tester, token: {{ file: {token} }}, policy: unrestricted }}\n"),
    );
    let (code, _, stderr) = world.call(&["complete", "hi"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("UNAUTHENTICATED MISSING_TOKEN"), "{stderr}");
    assert_eq!(world.call(&["complete", "--token-file", &token, "hi"]).0, 0);
    let mut from_env = sealane(&["complete", "--addr", &world.addr, "hi"]);
    assert_eq!(told(&from_env.env("SEALANE_TOKEN", "a-token-of-24-characters").output().unwrap()).0, 0);
    let (code, _, stderr) = told(&from_env.env("SEALANE_TOKEN", "another-one").output().unwrap());
    assert_eq!(code, 1);
    assert!(stderr.contains("INVALID_TOKEN") && !stderr.contains("another-one"), "{stderr}");
}

#[test]
fn check_prints_the_failover_order_and_asks_the_endpoints() {
    let world = World::start("check", "policies: [{ name: france, regions: [francecentral] }]\n");
    let config = world.config.as_str();
    let (code, order, stderr) = run(&["check", "--config", config, "--endpoints"]);
    assert_eq!(code, 0, "{stderr}");
    let lines: Vec<_> = order.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines[..7],
        [
            "gpt-4o",
            "under unrestricted",
            "1. swedencentral swedencentral gpt-4o Standard regional",
            "2. francecentral francecentral gpt-4o Standard regional",
            "under france",
            "✕ swedencentral swedencentral gpt-4o Standard regional not among the policy's regions",
            "1. francecentral francecentral gpt-4o Standard regional",
        ]
    );
    assert_eq!(order.matches("● answered in").count(), 2, "{order}");

    let (_, json, _) = run(&["check", "--config", config, "--output", "json"]);
    let document: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(document["models"][0]["policies"][1]["targets"][0]["permitted"], false);

    let mut wrong_key = sealane(&["check", "--config", config, "--endpoints"]);
    let (code, told_of, _) = told(&wrong_key.env("SIMULATED_KEY", "wrong").output().unwrap());
    assert_eq!(code, 4);
    assert_eq!(told_of.matches("✕ unauthorized").count(), 2, "{told_of}");
}

#[test]
fn warnings_can_be_denied() {
    let folder = Folder::new("warnings");
    let config = folder.write(
        "one-region.yaml",
        "resources:\n  - { name: a, region: b, endpoint: \"https://c.example\", auth: { api_key: { env: SIMULATED_KEY } } }\n\
         models:\n  - { name: m, targets: [{ resource: a, deployment: d, sku: Standard }] }\n",
    );
    let (code, _, stderr) = run(&["check", "--config", &config]);
    assert_eq!(code, 0);
    assert!(
        stderr.contains("warning:") && stderr.contains("one-region.yaml:4: model `m` has targets in `b` only"),
        "{stderr}"
    );
    let (code, _, stderr) = run(&["check", "--config", &config, "--deny-warnings"]);
    assert_eq!(code, 3);
    assert!(stderr.ends_with("sealane: 1 warning, and warnings are denied\n"), "{stderr}");
}

#[test]
fn the_service_is_not_opened_to_anyone_by_a_flag() {
    let folder = Folder::new("open");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("sealane.example.yaml");
    let config = folder.write("sealane.yaml", &fs::read_to_string(example).unwrap());
    let mut serve = sealane(&["serve", "--config", &config, "--listen", "0.0.0.0:0"]);
    let output = serve.env("AZURE_OPENAI_KEY_SWC", "k").env("AZURE_OPENAI_KEY_FRC", "k").output().unwrap();
    let (code, _, stderr) = told(&output);
    assert_eq!(code, 1);
    assert!(stderr.contains("no `callers` are configured"), "{stderr}");
}

#[test]
fn schema_show_and_completions_print_what_they_say() {
    let (code, schema, _) = run(&["config", "schema"]);
    assert_eq!(code, 0);
    assert_eq!(serde_json::from_str::<Value>(&schema).unwrap()["title"], "sealane.yaml");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("sealane.example.yaml");
    let (code, shown, _) = run(&["config", "show", "--config", example.to_str().unwrap(), "--redacted"]);
    assert_eq!(code, 0);
    assert!(shown.contains("max_request_bytes: 16MiB") && !shown.contains("AZURE_OPENAI_KEY"), "{shown}");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (code, script, _) = run(&["completions", shell]);
        assert_eq!(code, 0, "{shell}");
        assert!(script.contains("healthcheck") && script.contains("validate"), "{shell}");
    }
}

#[test]
fn simulate_prints_a_configuration_that_serves() {
    let mut regions = sealane(&["simulate", "--print-config", "--region", "westeurope", "--region", "eastus2"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(regions.stdout.take().unwrap()).lines().map(Result::unwrap);
    let text: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let folder = Folder::new("simulate");
    let config = folder.write("sealane.yaml", &text.join("\n"));
    let (code, _, stderr) = run(&["check", "--config", &config, "--endpoints", "--deny-warnings"]);
    regions.kill().unwrap();
    regions.wait().unwrap();
    assert_eq!(code, 0, "{stderr}\n{}", text.join("\n"));
}

/// The default: no exporter. The caller's trace must reach Azure all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_callers_trace_reaches_azure_where_nothing_is_exported() {
    use sealane::grpc::pb::inference_service_client::InferenceServiceClient;
    use sealane::simulator::{RegionSettings, SimulatedRegion};
    let region = SimulatedRegion::start(RegionSettings::default(), ([127, 0, 0, 1], 0).into()).unwrap();
    let endpoint = format!("http://{}", region.address());
    let regions = serde_json::json!({ "regions": [{ "region": "swedencentral", "endpoint": endpoint }] });
    let folder = Folder::new("trace");
    let config = folder.write("sealane.yaml", &configuration(&regions, ""));
    let service = Running::start(&["serve", "--config", &config, "--listen", "127.0.0.1:0"]);
    let address = format!("http://{}", service.ready["listening"].as_str().unwrap());
    let mut request = tonic::Request::new(crate::support::service::hi());
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    InferenceServiceClient::connect(address).await.unwrap().complete(request).await.unwrap();
    let sent = region.counters().captured();
    // Test calls of the service itself have no trace.
    let sent = sent.iter().find_map(|request| request.headers.get("traceparent")).unwrap().to_str().unwrap().to_owned();
    assert!(sent.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && sent.ends_with("-01"), "{sent}");
    assert!(!sent.contains("b7ad6b7169203331"), "the attempt has a span id of its own: {sent}");
}

/// The showcase itself: an outage in which no call fails.
#[test]
fn the_demo_loses_no_call() {
    let (code, json, story) = run(&["demo", "--once", "--seconds", "4", "--listen", "127.0.0.1:0", "--output", "json"]);
    assert_eq!(code, 0, "{story}");
    let summary: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(summary["failed"], 0, "{story}");
    assert_eq!(summary["calls"], summary["ok"]);
    assert!(summary["rescued"].as_u64().unwrap() > 0, "{story}");
    assert!(story.contains("grpcurl -plaintext -d") && story.contains("swedencentral is killed"), "{story}");
}
