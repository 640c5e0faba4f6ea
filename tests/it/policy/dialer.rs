//! What keeps data from going where no policy was asked: the dialer's one argument, and who can make it. That nobody
//! outside `core::policy` can is a `compile_fail` example there; this is the rest.
use std::{fs, path::Path};

use sealane::upstream::AttemptOrder;
use sealane_core::policy::PermittedTarget;

/// Compiles only while an attempt is ordered with a permitted target.
#[allow(dead_code)]
fn an_order_names(order: AttemptOrder) -> PermittedTarget {
    order.target
}

/// Every line of our sources, tests left out, as `path`, `line`.
fn lines() -> Vec<(String, String)> {
    fn visit(folder: &Path, root: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.file_stem().is_some_and(|stem| stem == "tests") {
                continue;
            }
            if path.is_dir() {
                visit(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
                let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
                found.extend(code.map(|line| (name.clone(), line.trim().to_owned())));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["src", "core/src"] {
        visit(&root.join(folder), root, &mut found);
    }
    assert!(found.len() > 10_000, "the sources were not found");
    found
}

/// The files in which a line holds these words, each once.
fn files_with(words: &str) -> Vec<String> {
    let mut files: Vec<String> =
        lines().into_iter().filter(|(_, line)| line.contains(words)).map(|(file, _)| file).collect();
    files.dedup();
    files.sort_unstable();
    files
}

#[test]
fn a_permitted_target_is_made_in_one_place_and_a_test_calls_only_by_the_router_and_by_parity() {
    let policy = "core/src/policy/mod.rs";
    let made: Vec<_> =
        lines().into_iter().filter(|(_, line)| line.contains("PermittedTarget {") && !line.contains("fn ")).collect();
    let (told, literals): (Vec<_>, Vec<_>) = made.into_iter().partition(|(_, line)| {
        line.starts_with("pub struct PermittedTarget {") || line.starts_with("impl PermittedTarget {")
    });
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(
        literals,
        [(
            policy.to_owned(),
            "PermittedTarget { target: Arc::clone(target), policy: Arc::clone(&self.name) }".to_owned()
        )]
    );
    assert_eq!(files_with(".mint("), [policy]);
    // One that serves a call would pass by the request's own wishes.
    // Parity makes test calls at an operator's word.
    assert_eq!(files_with(".permit_test_call("), ["core/src/router/proving.rs", "src/cli/parity/mod.rs"]);
    // Every choice asks the call's policy, and what that has become since; `dispatch` asks what to journal, and
    // `passed_over` why a trace names another target.
    assert_eq!(
        files_with(".permit("),
        [
            "core/src/router/choice.rs",
            "core/src/router/passed_over.rs",
            "core/src/router/succession.rs",
            "src/dispatch/mod.rs"
        ]
    );
}

#[test]
fn only_the_dialer_the_control_plane_and_identities_send_requests() {
    // The last one sends what proves us, to identity endpoints.
    let senders = ["src/azure/arm.rs", "src/azure/client.rs", "src/azure/credential/transport.rs"];
    assert_eq!(files_with(".send()"), senders);
    let of_the_dialer = |what: &str| -> Vec<String> {
        let lines = lines().into_iter().filter(|(file, line)| file == "src/azure/client.rs" && line.contains(what));
        lines.map(|(_, line)| line).collect()
    };
    assert_eq!(of_the_dialer(".send()"), ["let response = timeout_at(until, asking.send()).await.map_err(silent)?;"]);
    // It sends what carries a proof, at first or once more.
    assert_eq!(of_the_dialer(" sent(").len(), 3, "{:?}", of_the_dialer(" sent("));
    // One for attempts, whose order names a permitted target; one for the models list, which carries no caller's data.
    assert_eq!(
        of_the_dialer("proven("),
        [
            "let response = proven(asking, &resource.credentials.chat, until).await?;",
            "let response = proven(asking, resource.proof(request.operation), until).await?;",
            "async fn proven(asking: RequestBuilder, proof: &Proof, until: Instant) -> Result<Response, Failure> {",
        ]
    );
}
