//! `sealane parity`: one table for people, one document for CI, and an exit code.
use std::collections::BTreeMap;

use serde_json::Value;

use super::*;
use crate::support::process::{Folder, configuration, sealane};

/// Two regions, and a configuration over them.
struct Pair {
    estate: Estate,
    folder: Folder,
    config: String,
}

impl Pair {
    fn start(name: &str, extra: &str) -> Self {
        let estate = Estate::start(&format!("parity-{name}"));
        let region = |name: &str, at: std::net::SocketAddr| serde_json::json!({ "region": name, "endpoint": format!("http://{at}") });
        let regions = [region(SWC, estate.swc.address()), region(FRC, estate.frc.address())];
        let folder = Folder::new(&format!("parity-{name}"));
        let text = configuration(&serde_json::json!({ "regions": regions }), extra);
        let text = text.replace("  - name: gpt-4o\n", "  - name: gpt-4o\n    vision: true\n");
        let config = folder.write("sealane.yaml", &text);
        Self { estate, folder, config }
    }

    /// Exit code, standard output and standard error.
    async fn parity(&self, args: &[&str]) -> (i32, String, String) {
        let mut command = sealane(&["parity", "--config", &self.config]);
        command.args(args);
        // The regions live in this process, which must not stand still meanwhile.
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
    }

    /// `model region check` to `result: detail`, and whether all agrees.
    async fn document(&self) -> (i32, bool, BTreeMap<String, String>) {
        let (code, stdout, stderr) = self.parity(&["--json"]).await;
        let document: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"));
        let list = |value: &Value, key: &str| value[key].as_array().unwrap().clone();
        let word = |value: &Value, key: &str| value[key].as_str().unwrap().to_owned();
        let mut found = BTreeMap::new();
        for model in list(&document, "models") {
            for target in list(&model, "targets") {
                for check in list(&target, "checks") {
                    let key = [word(&model, "model"), word(&target, "region"), word(&check, "check")].join(" ");
                    found.insert(key, format!("{}: {}", word(&check, "result"), word(&check, "detail")));
                }
            }
        }
        (code, document["agrees"].as_bool().unwrap(), found)
    }
}

#[tokio::test]
async fn equal_targets_are_told_in_a_table_and_pass() {
    let pair = Pair::start("equal", "");
    let (code, stdout, stderr) = pair.parity(&[]).await;
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let expected = "\
gpt-4o
  check        swedencentral swedencentral  francecentral francecentral
  chat         ● stop                       ● stop
  stream       ● stop                       ● stop
  tools        ● called                     ● called
  JSON schema  ● followed                   ● followed
  vision       ● stop                       ● stop
  model        ● gpt-4o-2024-11-20          ● gpt-4o-2024-11-20

text-embedding-3-large text-embedding-3-large/1/3072
  check       swedencentral swedencentral  francecentral francecentral
  vectors     ● 2 vectors                  ● 2 vectors
  dimensions  ● 3072                       ● 3072
  shortened   ● 256                        ● 256
  model       ● text-embedding-3-large     ● text-embedding-3-large
  cosine      ● 1.0000                     ● 1.0000
";
    assert_eq!(stdout, expected);
    let (code, stdout, _) = pair.parity(&["--model", "text-embedding-3-large"]).await;
    assert_eq!((code, stdout.contains("gpt-4o")), (0, false));
    let (code, _, stderr) = pair.parity(&["--model", "gpt-5"]).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("there is no model \"gpt-5\"; there are gpt-4o, text-embedding-3-large"), "{stderr}");
}

