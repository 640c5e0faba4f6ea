//! `sealane check --azure` against a control plane on loopback: what agrees, what does not, what is kept of it, and what
//! the service makes of that.
use std::{fs, path::Path};

use sealane::config::Config;
use sealane_core::domain::ScopeEvidence;
use serde_json::{Value, json};

use super::ConfigFile;
use crate::support::canned::{Canned, Step, response};

const FILE: &str = r#"
scope_evidence_file: evidence.json
resources:
  - name: swc
    region: swedencentral
    endpoint: 'https://contoso-swc.openai.azure.com'
    auth: { api_key: { env: KEY } }
    arm: { subscription: sub-1, resource_group: rg one, account: contoso-swc }
  - name: frc
    region: francecentral
    endpoint: 'https://contoso-frc.openai.azure.com'
    auth: { api_key: { env: KEY } }
models:
  - name: gpt-4o
    version: "1"
    targets:
      - { resource: swc, deployment: chat, sku: ProvisionedManaged, spillover: { deployment: over, sku: Standard } }
      - { resource: frc, deployment: chat, sku: Standard }
  - name: text-embedding-3-large
    kind: embedding
    targets:
      - { resource: swc, deployment: embed, sku: DataZoneStandard }
"#;

fn deployment(name: &str, sku: &str, model: &str, spillover: Option<&str>) -> Value {
    let model = json!({ "format": "OpenAI", "name": model, "version": "1" });
    let properties = json!({ "model": model, "provisioningState": "Succeeded", "spilloverDeploymentName": spillover });
    json!({ "name": name, "sku": { "name": sku, "capacity": 10 }, "properties": properties })
}

fn account(location: &str, subdomain: &str) -> Value {
    json!({ "name": "contoso-swc", "location": location, "properties": { "customSubDomainName": subdomain } })
}

/// All that is configured, as the configuration has it.
fn truth() -> Vec<Value> {
    let embed = deployment("embed", "DataZoneStandard", "text-embedding-3-large", None);
    vec![
        deployment("Chat", "ProvisionedManaged", "gpt-4o", Some("over")),
        deployment("over", "Standard", "gpt-4o", None),
        embed,
    ]
}

fn ok(body: &Value) -> Vec<Step> {
    vec![Step::Send(response("200 OK", &[("content-type", "application/json")], body.to_string().as_bytes()))]
}

/// A control plane that answers with these, one after the other.
async fn control_plane(answers: impl IntoIterator<Item = Vec<Step>>) -> (Canned, String) {
    let server = Canned::start_with(answers).await;
    let endpoint = format!("http://{}", server.address);
    (server, endpoint)
}

async fn check(file: &ConfigFile, endpoint: &str, more: &[&str]) -> (i32, String, String) {
    let mut args = vec!["--azure", "--arm-endpoint", endpoint];
    args.extend(more);
    // The control plane runs on the other thread.
    tokio::task::block_in_place(|| file.check(&args, &[("AZURE_ARM_TOKEN", "arm-token")]))
}

