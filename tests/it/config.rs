//! The configuration file: what a good one means, and what every kind of bad one is told, with its line.
use std::{fs, time::Duration};

use sealane::{
    audit::{CheckpointCopy, Durability},
    azure::{Credential, PathStyle},
    config::{self, Config, Problems},
    identity::CallerSettings,
};
use sealane_core::{
    domain::{ExpectedVersion, OnVersionMismatch, ProcessingScope, RateLimits, Target},
    router::Thresholds,
};

const EXAMPLE: &str = include_str!("../../sealane.example.yaml");

/// The least that can be served with; tests change or add lines.
const SMALL: &str = "\
resources:
  - name: swc
    region: Sweden Central
    boundary: eu
    endpoint: https://contoso-swc.openai.azure.com
    auth: { api_key: { env: KEY } }
  - name: frc
    region: francecentral
    boundary: eu
    endpoint: https://contoso-frc.openai.azure.com
    auth: { api_key: { env: KEY } }
models:
  - name: gpt-4o
    targets:
      - { resource: swc, deployment: chat, sku: Standard }
      - { resource: frc, deployment: chat, sku: Standard }
  - name: text-embedding-3-large
    kind: embedding
    targets:
      - { resource: swc, deployment: embed, sku: Standard }
      - { resource: frc, deployment: embed, sku: DataZoneStandard }
";

fn env(name: &str) -> Option<String> {
    match name {
        "KEY" | "AZURE_OPENAI_KEY_SWC" | "AZURE_OPENAI_KEY_FRC" => Some("0123456789abcdef\n".into()),
        "EMPTY" => Some(" ".into()),
        "LINES" => Some("two\nlines".into()),
        "TOKEN_A" => Some("token-of-caller-a-1234".into()),
        "TOKEN_B" => Some("short".into()),
        _ => None,
    }
}

fn read(text: &str) -> Result<Config, Problems> {
    Config::from_yaml(text, "sealane.yaml", env)
}

/// `SMALL` with one piece replaced.
fn changed(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "nothing to replace: {from}");
    SMALL.replacen(from, to, 1)
}

/// `SMALL` with lines behind it.
fn with(lines: &str) -> String {
    format!("{SMALL}{lines}")
}

