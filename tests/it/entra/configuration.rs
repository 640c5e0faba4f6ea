//! `auth` in the configuration: what a good one means, and what every mistake is told, with its line.
use std::time::Duration;

use sealane::{
    azure::{UserAssigned, default_scope},
    config::{self, Config},
};

use super::*;

/// Of what AKS gives a pod with a workload identity.
fn environment(name: &str) -> Option<String> {
    let known = [
        ("AZURE_TENANT_ID", "tenant-of-the-pod"),
        ("AZURE_CLIENT_ID", "client-of-the-pod"),
        ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/secrets/azure/tokens/azure-identity-token"),
        ("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.us/"),
        ("SECRET", "a-secret"),
        ("KEY", "a-key"),
    ];
    known.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
}

fn text(auth: &str) -> String {
    format!(
        "resources:\n  - name: swc\n    region: swedencentral\n    endpoint: https://contoso-swc.openai.azure.com\n    auth: {auth}\n\
         models:\n  - {{ name: gpt-4o, targets: [{{ resource: swc, deployment: gpt-4o, sku: Standard }}] }}\n"
    )
}

fn read(auth: &str) -> Result<Credential, String> {
    let config = Config::from_yaml(&text(auth), "/etc/sealane/sealane.yaml", environment);
    config.map(|config| config.resources[0].credential.clone()).map_err(|problems| problems.to_string())
}

