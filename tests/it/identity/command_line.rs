//! The verbs that call a service do so by TLS, with a token or a certificate.
use std::process::Command;

use super::{
    pki::{Authority, Time},
    world::World,
};

const CALLERS: &str = "callers:
  - { name: engine, token: { file: engine }, policy: unrestricted }
  - { name: on-call, certificate: { san: [on-call.contoso.com] }, policy: unrestricted, operator: true }
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_verb_reaches_a_service_with_tls() {
    let clients = Authority::named("clients");
    let world = World::start(&clients, CALLERS, |folder| folder.write("engine", "token-of-the-engine")).await;
    world.folder.write("ca.pem", &world.authority.pem());
    world.folder.write_pair("client", &clients.client(&["on-call.contoso.com"], Time::Now));
    let addr = format!("127.0.0.1:{}", world.address.port());
    let trust = ["--tls-ca-cert", "ca.pem", "--tls-server-name", "localhost"];
    let certificate = ["--tls-client-cert", "client.pem", "--tls-client-key", "client.key"];
    let run = |arguments: &[&[&str]]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealane"));
        command.env_clear().current_dir(world.folder.path()).args(arguments.concat()).args(["--addr", &addr]);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (arguments, code, said) in [
        (&[&["healthcheck"][..], &trust][..], 0, ""),
        (&[&["status"], &trust, &["--token-file", "engine"]], 0, ""),
        (&[&["status"], &trust, &certificate], 0, ""),
        (&[&["complete", "hi"], &trust, &certificate], 0, ""),
        (&[&["validate", "--region", "swedencentral", "--reason", "test"], &trust, &certificate], 0, ""),
        (&[&["status"], &trust], 1, "MISSING_TOKEN"),
        (&[&["status"], &trust, &certificate, &["--token-file", "engine"]], 1, "CREDENTIALS_DISAGREE"),
        (&[&["healthcheck"]], 3, "error"),
        (&[&["healthcheck"], &trust[..2]], 2, "cannot be reached"),
        (&[&["status"], &["--tls-ca-cert", "missing.pem"]], 2, "--tls-ca-cert missing.pem: No such file"),
        (&[&["status"], &certificate[..2]], 2, "--tls-client-key"),
    ] {
        let (found, stderr) = run(arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?}: {stderr}");
    }
}
