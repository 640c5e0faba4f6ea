//! `sealane check --explain`: where a caller's calls may go, in which order, and why nowhere else.
use serde_json::{Value, json};

use super::ConfigFile;

const FILE: &str = r"
resources:
  - { name: swc, region: Sweden Central, boundary: eu, endpoint: 'https://swc.example', auth: { api_key: { env: KEY } } }
  - { name: frc, region: francecentral, boundary: eu, endpoint: 'https://frc.example', auth: { api_key: { env: KEY } } }
  - { name: eus, region: eastus2, boundary: us, endpoint: 'https://eus.example', auth: { api_key: { env: KEY } } }
models:
  - name: gpt-4o
    targets:
      - { resource: eus, deployment: chat, sku: Standard }
      - { resource: swc, deployment: chat, sku: Standard }
      - { resource: frc, deployment: ptu, sku: ProvisionedManaged, spillover: { deployment: over, sku: GlobalStandard } }
      - { resource: frc, deployment: chat, sku: DataZoneStandard }
  - name: american
    targets:
      - { resource: eus, deployment: chat, sku: Standard }
policies:
  - { name: eu-only, boundaries: [eu], max_scope: data_zone, data_classes: [public, internal] }
";

const CALLERS: &str = "callers: [{ name: engine, token: { env: TOKEN }, policy: eu-only }]\n";

#[test]
fn it_says_in_which_order_and_why_not() {
    let file = ConfigFile::new("explain", &format!("{FILE}{CALLERS}"));
    let (code, told, stderr) = file.check(&["--explain", "engine", "gpt-4o"], &[]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(
        told.lines().collect::<Vec<_>>(),
        [
            "gpt-4o for engine under policy eu-only",
            "which permits any regions, boundaries eu, at most data_zone processing, one of the data classes public, internal",
            "order region resource deployment sku computes verdict",
            "✕ eastus2 eus chat Standard regional outside the policy's data boundaries",
            "1. swedencentral swc chat Standard regional primary",
            "✕ francecentral frc ptu ProvisionedManaged global, spills over to over computes global, the policy permits at \
             most data_zone",
            "2. francecentral frc chat DataZoneStandard data_zone standby",
        ]
    );
    let (code, told, _) = file.check(&["--explain", "engine", "gpt-4o", "--output", "json"], &[]);
    assert_eq!(code, 0);
    let document: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(document["policy"]["dataClasses"], json!(["public", "internal"]));
    let orders: Vec<_> = document["targets"].as_array().unwrap().iter().map(|target| &target["order"]).collect();
    assert_eq!(orders, [&Value::Null, &json!(1), &Value::Null, &json!(2)]);
    assert_eq!(
        document["targets"][2],
        json!({
            "order": null, "region": "francecentral", "boundary": "eu", "resource": "frc", "deployment": "ptu",
            "sku": "ProvisionedManaged", "spillover": "over", "processingScope": "global", "scopeEvidence": "declared",
            "permitted": false, "refusal": "computes global, the policy permits at most data_zone",
        })
    );
}

#[test]
fn its_exit_code_says_whether_anything_is_permitted() {
    let file = ConfigFile::new("explain-codes", &format!("{FILE}{CALLERS}"));
    for (args, code, said) in [
        (["--explain", "engine", "american"], 5, "policy eu-only permits caller engine no target of model american"),
        (["--explain", "nobody", "gpt-4o"], 2, "there is no caller \"nobody\"; there are engine"),
        (["--explain", "engine", "gpt-5"], 2, "there is no model \"gpt-5\"; there are gpt-4o, american"),
    ] {
        let (found, _, stderr) = file.check(&args, &[]);
        assert_eq!(found, code, "{args:?}: {stderr}");
        assert!(stderr.contains(said), "{args:?}: {stderr}");
    }
    let narrow = CALLERS.replace("policy: eu-only", "policy: eu-only, models: [gpt-4o]");
    let narrow = ConfigFile::new("explain-models", &format!("{FILE}{narrow}"));
    let (code, _, stderr) = narrow.check(&["--explain", "engine", "american"], &[]);
    assert_eq!(code, 5);
    assert!(stderr.contains("caller engine may not use model american; its `models` are gpt-4o"), "{stderr}");
    let open = ConfigFile::new("explain-open", &format!("{FILE}default_policy: eu-only\n"));
    assert_eq!(open.check(&["--explain", "anyone", "gpt-4o"], &[]).0, 0);
    let (code, _, stderr) = open.check(&["--explain", "engine", "gpt-4o"], &[]);
    assert_eq!(code, 2);
    assert!(stderr.contains("there are anyone"), "{stderr}");
}

/// A promise that cannot be kept refuses the start; that a policy leaves some model out does not.
#[test]
fn a_caller_that_is_promised_a_model_must_have_a_target_for_it() {
    let promised = CALLERS.replace("policy: eu-only", "policy: eu-only, models: [american]");
    let file = ConfigFile::new("promised", &format!("{FILE}{promised}"));
    let (code, _, stderr) = file.check(&[], &[]);
    assert_eq!(code, 3, "{stderr}");
    let told = "policy `eu-only` permits this caller no target of model `american`: `chat` at `eus` in eastus2: outside \
                the policy's data boundaries";
    assert!(stderr.contains(told), "{stderr}");
    let file = ConfigFile::new("left-out", &format!("{FILE}{CALLERS}"));
    let (code, _, stderr) = file.check(&[], &[]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("permits no target of model `american`: it answers FAILED_PRECONDITION"), "{stderr}");
}
