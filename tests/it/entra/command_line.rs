//! What `sealane check` and `sealane simulate` say, and that a process gets tokens over real TLS and from the Azure CLI.
use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use serde_json::{Value, json};

use super::*;
use crate::support::{
    authority::Authority,
    process::{Folder, Running, sealane},
};

fn configuration(region: SocketAddr, auth: &str) -> String {
    format!(
        "listen: 127.0.0.1:0\nresources:\n  - {{ name: swc, region: swedencentral, endpoint: 'http://{region}', auth: {{ {auth} }} }}\n\
         models:\n  - {{ name: gpt-4o, targets: [{{ resource: swc, deployment: gpt-4o, sku: Standard }}] }}\n"
    )
}

async fn run(mut command: Command) -> (Option<i32>, String, String) {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// `sealane check --endpoints` of one resource, as people and as programs read it.
async fn check(folder: &Folder, configuration: &str, set: &BTreeMap<&str, String>) -> (Option<i32>, String, Value) {
    let file = folder.write("sealane.yaml", configuration);
    let command = |more: &[&str]| {
        let mut command = sealane(&["check", "--endpoints", "--config", &file]);
        command.args(more).envs(set);
        command
    };
    let (code, shown, stderr) = run(command(&[])).await;
    let (_, document, _) = run(command(&["--output", "json"])).await;
    (code, format!("{shown}{stderr}"), serde_json::from_str(&document).unwrap_or_default())
}

/// An endpoint over TLS, and the environment of a process that believes its certificate.
fn with_tls(folder: &str) -> (Authority, SimulatedIdentity) {
    let authority = Authority::new(folder);
    let mut tls = rustls::ServerConfig::clone(&authority.server("localhost", 2040));
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let identity = SimulatedIdentity::start_tls(IdentitySettings::default(), loopback(), Arc::new(tls)).unwrap();
    (authority, identity)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_fetches_a_token_over_tls_and_says_whose_it_is() {
    let (authority, identity) = with_tls("entra-check");
    let accepted = RegionSettings { issued_tokens: Some(identity.tokens()), ..RegionSettings::default() };
    let region = SimulatedRegion::start(accepted, loopback()).unwrap();
    let folder = Folder::new("entra-check");
    let port = identity.address().port();
    let text = configuration(
        region.address(),
        &format!(
            "entra: client_secret, tenant_id: simulated-tenant, client_id: application, client_secret: {{ env: SECRET }}, authority_host: 'https://localhost:{port}'"
        ),
    );
    let mut set =
        BTreeMap::from([("SECRET", "simulated-secret".to_owned()), ("SSL_CERT_FILE", authority.file.clone())]);
    let (code, shown, document) = check(&folder, &text, &set).await;
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("entra client_secret, client application"), "{shown}");
    assert!(shown.contains("with a token for 60 min"), "{shown}");
    assert_eq!(document["resources"][0]["credential"], "entra client_secret, client application");
    assert!(document["endpoints"][0]["tokenSeconds"].as_u64().unwrap() > 3500, "{document}");

    set.insert("SECRET", "canary-wrong-secret".to_owned());
    let (code, shown, document) = check(&folder, &text, &set).await;
    assert_ne!(code, Some(0), "{shown}");
    assert!(shown.contains("no token: the identity endpoint answers HTTP 401 (AADSTS7000215)"), "{shown}");
    assert_eq!(document["endpoints"][0]["reachable"], json!(false));
    assert!(!shown.contains("canary"), "{shown}");

    // Nobody vouches for the certificate.
    set.remove("SSL_CERT_FILE");
    let (_, shown, _) = check(&folder, &text, &set).await;
    assert!(shown.contains("no token: the identity endpoint cannot be reached"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_azure_cli_is_asked_on_laptops() {
    let settings = RegionSettings { bearer_tokens: vec!["token-of-the-login".into()], ..RegionSettings::default() };
    let region = SimulatedRegion::start(settings, loopback()).unwrap();
    let folder = Folder::new("entra-cli");
    let script = folder.write(
        "az",
        "#!/bin/sh\necho \"$@\" >> \"$(dirname \"$0\")/asked\"\n\
         echo '{\"accessToken\": \"token-of-the-login\", \"expires_on\": 4102444800, \"tokenType\": \"Bearer\"}'\n",
    );
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let here = Path::new(&script).parent().unwrap();
    let path = |first: &Path| format!("{}:/usr/bin:/bin", first.display());
    let text = configuration(region.address(), "entra: azure_cli, tenant_id: contoso.com");
    let (code, shown, _) = check(&folder, &text, &BTreeMap::from([("PATH", path(here))])).await;
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("entra azure_cli, tenant contoso.com"), "{shown}");
    let asked = fs::read_to_string(here.join("asked")).unwrap();
    let wanted =
        "account get-access-token -o json --scope https://cognitiveservices.azure.com/.default --tenant contoso.com";
    assert_eq!(asked.lines().next(), Some(wanted));

    // Whatever it says of the login stays where it is.
    folder.write("az", "#!/bin/sh\necho 'canary: please run az login' >&2\nexit 1\n");
    let (code, shown, _) = check(&folder, &text, &BTreeMap::from([("PATH", path(here))])).await;
    assert_ne!(code, Some(0));
    assert!(shown.contains("`az login` done?") && !shown.contains("canary"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn simulated_regions_take_tokens_of_the_simulated_endpoint() {
    let simulator = Running::start(&["simulate", "--region", "swedencentral", "--identity"]);
    let of = |value: &Value| value.as_str().unwrap().to_owned();
    let region = of(&simulator.ready["regions"][0]["endpoint"]).trim_start_matches("http://").parse().unwrap();
    let endpoint = format!("{}/msi/token", of(&simulator.ready["identity"]));
    let folder = Folder::new("entra-simulate");
    let header = "simulated-identity-header".to_owned();
    let set = BTreeMap::from([("IDENTITY_ENDPOINT", endpoint), ("IDENTITY_HEADER", header)]);
    let text = configuration(region, "entra: managed_identity");
    let (code, shown, _) = check(&folder, &text, &set).await;
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.contains("entra managed_identity, system-assigned"), "{shown}");
}

/// The process at trace level, with a secret, a token of the cluster and the tokens that they bring; also refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_and_no_token_is_written_down() {
    let (authority, identity) = with_tls("entra-canary");
    let accepted = RegionSettings { issued_tokens: Some(identity.tokens()), ..RegionSettings::default() };
    let region = SimulatedRegion::start(accepted, loopback()).unwrap();
    let folder = Folder::new("entra-canary");
    folder.write("federated", "simulated-assertion");
    let (at, port) = (region.address(), identity.address().port());
    let of = |name: &str, auth: &str| {
        format!(
            "  - {{ name: {name}, region: swedencentral, endpoint: 'http://{at}', auth: {{ {auth}, tenant_id: simulated-tenant, client_id: application, authority_host: 'https://localhost:{port}' }} }}\n"
        )
    };
    let text = format!(
        "listen: 127.0.0.1:0\nresources:\n{}{}models:\n  - {{ name: gpt-4o, targets: [{{ resource: secret, deployment: gpt-4o, sku: Standard }}, {{ resource: cluster, deployment: gpt-4o, sku: Standard }}] }}\n",
        of("secret", "entra: client_secret, client_secret: { env: SECRET }"),
        of("cluster", "entra: workload_identity, federated_token_file: federated"),
    );
    let mut command = sealane(&["check", "--endpoints", "--config", &folder.write("sealane.yaml", &text)]);
    command.envs([("SECRET", "simulated-secret"), ("SSL_CERT_FILE", &authority.file), ("RUST_LOG", "trace")]);
    let (_, shown, _) = run(command).await;
    assert!(shown.contains("● answered"), "{shown}");
    let file = folder.write("sealane.yaml", &text);
    let log = Path::new(&file).with_file_name("log");
    let mut command = sealane(&["serve", "--output", "json", "--config", &file]);
    command.envs([("SECRET", "simulated-secret"), ("SSL_CERT_FILE", &authority.file), ("RUST_LOG", "trace")]);
    command.stdout(std::process::Stdio::piped()).stderr(fs::File::create(&log).unwrap());
    let mut child = command.spawn().unwrap();
    let mut ready = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut ready).unwrap();
    let ready: Value = serde_json::from_str(&ready).unwrap();
    let channel = crate::support::world::connect(ready["listening"].as_str().unwrap().parse().unwrap()).await;
    let mut client = sealane::grpc::pb::inference_service_client::InferenceServiceClient::new(channel);
    client.complete(crate::support::service::hi()).await.unwrap();
    let mut texts = identity.tokens().texts();
    identity.tokens().revoke();
    client.complete(crate::support::service::hi()).await.unwrap();
    texts.extend(identity.tokens().texts());
    identity.tokens().revoke();
    identity.fail(Some(sealane::simulator::IdentityFault::InvalidClient));
    let refused = format!("{:?}", client.complete(crate::support::service::hi()).await.unwrap_err());
    child.kill().unwrap();
    child.wait().unwrap();
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("\"level\":\"TRACE\"") && log.contains("AADSTS7000215"), "nothing was written");
    assert!(texts.len() >= 3, "{}", texts.len());
    texts.extend(["simulated-secret".to_owned(), "simulated-assertion".to_owned()]);
    for text in texts {
        assert!(!log.contains(&text) && !refused.contains(&text), "{text}");
    }
}