fn refusal(text: &str) -> String {
    match read(text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn the_example_is_a_good_configuration_without_warnings() {
    let config = read(EXAMPLE).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(config.resources.len(), 2);
    assert_eq!(&*config.default_policy.name, "eu-only");
}

#[test]
fn what_is_not_stated_follows_a_short_or_a_long_first_content() {
    let thresholds = |line: &str| read(&with(line)).unwrap().thresholds;
    let short = thresholds("failover: { first_content: 2s }\n");
    assert_eq!((short.detection.silence.0, short.hedging.delay), (Duration::from_secs(1), Duration::from_secs(1)));
    let long = thresholds("failover: { first_content: 10m }\n");
    assert_eq!(long.first_content_reasoning, Duration::from_secs(600));
    assert_eq!((long.detection.silence.0, long.hedging.delay), (Duration::from_secs(3), Duration::from_secs(2)));
}

/// What the example states for optional keys are the real defaults, and so are the words in its comments.
#[test]
fn the_example_states_the_real_defaults() {
    let (stated, default) = (read(EXAMPLE).unwrap(), read(SMALL).unwrap());
    assert_eq!(stated.listen, default.listen);
    assert_eq!(stated.limits, default.limits);
    assert_eq!(stated.thresholds, default.thresholds);
    assert_eq!(stated.thresholds, Thresholds::default());
    assert_eq!(stated.drain, default.drain);
    assert_eq!(stated.reflection, default.reflection);
    assert_eq!(stated.region_status, default.region_status);
    assert_eq!(stated.images, default.images);
    assert_eq!(stated.extra_params.iter().flat_map(|(_, params)| params).count(), 0);
    for (stated, default) in stated.resources.iter().zip(&default.resources) {
        assert_eq!(stated.chat_path, default.chat_path);
        assert_eq!(stated.embeddings_path, default.embeddings_path);
        assert_eq!(stated.connect_timeout, default.connect_timeout);
    }
    let plain = |value: &str| value.trim_matches('"').to_owned();
    let mut compared = 0;
    for line in EXAMPLE.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let Some((setting, comment)) = line.split_once(" # ") else { continue };
        let Some((_, stated)) = setting.trim_start_matches([' ', '-']).split_once(": ") else { continue };
        let Some((_, default)) = comment.trim_end_matches('.').rsplit_once("Default ") else { continue };
        assert_eq!(plain(stated), plain(default), "{line}");
        compared += 1;
    }
    assert!(compared >= 25, "only {compared} stated defaults were found: has the example's style changed?");
}

#[test]
fn a_small_file_becomes_settings_and_routes() {
    let config = read(SMALL).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:50051");
    let swc = &config.resources[0];
    assert_eq!(swc.endpoint.host_str(), Some("contoso-swc.openai.azure.com"));
    assert_eq!(swc.chat_path, PathStyle::Dated { api_version: "2024-10-21".into() });
    let Credential::ApiKey(key) = &swc.credential else { panic!("{:?}", swc.credential) };
    assert_eq!(key.expose(), "0123456789abcdef", "blank space around a secret is cut");

    let space = |t: &Target| t.embedding_space.as_ref().map(ToString::to_string).unwrap_or_default();
    let told: Vec<_> = config
        .routes
        .targets()
        .iter()
        .map(|t| (t.id.0, &*t.model, &*t.region, t.resource_index, t.scope, space(t)))
        .collect();
    let (regional, zone, large) =
        (ProcessingScope::Regional, ProcessingScope::DataZone, "text-embedding-3-large/1/3072");
    assert_eq!(
        told,
        [
            (0, "gpt-4o", "swedencentral", 0, regional, String::new()),
            (1, "gpt-4o", "francecentral", 1, regional, String::new()),
            (2, "text-embedding-3-large", "swedencentral", 0, regional, large.to_owned()),
            (3, "text-embedding-3-large", "francecentral", 1, zone, large.to_owned()),
        ]
    );
    assert_eq!(&*config.default_policy.name, "unrestricted");
    assert!(config.callers.is_empty());
    assert_eq!(config.limits.max_request_bytes, 16 << 20);
    assert_eq!(config.drain.delay, Duration::from_secs(5));
}

#[test]
fn a_chat_model_may_state_the_version_that_its_targets_serve() {
    let of = |keys: &str| {
        let config = read(&changed("  - name: gpt-4o\n", &format!("  - name: gpt-4o\n{keys}"))).unwrap();
        config.routes.targets().iter().map(|target| target.version.clone()).collect::<Vec<_>>()
    };
    for (keys, on_mismatch) in [
        ("    version: 0613\n", OnVersionMismatch::Alarm),
        ("    version: \"0613\"\n    on_version_mismatch: fail\n", OnVersionMismatch::Fail),
    ] {
        let stated = Some(ExpectedVersion { version: "0613".into(), on_mismatch });
        assert_eq!(of(keys), [stated.clone(), stated, None, None]);
    }
    assert_eq!(of("    on_version_mismatch: alarm\n"), [None, None, None, None]);
}

#[test]
fn a_spillover_deployment_widens_the_scope() {
    let text = changed(
        "{ resource: swc, deployment: chat, sku: Standard }",
        "{ resource: swc, deployment: chat, sku: ProvisionedManaged, spillover: { deployment: over, sku: GlobalStandard } }",
    );
    assert_eq!(read(&text).unwrap().routes.targets()[0].scope, ProcessingScope::Global);
}

#[test]
fn limits_of_a_deployment_may_be_stated_and_are_not_known_otherwise() {
    let text = changed(
        "{ resource: swc, deployment: chat, sku: Standard }",
        "{ resource: swc, deployment: chat, sku: Standard, tokens_per_minute: 120000, requests_per_minute: 720 }",
    );
    let routes = read(&text).unwrap().routes;
    let limits = |place: usize| routes.targets()[place].claims.limits;
    let stated = RateLimits { tokens_per_minute: Some(120_000), requests_per_minute: Some(720) };
    assert_eq!((limits(0), limits(1)), (stated, RateLimits::default()));
}

#[test]
fn limits_that_no_deployment_can_have_are_refused() {
    for (sku, key, said) in [
        ("Standard", "tokens_per_minute: 0", "`tokens_per_minute` must be at least 1"),
        ("Standard", "requests_per_minute: 0", "`requests_per_minute` must be at least 1"),
        ("ProvisionedManaged", "tokens_per_minute: 9", "`tokens_per_minute` is not for `ProvisionedManaged`"),
        ("GlobalProvisionedManaged", "requests_per_minute: 9", "is not for `GlobalProvisionedManaged`"),
    ] {
        let text = changed(
            "{ resource: swc, deployment: chat, sku: Standard }",
            &format!("{{ resource: swc, deployment: chat, sku: {sku}, {key} }}"),
        );
        let told = read(&text).unwrap_err().to_string();
        assert!(told.contains(said), "{told}");
    }
}

#[test]
fn pacing_is_on_unless_switched_off_and_its_patience_can_be_set() {
    assert!(read(SMALL).unwrap().thresholds.pacing.enabled);
    let text = format!("{SMALL}failover: {{ pace: false, spill_after: 0s, spill_bulk_after: 30s }}\n");
    let pacing = read(&text).unwrap().thresholds.pacing;
    assert_eq!((pacing.enabled, pacing.interactive, pacing.bulk), (false, Duration::ZERO, Duration::from_secs(30)));
}

#[test]
fn paths_are_chosen_for_each_operation() {
    let text = changed(
        "    auth: { api_key: { env: KEY } }\n",
        "    auth: { api_key: { env: KEY } }\n    chat: { path: v1 }\n    embeddings: { api_version: 2025-04-01-preview }\n",
    );
    let swc = read(&text).unwrap().resources.remove(0);
    assert_eq!(swc.chat_path, PathStyle::V1);
    assert_eq!(swc.embeddings_path, PathStyle::Dated { api_version: "2025-04-01-preview".into() });
}

#[test]
fn callers_are_bound_to_their_policies() {
    let config = read(&with(
        "policies: [{ name: eu-only, boundaries: [eu], max_scope: data_zone }]
callers:
  - { name: a, token: { env: TOKEN_A }, policy: eu-only }
  - { name: b, token: { env: KEY }, policy: unrestricted, operator: true }
listen: 0.0.0.0:50051
",
    ))
    .unwrap();
    let caller = |caller: &CallerSettings| (caller.name.to_string(), caller.policy.name.to_string(), caller.operator);
    let told: Vec<_> = config.callers.iter().map(caller).collect();
    assert_eq!(told, [("a".into(), "eu-only".into(), false), ("b".into(), "unrestricted".into(), true)]);
    let plain = ["sealane.yaml:26: without `tls`, tokens and prompts travel in plain text"];
    assert_eq!(config.warnings, plain);
}

#[test]
fn secrets_in_files_are_found_beside_the_configuration() {
    let folder = std::env::temp_dir().join(format!("sealane-config-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("key"), "from-a-file\n").unwrap();
    let text = SMALL.replace("{ env: KEY }", "{ file: key }");
    let config = Config::from_yaml(&text, folder.join("sealane.yaml").to_str().unwrap(), |_| None).unwrap();
    let Credential::ApiKey(key) = &config.resources[0].credential else { panic!() };
    assert_eq!(key.expose(), "from-a-file");
    fs::remove_dir_all(folder).unwrap();
}

/// Every kind of mistake, and what the person who made it reads: the message and where it stands.
#[test]
fn every_mistake_is_told_with_its_line() {
    let cases: Vec<(&str, String, &str)> = vec![
        ("no YAML", "resources: [".into(), "sealane.yaml:1:"),
        (
            "tabs",
            changed("    region: francecentral", "\tregion: francecentral"),
            "a tab indents this line; YAML takes spaces only\n  --> sealane.yaml:8:1",
        ),
        ("empty file", "".into(), "the file is empty"),
        (
            "unknown key",
            changed("    region: francecentral", "    regon: francecentral"),
            "unknown key `regon`, did you mean `region`?\n  --> sealane.yaml:8:5",
        ),
        (
            "unknown section",
            with("limit: {}\n"),
            "unknown key `limit`, did you mean `limits`?\n  --> sealane.yaml:22:1",
        ),
        (
            "unknown limit",
            with("limits:\n  max_deadlines: 5m\n"),
            "unknown key `max_deadlines`, did you mean `max_deadline`?\n  --> sealane.yaml:23:3",
        ),
        (
            "key given twice",
            with("reflection: true\nreflection: false\n"),
            "the key `reflection` is given twice\n  --> sealane.yaml:23:1",
        ),
        ("missing key", changed(", sku: Standard }", " }"), "the key `sku` is missing here\n  --> sealane.yaml:15:"),
        ("no value", changed("region: francecentral", "region:"), "--> sealane.yaml:8:"),
        ("another shape", with("limits: 5\n"), "--> sealane.yaml:22:9"),
        ("no resources", "resources: []\nmodels: []\n".into(), "`resources` is empty: nothing can be called"),
        ("no models", "resources: []\nmodels: []\n".into(), "`models` is empty: nothing can be asked for"),
        (
            "unset variable",
            SMALL.replacen("env: KEY", "env: NOT_SET", 1),
            "api_key: the environment variable `NOT_SET` is not set\n  --> sealane.yaml:6:22",
        ),
        (
            "empty secret",
            SMALL.replacen("env: KEY", "env: EMPTY", 1),
            "api_key: the secret that it refers to is empty\n  --> sealane.yaml:6:22",
        ),
        (
            "secret of two lines",
            SMALL.replacen("env: KEY", "env: LINES", 1),
            "is not one word of printable ASCII characters\n  --> sealane.yaml:6:22",
        ),
        ("missing file", SMALL.replacen("env: KEY", "file: not-there", 1), "api_key: cannot read the file `not-there`"),
        (
            "secret kind",
            SMALL.replacen("env: KEY", "environment: KEY", 1),
            "unknown key `environment`, did you mean `env`?\n  --> sealane.yaml:6:",
        ),
        (
            "resource twice",
            changed("name: frc", "name: swc"),
            "resource `swc` is already defined on line 2\n  --> sealane.yaml:7:11",
        ),
        (
            "two boundaries",
            changed("region: francecentral\n    boundary: eu", "region: swedencentral\n    boundary: us"),
            "region `swedencentral` has `us` here but `eu` at resource `swc` (line 2)",
        ),
        ("bad endpoint", changed("https://contoso-swc", "contoso swc"), "is not an address"),
        (
            "plain http",
            changed("https://contoso-swc", "http://contoso-swc"),
            "use `https`, or set `allow_insecure: true` here\n  --> sealane.yaml:5:15",
        ),
        (
            "http by a private address",
            changed("https://contoso-swc.openai.azure.com", "http://10.0.0.4"),
            "use `https`, or set `allow_insecure: true` here",
        ),
        (
            "metadata service",
            changed("https://contoso-swc.openai.azure.com", "https://169.254.169.254"),
            "is link-local",
        ),
        ("endpoint with path", changed("azure.com\n", "azure.com/openai/v1\n"), "must end before `/openai`"),
        (
            "endpoint with version",
            changed("azure.com\n", "azure.com?api-version=2024-10-21\n"),
            "must not have a query",
        ),
        (
            "endpoint with password",
            changed("https://contoso-swc", "https://me:secret@contoso-swc"),
            "must not hold credentials",
        ),
        ("another scheme", changed("https://contoso-swc", "ftp://contoso-swc"), "must begin with `https://`"),
        (
            "no connect timeout",
            changed("    boundary: eu\n", "    boundary: eu\n    connect_timeout: 0s\n"),
            "`connect_timeout` must not be zero\n  --> sealane.yaml:5:22",
        ),
        (
            "API version",
            changed("    boundary: eu\n", "    boundary: eu\n    chat: { api_version: 2024-21-10 }\n"),
            "`2024-21-10` is not an API version such as `2024-10-21`",
        ),
        (
            "API version v1",
            changed("    boundary: eu\n", "    boundary: eu\n    chat: { api_version: v1 }\n"),
            "for v1 set `path: v1`",
        ),
        (
            "API version of v1",
            changed("    boundary: eu\n", "    boundary: eu\n    chat: { path: v1, api_version: 2024-10-21 }\n"),
            "`api_version` belongs to `path: dated`; `v1` has none",
        ),
        (
            "path style",
            changed("    boundary: eu\n", "    boundary: eu\n    chat: { path: v2 }\n"),
            "`v2` is not a path style; there are `dated`, `v1`",
        ),
        (
            "model twice",
            changed("name: text-embedding-3-large", "name: gpt-4o"),
            "model `gpt-4o` is already defined on line 13\n  --> sealane.yaml:17:11",
        ),
        (
            "model kind",
            changed("kind: embedding", "kind: embeddings"),
            "`embeddings` is not a kind of model, did you mean `embedding`?\n  --> sealane.yaml:18:11",
        ),
        (
            "no targets",
            changed(
                "\n      - { resource: swc, deployment: chat, sku: Standard }\n      - { resource: frc, deployment: chat, sku: Standard }",
                " []",
            ),
            "model `gpt-4o` has no targets",
        ),
        (
            "unknown resource",
            changed("resource: frc, deployment: chat", "resource: frx, deployment: chat"),
            "there is no resource `frx`, did you mean `frc`?\n  --> sealane.yaml:16:21",
        ),
        (
            "SKU",
            changed("sku: Standard", "sku: standart"),
            "`standart` is not a deployment type (`sku.name` in Azure), did you mean `Standard`?\n  --> sealane.yaml:15:",
        ),
        (
            "target twice",
            changed("resource: frc, deployment: chat", "resource: swc, deployment: chat"),
            "`chat` at `swc` is already a target of `gpt-4o`\n  --> sealane.yaml:16:",
        ),
        (
            "dimensions differ",
            changed(
                "deployment: embed, sku: DataZoneStandard",
                "deployment: embed, sku: DataZoneStandard, embedding: { dimensions: 1536 }",
            )
            .replace("kind: embedding", "kind: embedding\n    embedding: { dimensions: 3072 }"),
            "`embed` at `swc` (line 21) `3072` and `embed` at `frc` (line 22) `1536` have different dimensions: vectors of two \
             kinds in one route would corrupt every index\n  --> sealane.yaml:22:",
        ),
        (
            "unknown embedding model",
            changed("name: text-embedding-3-large", "name: ours"),
            "`ours` is none of Azure's embedding models; state what its vectors are",
        ),
        (
            "a version to fail by, but none stated",
            changed("  - name: gpt-4o\n", "  - name: gpt-4o\n    on_version_mismatch: fail\n"),
            "`on_version_mismatch: fail` needs the `version` that is to be compared with\n  --> sealane.yaml:14:",
        ),
        (
            "a third meaning of another version",
            changed("  - name: gpt-4o\n", "  - name: gpt-4o\n    on_version_mismatch: ignore\n"),
            "`ignore` is not a meaning of another version; there are `alarm`, `fail`\n  --> sealane.yaml:14:26",
        ),
        (
            "a version of an embedding model",
            changed("    kind: embedding\n", "    kind: embedding\n    version: \"1\"\n"),
            "`version` is only for chat, and `text-embedding-3-large` is an embedding model: state it under `embedding`",
        ),
        (
            "embedding of a chat model",
            changed("  - name: gpt-4o\n", "  - name: gpt-4o\n    embedding: { dimensions: 3072 }\n"),
            "`embedding` is only for `kind: embedding`, and `gpt-4o` is chat\n  --> sealane.yaml:14:",
        ),
        (
            "policy permits nothing",
            with("policies: [{ name: us-only, boundaries: [us] }]\n"),
            "policy `us-only` permits no target of any model (any regions, boundaries us, at most regional processing): \
             `chat` at `swc` in swedencentral: outside the policy's data boundaries; `chat` at `frc` in francecentral: \
             outside the policy's data boundaries; ",
        ),
        (
            "policy twice",
            with("policies:\n  - { name: eu }\n  - { name: eu }\n"),
            "policy `eu` is already defined on line 23\n  --> sealane.yaml:24:",
        ),
        (
            "built-in policy",
            with("policies:\n  - { name: unrestricted }\n"),
            "`unrestricted` is built in; name this policy otherwise",
        ),
        (
            "data class",
            with(&format!("policies: [{{ name: eu, data_classes: [{}] }}]\n", "x".repeat(65))),
            "a data class is named by 1 to 64 printable ASCII characters\n  --> sealane.yaml:22:39",
        ),
        ("whether a data class is required", with("policies: [{ name: eu, require_data_class: maybe }]\n"), "`maybe`"),
        ("scope", with("policies: [{ name: eu, max_scope: zone }]\n"), "`zone` is not a processing scope"),
        (
            "unknown policy",
            with("policies: [{ name: eu-only }]\ncallers: [{ name: a, token: { env: KEY }, policy: eu-onyl }]\n"),
            "there is no policy `eu-onyl`, did you mean `eu-only`?\n  --> sealane.yaml:23:",
        ),
        (
            "unknown default policy",
            with("default_policy: strict\n"),
            "there is no policy `strict`; there are `unrestricted`\n  --> sealane.yaml:22:17",
        ),
        (
            "caller twice",
            with(
                "callers:\n  - { name: a, token: { env: KEY }, policy: unrestricted }\n  - { name: a, token: { env: TOKEN_A }, policy: unrestricted }\n",
            ),
            "caller `a` is already defined on line 23\n  --> sealane.yaml:24:",
        ),
        (
            "one token, two callers",
            with(
                "callers:\n  - { name: a, token: { env: KEY }, policy: unrestricted }\n  - { name: b, token: { env: KEY }, policy: unrestricted }\n",
            ),
            "callers `a` and `b` have the same token\n  --> sealane.yaml:24:",
        ),
        (
            "token variable",
            with("callers: [{ name: a, token: { env: NOT_SET }, policy: unrestricted }]\n"),
            "token: the environment variable `NOT_SET` is not set\n  --> sealane.yaml:22:29",
        ),
        (
            "open to anyone",
            with("listen: 0.0.0.0:50051\n"),
            "`0.0.0.0:50051` can be reached from other machines, but no `callers` are configured; listen on 127.0.0.1 or add callers\n  --> sealane.yaml:22:9",
        ),
        ("listen without port", with("listen: 127.0.0.1\n"), "`127.0.0.1` is not an IP address with a port"),
        (
            "duration without unit",
            with("failover: { stall: 10 }\n"),
            "`10` lacks its unit: write `10s` or `10ms`\n  --> sealane.yaml:22:20",
        ),
        ("no duration", with("failover: { stall: soon }\n"), "`soon` is not a duration such as `500ms`"),
        ("empty duration", with("failover: { stall: \"\" }\n"), "is not a duration such as `500ms`"),
        ("zero limit", with("failover: { stall: 0s }\n"), "`stall` must not be zero\n  --> sealane.yaml:22:20"),
        ("zero deadline", with("limits: { default_deadline: 0ms }\n"), "`default_deadline` must not be zero"),
        (
            "default above maximum",
            with("limits:\n  default_deadline: 20m\n"),
            "`default_deadline` must not be above `max_deadline`\n  --> sealane.yaml:23:21",
        ),
        ("size", with("limits: { max_request_bytes: 16MB }\n"), "`16MB` is not a size such as `65536`"),
        (
            "size of nothing",
            with("limits: { max_request_bytes: 0 }\n"),
            "`max_request_bytes` must be from 1KiB to 1GiB",
        ),
        ("no streams", with("limits: { max_concurrent_streams: 0 }\n"), "`max_concurrent_streams` must be at least 1"),
        ("percent", with("failover: { attempt_share_percent: 100 }\n"), "`attempt_share_percent` must be 10 to 90"),
        (
            "cooling",
            with("failover: { cooling_longest: 500ms }\n"),
            "`cooling_shortest` must not be above `cooling_longest`\n  --> sealane.yaml:22:30",
        ),
        (
            "hold",
            with("failover: { hold: 1h, hold_longest: 1m }\n"),
            "`hold` must not be above `hold_longest`\n  --> sealane.yaml:22:37",
        ),
        (
            "no failures",
            with("failover: { suspicious_failures: 0 }\n"),
            "`suspicious_failures` must be 1 to 100: with more, a target that fails every call would hardly be noticed\n  --> sealane.yaml:22:34",
        ),
        ("many failures", with("failover: { suspicious_failures: 101 }\n"), "`suspicious_failures` must be 1 to 100"),
        (
            "late silence",
            with("failover: { suspicious_silence: 10s }\n"),
            "`suspicious_silence` must be below `first_content`",
        ),
        (
            "silence above a short limit",
            with("failover: { first_content: 3s, suspicious_silence: 4s }\n"),
            "`suspicious_silence` must be below `first_content`: otherwise attempts are given up before silence counts",
        ),
        ("late hedge", with("failover: { hedge_delay: 1h }\n"), "`hedge_delay` must be below `first_content`"),
        ("endless patience", with("failover: { first_content: 100h }\n"), "`first_content` must be at most 10m"),
        (
            "hasty reasoning",
            with("failover: { first_content_reasoning: 1s }\n"),
            "`first_content_reasoning` must not be below `first_content`",
        ),
        (
            "dear standbys",
            with("failover: { standby_test_interval: 1ms }\n"),
            "`standby_test_interval` must be at least 5s",
        ),
        (
            "late return",
            with("failover: { return_test_interval: 1h }\n"),
            "`return_test_interval` must be from 1s to 10m",
        ),
        (
            "hasty return",
            with("failover: { return_test_interval: 10ms }\n"),
            "`return_test_interval` must be from 1s to 10m",
        ),
        ("number", with("failover: { retries: two }\n"), "`two` is not a whole number"),
        (
            "operator",
            with("callers: [{ name: a, token: { env: KEY }, policy: unrestricted, operator: sometimes }]\n"),
            "`sometimes` is neither `true` nor `false`\n  --> sealane.yaml:22:",
        ),
        (
            "flag",
            with("reflection: maybe\n"),
            "`maybe` is not an audience; there are `nobody`, `operators`, `callers`, `anyone`\n  --> sealane.yaml:22:13",
        ),
        (
            "OTLP endpoint",
            with("telemetry: { otlp_endpoint: localhost }\n"),
            "`localhost` is not an address such as `http://localhost:4317`",
        ),
    ];
    let mut wrong = Vec::new();
    for (name, text, expected) in &cases {
        let told = refusal(text);
        if !told.contains(expected) {
            wrong.push(format!("{name}\nexpected: {expected}\ntold:     {told}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let text = changed("name: frc", "name: swc")
        .replace("sku: DataZoneStandard", "sku: Zone")
        .replace("env: KEY", "env: NOT_SET")
        + "limits: { max_deadline: never }\nlisten: 0.0.0.0:1\n";
    let lines: Vec<_> = read(&text).unwrap_err().list.iter().map(|problem| problem.place.line).collect();
    assert_eq!(lines, [6, 7, 11, 16, 21, 21, 22, 23]);
}

#[test]
fn an_error_shows_the_line_and_points_into_it() {
    insta::assert_snapshot!(refusal(&changed("resource: frc, deployment: chat", "resource: frx, deployment: chat")), @"
    there is no resource `frx`, did you mean `frc`?
      --> sealane.yaml:16:21
       |
    16 |       - { resource: frx, deployment: chat, sku: Standard }
       |                     ^^^
    ");
}

#[test]
fn a_key_written_into_the_file_is_refused_and_never_repeated() {
    for auth in
        ["{ api_key: sk-very-secret }", "{ api_key: 12345678 }", "sk-very-secret", "{ api_key: sk-very-secret, x: 1 }"]
    {
        let told = refusal(&changed("{ api_key: { env: KEY } }", auth));
        assert!(!told.contains("sk-very-secret") && !told.contains("12345678"), "{told}");
        assert!(told.contains("sealane.yaml:6:"), "{told}");
    }
    let told = refusal(&changed("{ api_key: { env: KEY } }", "{ api_key: sk-very-secret }"));
    assert!(told.contains("secrets are not written into this file"), "{told}");
}

#[test]
fn resolved_secrets_are_not_in_the_debug_form() {
    let config = read(&with("callers: [{ name: a, token: { env: TOKEN_A }, policy: unrestricted }]\n")).unwrap();
    let told = format!("{config:?}");
    assert!(!told.contains("0123456789abcdef") && !told.contains("token-of-caller-a"), "{told}");
}

#[test]
fn a_mistake_in_a_policy_is_told_once() {
    for policy in ["max_scope: zone", "require_data_class: maybe", "data_classes: ['ö']"] {
        let text = format!(
            "policies: [{{ name: eu, {policy} }}]\ncallers: [{{ name: a, token: {{ env: TOKEN_A }}, policy: eu }}]\n"
        );
        let told = read(&with(&text)).unwrap_err();
        assert_eq!(told.list.len(), 1, "{told}");
    }
}

#[test]
fn data_classes_are_required_where_they_are_listed_unless_the_file_says_otherwise() {
    for (written, expected) in [
        ("", (vec![], false)),
        (", data_classes: [public, internal]", (vec!["public", "internal"], true)),
        (", data_classes: [public], require_data_class: false", (vec!["public"], false)),
        (", require_data_class: true", (vec![], true)),
    ] {
        let config = read(&with(&format!("policies: [{{ name: eu{written} }}]\n"))).unwrap();
        let policy = &config.policies[0];
        let classes: Vec<&str> = policy.data_classes.iter().map(|class| &**class).collect();
        assert_eq!((classes, policy.requires_data_class), expected, "{written}");
    }
}

#[test]
fn what_can_be_served_with_is_a_warning() {
    for (text, expected) in [
        (
            with("policies: [{ name: chat-only, regions: [westeurope, swedencentral] }]\n"),
            vec!["sealane.yaml:22: no target lies in region `westeurope`"],
        ),
        (
            changed("deployment: embed, sku: Standard", "deployment: embed, sku: GlobalStandard")
                + "policies: [{ name: eu-only, boundaries: [eu] }]\n",
            vec![
                "sealane.yaml:22: policy `eu-only` permits no target of model `text-embedding-3-large`: it answers \
                 FAILED_PRECONDITION (`embed` at `swc` in swedencentral: computes global, the policy permits at most \
                 regional; `embed` at `frc` in francecentral: computes data_zone, the policy permits at most regional)",
            ],
        ),
        (
            with(
                "callers: [{ name: b, token: { env: TOKEN_B }, policy: unrestricted }]\ndefault_policy: unrestricted\n",
            ),
            vec![
                "sealane.yaml:23: `default_policy` has no effect where there are `callers`",
                "sealane.yaml:22: the token of caller `b` is shorter than 16 characters",
            ],
        ),
        (
            SMALL.replace("      - { resource: frc, deployment: chat, sku: Standard }\n", ""),
            vec!["sealane.yaml:13: model `gpt-4o` has targets in `swedencentral` only"],
        ),
        (
            with("state_file: not/there/state.json\n"),
            vec!["sealane.yaml:22: standings cannot be kept: there is no folder `not/there`"],
        ),
    ] {
        let warnings = read(&text).unwrap_or_else(|problems| panic!("{problems}")).warnings;
        assert_eq!(warnings.len(), expected.len(), "{warnings:#?}");
        for (warning, expected) in warnings.iter().zip(expected) {
            assert!(warning.starts_with(expected), "{warning}\nexpected: {expected}");
        }
    }
}

#[test]
fn the_revision_follows_the_bytes() {
    let revision = |text: &str| read(text).unwrap().revision;
    assert_eq!(revision(SMALL), revision(SMALL));
    assert_ne!(revision(SMALL), revision(&with("# a comment\n")));
}

#[test]
fn another_address_must_not_open_the_service_to_anyone() {
    let mut config = read(SMALL).unwrap();
    assert!(config.listen_on("127.0.0.1:0".parse().unwrap()).is_ok());
    let refused = config.listen_on("0.0.0.0:0".parse().unwrap()).unwrap_err();
    assert!(refused.to_string().contains("no `callers` are configured"), "{refused}");
    assert_eq!(config.listen.port(), 0);
}

#[test]
fn the_schema_accepts_the_example_and_refuses_unknown_keys() {
    let schema = config::schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let example: serde_json::Value = serde_saphyr::from_str(EXAMPLE).unwrap();
    let errors: Vec<_> =
        validator.iter_errors(&example).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert_eq!(errors, Vec::<String>::new());
    let misspelt: serde_json::Value = serde_saphyr::from_str(&with("limit: {}\n")).unwrap();
    assert!(!validator.is_valid(&misspelt));
}

#[test]
fn the_effective_file_reads_back_as_the_same_configuration() {
    let path = std::env::temp_dir().join(format!("sealane-effective-{}.yaml", std::process::id()));
    fs::write(&path, SMALL).unwrap();
    let shown = config::effective(&path, false).unwrap();
    let redacted = config::effective(&path, true).unwrap();
    fs::remove_file(&path).unwrap();
    let (first, again) = (read(SMALL).unwrap(), read(&shown).unwrap());
    assert_eq!(first.limits, again.limits);
    assert_eq!(first.thresholds, again.thresholds);
    assert_eq!(first.routes.targets(), again.routes.targets());
    let shown_as_json: serde_json::Value = serde_saphyr::from_str(&shown).unwrap();
    let validator = jsonschema::validator_for(&config::schema()).unwrap();
    assert!(validator.is_valid(&shown_as_json), "{shown}");
    assert!(shown.contains("env: KEY") && !shown.contains("0123456789abcdef"), "{shown}");
    assert!(!redacted.contains("KEY") && !redacted.contains("contoso"), "{redacted}");
}

#[test]
fn a_journal_has_a_folder_a_key_and_bounds() {
    let config = read(&with("audit: { directory: journal }\n")).unwrap();
    let audit = config.audit.unwrap();
    assert_eq!((audit.directory.to_str(), audit.key.to_str()), (Some("journal"), Some("journal-key.pem")));
    assert_eq!(audit.settings.durability, Durability::Fsync);
    let stated =
        "audit: { directory: /a/j, key: /b/k.pem, durability: flush, checkpoints: stderr, retention_days: 185 }\n";
    let audit = read(&with(stated)).unwrap().audit.unwrap();
    assert_eq!((audit.directory.to_str(), audit.key.to_str()), (Some("/a/j"), Some("/b/k.pem")));
    assert_eq!(audit.settings.checkpoint_copy, Some(CheckpointCopy::Stderr));
    assert_eq!((audit.settings.durability, audit.settings.retention_days), (Durability::Flush, 185));
    for (lines, said) in [
        ("audit: { directory: j, request_key: { env: TOKEN_B } }\n", "the secret must have at least 32 characters"),
        ("audit: {}\n", "the key `directory` is missing here"),
        ("audit: { directory: j, durability: fsnyc }\n", "`fsnyc` is not a durability, did you mean `fsync`?"),
        ("audit: { directory: j, retention_days: 184 }\n", "`retention_days` must be at least 185"),
        ("audit: { directory: j, segment_bytes: 1KiB }\n", "`segment_bytes` must be at least 64KiB"),
    ] {
        let refusal = refusal(&with(lines));
        assert!(refusal.contains(said), "{lines}{refusal}");
    }
}