fn scope_evidence(file: &ConfigFile) -> (Vec<&'static str>, Vec<String>) {
    let path = file.path("sealane.yaml");
    let text = fs::read_to_string(&path).unwrap();
    let config = Config::from_yaml(&text, &path, |_| Some("0123456789abcdef".into())).unwrap();
    let evidence = config.routes.targets().iter().map(|target| target.claims.scope_evidence.as_str());
    (evidence.collect(), config.warnings)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_azure_confirms_is_kept_and_the_service_knows() {
    let file = ConfigFile::new("arm", FILE);
    let (evidence, warnings) = scope_evidence(&file);
    assert_eq!(evidence, ["declared"; 3]);
    assert!(warnings.iter().any(|one| one.contains("`sealane check --azure` writes it")), "{warnings:?}");

    let answers = [ok(&account("swedencentral", "contoso-swc")), ok(&json!({ "value": truth() }))];
    let (server, endpoint) = control_plane(answers).await;
    let (code, told, stderr) = check(&file, &endpoint, &[]).await;
    assert_eq!(code, 0, "{told}\n{stderr}");
    let table: Vec<&str> = told.lines().skip_while(|line| !line.starts_with("model region")).collect();
    assert_eq!(
        table[1..],
        [
            "gpt-4o swedencentral swc chat ProvisionedManaged gpt-4o/1 over ● agrees",
            "gpt-4o francecentral frc chat Standard - - - not asked: the resource has no `arm`",
            "text-embedding-3-large swedencentral swc embed DataZoneStandard text-embedding-3-large/1 - ● agrees",
        ]
    );
    assert!(stderr.contains("2 of 3 targets confirmed; kept in "), "{stderr}");
    let seen = server.seen();
    let account =
        "/subscriptions/sub-1/resourceGroups/rg%20one/providers/Microsoft.CognitiveServices/accounts/contoso-swc";
    let paths: Vec<&str> = seen.iter().map(|request| request.path()).collect();
    assert_eq!(
        paths,
        [format!("{account}?api-version=2024-10-01"), format!("{account}/deployments?api-version=2024-10-01")]
    );
    assert!(seen.iter().all(|request| request.header("authorization") == Some("Bearer arm-token")));

    let kept = fs::read_to_string(file.path("evidence.json")).unwrap();
    assert!(!kept.contains("arm-token") && !kept.contains("0123456789abcdef"), "{kept}");
    let (evidence, warnings) = scope_evidence(&file);
    assert_eq!(evidence, ["arm", "declared", "arm"]);
    assert!(!warnings.iter().any(|one| one.contains("scope_evidence_file")), "{warnings:?}");
    let journals: sealane::audit::ScopeEvidence = ScopeEvidence::Arm.into();
    assert_eq!(journals, sealane::audit::ScopeEvidence::Arm);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_difference_is_told_and_nothing_of_it_confirmed() {
    let mut others = truth();
    others[1] = deployment("over", "GlobalStandard", "gpt-4o", None);
    others[2] = deployment("embed", "GlobalStandard", "text-embedding-3-small", Some("elsewhere"));
    let mut upgraded = deployment("chat", "ProvisionedManaged", "gpt-4o", Some("gone"));
    upgraded["properties"]["model"]["version"] = json!("2");
    let right = account("swedencentral", "contoso-swc");
    for (name, about, deployments, expected) in [
        (
            "sku",
            right.clone(),
            others,
            [
                "✕ it computes global, declared is regional",
                "✕ the SKU is GlobalStandard; it spills over to elsewhere, which is not declared; it computes global, declared \
                 is data_zone; the model is text-embedding-3-small/1, declared is text-embedding-3-large/1/3072",
            ],
        ),
        (
            "missing",
            right.clone(),
            vec![deployment("chat", "ProvisionedManaged", "gpt-4o", None)],
            ["✕ it does not spill over to over", "✕ there is no such deployment"],
        ),
        (
            "spills",
            right,
            vec![upgraded, truth().remove(2)],
            [
                "✕ it spills over to gone, which is not declared; it computes global, declared is regional; the model's \
                 version is 2, stated is 1",
                "● agrees",
            ],
        ),
        (
            "place",
            account("Sweden South", "other"),
            truth(),
            ["✕ the resource lies in swedensouth; the account is served at other, the endpoint is another one"; 2],
        ),
    ] {
        let file = ConfigFile::new(&format!("arm-{name}"), FILE);
        let (_server, endpoint) = control_plane([ok(&about), ok(&json!({ "value": deployments }))]).await;
        let (code, told, stderr) = check(&file, &endpoint, &[]).await;
        assert_eq!(code, 5, "{name}: {told}\n{stderr}");
        assert!(stderr.contains("Azure says otherwise of "), "{stderr}");
        let verdicts = told.lines().skip_while(|line| !line.starts_with("model region"));
        let verdicts: Vec<&str> = verdicts.filter(|line| line.contains(" swc ")).collect();
        let [chat, embed] = verdicts[..] else { panic!("{name}: {told}") };
        assert!(chat.ends_with(expected[0]) && embed.ends_with(expected[1]), "{name}: {told}");
        let agreed = |verdict: &str| if verdict == "● agrees" { "arm" } else { "declared" };
        assert_eq!(scope_evidence(&file).0, [agreed(expected[0]), "declared", agreed(expected[1])], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_may_have_pages_but_the_token_goes_nowhere_else() {
    let file = ConfigFile::new("arm-pages", FILE);
    let (server, endpoint) = control_plane([vec![Step::Close]]).await;
    drop(server);
    let (code, told, stderr) = check(&file, &endpoint, &["--output", "json"]).await;
    assert_eq!(code, 4, "{stderr}");
    let document: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(document["azure"]["targets"][0]["agrees"], Value::Null);

    let stranger = Canned::start([]).await;
    let away = json!({ "value": [], "nextLink": format!("http://{}/more", stranger.address) });
    let (_server, endpoint) = control_plane([ok(&account("swedencentral", "contoso-swc")), ok(&away)]).await;
    let (code, told, _) = check(&file, &endpoint, &[]).await;
    assert_eq!(code, 4);
    assert!(told.contains("goes on at another address"), "{told}");
    assert!(stranger.seen().is_empty());

    let (first, rest) = (truth().remove(0), truth().split_off(1));
    let server = Canned::start_knowing(|address| {
        vec![
            ok(&account("swedencentral", "contoso-swc")),
            ok(&json!({ "value": [first], "nextLink": format!("http://{address}/next?page=2") })),
            ok(&json!({ "value": rest, "nextLink": "" })),
        ]
    })
    .await;
    let endpoint = format!("http://{}", server.address);
    let (code, told, stderr) = check(&file, &endpoint, &[]).await;
    assert_eq!(code, 0, "{told}\n{stderr}");
    assert_eq!(server.seen().last().unwrap().path(), "/next?page=2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_ask_is_told_why() {
    let file = ConfigFile::new("arm-refused", FILE);
    for (status, hint) in [
        ("401 Unauthorized", "the token is not accepted"),
        ("403 Forbidden", "`Reader` on it suffices"),
        ("404 Not Found", "no such subscription"),
        ("302 Found", "HTTP 302"),
    ] {
        let answer = response(status, &[("location", "http://127.0.0.1:1/")], b"{\"error\":{\"message\":\"secret\"}}");
        let (_server, endpoint) = control_plane([vec![Step::Send(answer)]]).await;
        let (code, told, stderr) = check(&file, &endpoint, &[]).await;
        assert_eq!(code, 4, "{told}");
        assert!(told.contains(hint) && !told.contains("secret"), "{told}\n{stderr}");
        assert!(!told.contains("arm-token") && !stderr.contains("arm-token"), "{told}\n{stderr}");
    }
    for (args, env, said) in [
        (vec!["--azure"], vec![], "--azure needs a token"),
        (
            vec!["--azure", "--arm-endpoint", "http://arm.example"],
            vec![("AZURE_ARM_TOKEN", "t")],
            "must begin with `https://`",
        ),
        (vec!["--azure", "--arm-token-file", "/nowhere/at/all"], vec![], "--arm-token-file /nowhere/at/all"),
    ] {
        let (code, _, stderr) = file.check(&args, &env);
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
    }
    let plain = ConfigFile::new("arm-plain", &FILE.replace("    arm: {", "    #arm: {"));
    let (code, _, stderr) = plain.check(&["--azure"], &[("AZURE_ARM_TOKEN", "t")]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("add `arm: {"), "{stderr}");
}

/// A confirmation is of one target at one endpoint, and of its day.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_confirmed_of_another_configuration_or_long_ago_counts_no_more() {
    let file = ConfigFile::new("arm-stale", FILE);
    let answers = [ok(&account("swedencentral", "contoso-swc")), ok(&json!({ "value": truth() }))];
    let (_server, endpoint) = control_plane(answers).await;
    assert_eq!(check(&file, &endpoint, &[]).await.0, 0);
    for (from, to, expected) in [
        ("sku: DataZoneStandard", "sku: GlobalStandard", ["arm", "declared", "declared"]),
        (
            "{ deployment: over, sku: Standard }",
            "{ deployment: over, sku: GlobalStandard }",
            ["declared", "declared", "arm"],
        ),
        ("https://contoso-swc.openai", "https://contoso-2.openai", ["declared"; 3]),
        ("subscription: sub-1", "subscription: sub-2", ["declared"; 3]),
        ("    arm: {", "    #arm: {", ["declared"; 3]),
        ("scope_evidence_file:", "#scope_evidence_file:", ["declared"; 3]),
    ] {
        file.write("sealane.yaml", &FILE.replace(from, to));
        assert_eq!(scope_evidence(&file).0, expected, "{to}");
    }
    file.write("sealane.yaml", FILE);
    let kept = fs::read_to_string(file.path("evidence.json")).unwrap();
    let mut aged: Value = serde_json::from_str(&kept).unwrap();
    let day = 24 * 3600 * 1000;
    aged["checked_at"] = json!(aged["checked_at"].as_u64().unwrap() - 31 * day);
    for (text, said) in [
        (aged.to_string(), "31 days ago"),
        (kept.replace("\"version\": 1", "\"version\": 2"), "of version 2"),
        ("{".to_owned(), "not what `sealane check --azure` writes"),
    ] {
        file.write("evidence.json", &text);
        let (evidence, warnings) = scope_evidence(&file);
        assert_eq!(evidence, ["declared"; 3], "{said}");
        assert!(warnings.iter().any(|one| one.contains(said)), "{warnings:?}");
    }
    assert!(!Path::new(&file.path("evidence.json.new")).exists());
}