#[tokio::test]
async fn what_differs_or_fails_is_told_where_it_does() {
    let pair = Pair::start("unequal", "");
    let upgraded = Fault::ServedModel { model: "gpt-4o-2099-01-01".into() };
    let refused = Fault::Status { status: 503, retry_after: None, retry_after_ms: None, body: Default::default() };
    for (what, fault, expected) in [
        (
            "another version",
            FaultRule::from(upgraded).on_operation(Operation::Chat),
            &[("gpt-4o francecentral model", "differs: gpt-4o-2099-01-01"), ("gpt-4o francecentral chat", "ok: stop")]
                [..],
        ),
        ("other vectors", drift(), &[("text-embedding-3-large francecentral cosine", "differs: ")]),
        (
            "another length",
            shrink(),
            &[
                ("text-embedding-3-large francecentral vectors", "differs: its vectors have 1536 numbers, not 3072"),
                ("text-embedding-3-large francecentral dimensions", "differs: 1536, declared 3072"),
                ("text-embedding-3-large francecentral cosine", "skipped: no vector"),
            ],
        ),
        (
            "out of order",
            FaultRule::from(refused).on_operation(Operation::Chat),
            &[
                ("gpt-4o francecentral chat", "fails: unavailable (HTTP 503)"),
                ("gpt-4o francecentral stream", "fails: unavailable (HTTP 503)"),
                ("gpt-4o francecentral model", "skipped: not stated"),
                ("text-embedding-3-large francecentral vectors", "ok: 2 vectors"),
            ],
        ),
    ] {
        pair.estate.frc.faults().set(vec![fault]);
        let (code, agrees, found) = pair.document().await;
        assert_eq!((code, agrees), (1, false), "{what}");
        for (check, told) in expected {
            assert!(found[*check].starts_with(told), "{what}: {check} is {}", found[*check]);
        }
        let others = found.iter().filter(|(check, _)| check.contains(SWC));
        others.for_each(|(check, told)| assert!(told.starts_with("ok"), "{what}: {check} is {told}"));
    }
    let (_, _, stderr) = pair.parity(&[]).await;
    assert!(stderr.contains("no parity: 5 failed, 0 differ"), "{stderr}");
    pair.estate.frc.faults().clear();
    let (code, agrees, _) = pair.document().await;
    assert_eq!((code, agrees), (0, true));
}

/// Test calls obey a policy too, and so does this.
#[tokio::test]
async fn what_no_policy_permits_is_not_asked() {
    let extra = "default_policy: swedish\npolicies: [{ name: swedish, regions: [swedencentral] }]\n";
    let pair = Pair::start("policy", extra);
    let (code, agrees, found) = pair.document().await;
    assert_eq!((code, agrees), (0, true));
    assert_eq!(found["gpt-4o francecentral permitted"], "skipped: no policy permits it");
    let counters = pair.estate.frc.counters();
    assert_eq!(counters.requests(Operation::Chat) + counters.requests(Operation::Embeddings), 0);
}

/// Vectors are held against the kept reference, until somebody says that the new ones are meant.
#[tokio::test]
async fn a_new_reference_is_accepted_on_purpose_only() {
    let pair = Pair::start("accept", "state_file: state.json\n");
    let (code, stdout, stderr) = pair.parity(&["--accept"]).await;
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stderr.contains("accepted for text-embedding-3-large/1/3072"), "{stderr}");
    assert!(pair.parity(&[]).await.1.contains("1.0000 to the reference"));
    for region in [&pair.estate.swc, &pair.estate.frc] {
        region.faults().add(drift());
        assert_eq!(pair.parity(&[]).await.0, 1, "one has drifted, or both");
    }
    assert_eq!(pair.parity(&["--accept"]).await.0, 0, "they agree with each other");
    assert_eq!(pair.parity(&[]).await.0, 0);
    pair.estate.swc.faults().clear();
    let (code, _, stderr) = pair.parity(&["--accept"]).await;
    assert_eq!((code, stderr.contains("accepted")), (1, false), "nothing to agree on: {stderr}");
    let without =
        pair.folder.write("without.yaml", &fs::read_to_string(&pair.config).unwrap().replace("state_file", "#"));
    let without = Pair { config: without, ..pair };
    let (code, _, stderr) = without.parity(&["--accept"]).await;
    assert_eq!(code, 2);
    assert!(stderr.contains("--accept needs a `state_file`"), "{stderr}");
}