fn entra(auth: &str) -> Entra {
    match read(auth).unwrap_or_else(|told| panic!("{auth}: {told}")) {
        Credential::Entra(entra) => entra,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_kind_of_identity_can_be_written() {
    let public = || "https://login.microsoftonline.com/".parse().unwrap();
    for (auth, expected) in [
        ("{ entra: managed_identity }", Identity::Managed(None)),
        ("{ entra: managed_identity, client_id: c }", Identity::Managed(Some(UserAssigned::Client("c".into())))),
        ("{ entra: managed_identity, object_id: o }", Identity::Managed(Some(UserAssigned::Object("o".into())))),
        (
            "{ entra: managed_identity, identity_resource_id: /subscriptions/s }",
            Identity::Managed(Some(UserAssigned::Resource("/subscriptions/s".into()))),
        ),
        ("{ entra: azure_cli }", Identity::AzureCli { tenant_id: None }),
        ("{ entra: azure_cli, tenant_id: contoso.com }", Identity::AzureCli { tenant_id: Some("contoso.com".into()) }),
        (
            "{ entra: client_secret, tenant_id: t, client_id: c, client_secret: { env: SECRET } }",
            Identity::ClientSecret {
                tenant_id: "t".into(),
                client_id: "c".into(),
                secret: Secret::fixed("a-secret", Form::Word).unwrap(),
                authority: public(),
            },
        ),
        (
            "{ entra: workload_identity }",
            Identity::Workload {
                tenant_id: "tenant-of-the-pod".into(),
                client_id: "client-of-the-pod".into(),
                token_file: "/var/run/secrets/azure/tokens/azure-identity-token".into(),
                authority: "https://login.microsoftonline.us/".parse().unwrap(),
            },
        ),
        (
            "{ entra: workload_identity, tenant_id: t, client_id: c, federated_token_file: token, authority_host: https://login.microsoftonline.com }",
            Identity::Workload {
                tenant_id: "t".into(),
                client_id: "c".into(),
                token_file: "/etc/sealane/token".into(),
                authority: public(),
            },
        ),
    ] {
        assert_eq!(*entra(auth).identity, expected, "{auth}");
    }
    let own = entra("{ entra: azure_cli, scope: 'https://own.test/.default' }");
    assert_eq!(own.scope.as_deref(), Some("https://own.test/.default"));
    for (path, audience) in styles() {
        assert_eq!(default_scope(&path), format!("{audience}/.default"));
    }
}

#[test]
fn every_mistake_is_told_with_its_place() {
    for (auth, told) in [
        ("{}", "`auth` must say how the service proves itself"),
        ("{ api_key: { env: KEY }, entra: azure_cli }", "give either `api_key` or `entra`, not both"),
        ("{ api_key: { env: KEY }, tenant_id: t }", "`tenant_id` belongs to `entra`, not to a key"),
        ("{ entra: managed }", "`managed` is not an identity of Entra ID, did you mean `managed_identity`?"),
        ("{ entra: azure_cli, tennant_id: t }", "unknown key `tennant_id`, did you mean `tenant_id`?"),
        ("{ entra: azure_cli, client_id: c }", "`client_id` does not belong to `entra: azure_cli`"),
        ("{ entra: managed_identity, tenant_id: t }", "`tenant_id` does not belong to `entra: managed_identity`"),
        (
            "{ entra: managed_identity, client_id: c, object_id: o }",
            "give one of `client_id`, `object_id` and `identity_resource_id`; each names the identity",
        ),
        (
            "{ entra: client_secret, client_id: c, client_secret: { env: SECRET } }",
            "`entra: client_secret` needs `tenant_id`",
        ),
        ("{ entra: client_secret, tenant_id: t, client_id: c }", "`entra: client_secret` needs `client_secret`"),
        (
            "{ entra: client_secret, tenant_id: t, client_id: c, client_secret: { env: NOT_SET } }",
            "client_secret: the environment variable `NOT_SET` is not set",
        ),
        (
            "{ entra: client_secret, tenant_id: t, client_id: c, client_secret: sk-canary }",
            "client_secret: secrets are not written into this file",
        ),
        ("{ entra: azure_cli, tenant_id: 'a b' }", "`a b` is not a tenant's id or domain"),
        ("{ entra: azure_cli, scope: cognitiveservices }", "`cognitiveservices` is not a scope such as"),
        (
            "{ entra: workload_identity, authority_host: 'http://login.test' }",
            "`http://login.test` is not the host of an authority such as",
        ),
        (
            "{ entra: workload_identity, authority_host: 'https://169.254.169.254' }",
            "`https://169.254.169.254` is not the host of an authority such as",
        ),
        (
            "{ entra: workload_identity, authority_host: 'https://login.test/tenant' }",
            "`https://login.test/tenant` is not the host of an authority such as",
        ),
    ] {
        let refusal = read(auth).unwrap_err();
        assert!(refusal.contains(told), "{auth}: {refusal}");
        assert!(refusal.contains("sealane.yaml:5:"), "{auth}: {refusal}");
        assert!(!refusal.contains("sk-canary"), "{refusal}");
    }
    let bare =
        Config::from_yaml(&text("{ entra: workload_identity }"), "sealane.yaml", |_| None).unwrap_err().to_string();
    for told in [
        "`entra: workload_identity` needs `tenant_id`, or the environment variable `AZURE_TENANT_ID`",
        "`entra: workload_identity` needs `client_id`, or the environment variable `AZURE_CLIENT_ID`",
        "`entra: workload_identity` needs `federated_token_file`, or the environment variable `AZURE_FEDERATED_TOKEN_FILE`",
    ] {
        assert!(bare.contains(told), "{bare}");
    }
}

#[test]
fn embeddings_stay_on_the_dated_path_unless_told_and_that_is_warned_of() {
    let config = |more: &str| {
        let text = text(&format!("{{ entra: azure_cli }}\n    chat: {{ path: v1 }}\n{more}"));
        Config::from_yaml(&text, "sealane.yaml", environment).unwrap_or_else(|problems| panic!("{problems}"))
    };
    let plain = config("");
    assert_eq!((&plain.resources[0].chat_path, &plain.resources[0].embeddings_path), (&PathStyle::V1, &dated()));
    let about = |config: &Config| config.warnings.iter().find(|told| told.contains("embeddings")).cloned();
    assert_eq!(about(&plain), None);
    let told = config("    embeddings: { path: v1 }\n");
    assert_eq!(told.resources[0].embeddings_path, PathStyle::V1);
    assert!(about(&told).unwrap().contains("sealane.yaml:7: Azure documents no embeddings"), "{:?}", told.warnings);
}

#[test]
fn the_schema_knows_both_ways_and_refuses_both_at_once() {
    let schema = jsonschema::validator_for(&config::schema()).unwrap();
    let valid = |auth: serde_json::Value| {
        let targets = serde_json::json!([{ "resource": "swc", "deployment": "gpt-4o", "sku": "Standard" }]);
        schema.is_valid(&serde_json::json!({
            "resources": [{ "name": "swc", "region": "swedencentral", "endpoint": "https://a.test", "auth": auth }],
            "models": [{ "name": "gpt-4o", "targets": targets }],
        }))
    };
    for (auth, expected) in [
        (serde_json::json!({ "api_key": { "env": "KEY" } }), true),
        (serde_json::json!({ "entra": "managed_identity", "client_id": "c" }), true),
        (serde_json::json!({ "entra": "managed" }), false),
        (serde_json::json!({ "entra": "azure_cli", "api_key": { "env": "KEY" } }), false),
        (serde_json::json!({}), false),
    ] {
        assert_eq!(valid(auth.clone()), expected, "{auth}");
    }
}

/// What is shown of a configuration for a bug report names nobody.
#[test]
fn a_redacted_configuration_names_no_identity() {
    let folder = crate::support::process::Folder::new("entra-redacted");
    let auth = "{ entra: client_secret, tenant_id: canary-tenant, client_id: canary-client, client_secret: { env: CANARY }, authority_host: https://canary.test }";
    let path = folder.write("sealane.yaml", &text(auth));
    let shown = config::effective(path.as_ref(), true).unwrap();
    assert!(shown.contains("client_secret") && !shown.to_lowercase().contains("canary"), "{shown}");
    let whole = config::effective(path.as_ref(), false).unwrap();
    assert!(whole.contains("canary-tenant"), "{whole}");
}

#[test]
fn nothing_of_a_credential_is_printed() {
    let plain = settings(loopback(), dated());
    let secret = ResourceSettings {
        credential: Credential::Entra(entra(
            "{ entra: client_secret, tenant_id: t, client_id: c, client_secret: { env: SECRET } }",
        )),
        connect_timeout: Duration::from_secs(1),
        ..plain
    };
    assert!(!format!("{secret:?} {}", secret.credential).contains("a-secret"));
}
