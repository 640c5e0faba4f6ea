//! Who may use whom. Reads `src/` and `core/src/`, and fails when a module names something that its row of the
//! tables below does not list, or when modules depend on each other in a circle. Unit tests are exempt.
//!
//! To let a module use another, add it to the row: that is a decision about the architecture, so say why in the
//! commit, and keep ARCHITECTURE.md true.
mod imports;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use imports::{Import, imports};

/// What each top-level module of `src/` may use of ours; `core::` marks the modules of `sealane-core`.
const MODULES: &[(&str, &[&str])] = &[
    ("lib", &[]),
    ("main", &["cli"]),
    (
        "cli",
        &[
            "audit",
            "azure",
            "clock",
            "config",
            "grpc",
            "references",
            "server",
            "simulator",
            "telemetry",
            "upstream",
            "core::domain",
            "core::policy",
            "core::router",
        ],
    ),
    (
        "server",
        &[
            "audit",
            "azure",
            "clock",
            "config",
            "credentials",
            "dispatch",
            "grpc",
            "identity",
            "in_force",
            "listener",
            "ops",
            "prober",
            "references",
            "standings",
            "telemetry",
            "tls",
            "upstream",
            "core::domain",
            "core::policy",
            "core::router",
        ],
    ),
    ("ops", &["clock", "telemetry", "core::domain", "core::router"]),
    ("prober", &["dispatch", "upstream", "core::domain", "core::router"]),
    ("references", &["dispatch", "upstream", "core::domain", "core::router"]),
    ("standings", &["audit", "dispatch", "telemetry", "upstream", "core::domain", "core::router"]),
    (
        "config",
        &[
            "audit",
            "azure",
            "clock",
            "identity",
            "secret",
            "telemetry",
            "tls",
            "core::domain",
            "core::policy",
            "core::quota",
            "core::router",
        ],
    ),
    (
        "grpc",
        &[
            "audit",
            "clock",
            "dispatch",
            "identity",
            "in_force",
            "telemetry",
            "tls",
            "upstream",
            "core::domain",
            "core::ingest",
            "core::policy",
            "core::quota",
            "core::router",
        ],
    ),
    ("credentials", &["clock", "identity", "secret", "tls"]),
    ("identity", &["secret", "tls", "core::domain", "core::policy", "core::quota"]),
    ("in_force", &[]),
    ("listener", &["telemetry", "tls"]),
    ("tls", &["secret"]),
    ("secret", &[]),
    (
        "dispatch",
        &["audit", "clock", "telemetry", "upstream", "core::domain", "core::ingest", "core::policy", "core::router"],
    ),
    ("audit", &["core::domain"]),
    ("azure", &["in_force", "secret", "upstream", "core::domain", "core::policy"]),
    ("upstream", &["secret", "core::domain", "core::policy"]),
    ("telemetry", &["core::domain", "core::router"]),
    ("simulator", &[]),
    ("clock", &["core::domain"]),
    ("core::lib", &[]),
    ("core::router", &["core::domain", "core::policy", "core::quota"]),
    ("core::policy", &["core::domain"]),
    ("core::ingest", &["core::domain"]),
    ("core::quota", &["core::domain"]),
    ("core::domain", &[]),
];

/// Crates that only some modules may name, so that what they stand for stays in one place.
const CRATES: &[(&[&str], &[&str], &str)] = &[
    (
        &["tonic", "tonic_health", "tonic_prost", "tonic_reflection", "tonic_types", "prost", "prost_types"],
        &["grpc", "server", "listener", "cli"],
        "gRPC and Protobuf end at the edge",
    ),
    (
        &["tokio_rustls", "webpki"],
        &["listener", "tls", "simulator"],
        "only listeners do handshakes, the simulated identity endpoint's among them; certificates are tls's",
    ),
    (&["reqwest"], &["azure", "config"], "only the adapter calls out; the configuration has its address type"),
    (&["azure_core", "azure_identity"], &["azure"], "only the adapter knows how Azure is convinced"),
    (&["h2"], &["azure"], "only the adapter reads what HTTP/2 says of a request"),
    (&["hyper", "hyper_util"], &["ops", "simulator", "server"], "only servers speak HTTP below their framework"),
    (
        &[
            "opentelemetry",
            "opentelemetry_otlp",
            "opentelemetry_prometheus",
            "opentelemetry_sdk",
            "prometheus",
            "tracing_opentelemetry",
            "tracing_subscriber",
        ],
        &["telemetry"],
        "spans, metrics and their names are one module's business",
    ),
    (&["clap", "clap_complete", "console"], &["cli"], "only the command line speaks to a terminal"),
    (&["schemars", "strsim"], &["config"], "only the configuration explains itself"),
];

/// Words that have no place in `core/src/`: time and chance are arguments there, and it touches nothing outside.
const IMPURE: &[&str] = &["Instant", "SystemTime", "thread_rng", "RandomState", "tokio", "println", "eprintln"];
/// Modules of the standard library that reach outside the process.
const OUTSIDE: &[&str] = &["env", "fs", "io", "net", "os", "process", "thread"];

#[test]
fn modules_use_only_what_their_row_allows() {
    let violations: Vec<String> = sources().iter().flat_map(violations).collect();
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn no_modules_depend_on_each_other() {
    let sources = sources();
    let circle = circle(&dependencies(&sources));
    assert!(circle.is_none(), "modules depend on each other in a circle: {}", circle.unwrap().join(" -> "));
}

#[test]
fn the_table_lists_the_modules_that_exist() {
    let there: BTreeSet<String> = sources().into_iter().map(|source| source.module).collect();
    let listed: BTreeSet<String> = MODULES.iter().map(|(module, _)| (*module).to_owned()).collect();
    assert_eq!(there, listed);
}

#[test]
fn the_core_depends_on_the_standard_library_alone() {
    let manifest = fs::read_to_string(root().join("core/Cargo.toml")).unwrap();
    assert!(!manifest.lines().any(|line| line.trim() == "[dependencies]"), "core/Cargo.toml has dependencies");
}

/// A check that cannot fail checks nothing.
#[test]
fn the_check_sees_every_way_to_name_a_module() {
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "src/dispatch/run.rs",
            "use crate::azure::Azure;",
            &["src/dispatch/run.rs:1: `dispatch` must not use `azure`"],
        ),
        (
            "src/dispatch/run.rs",
            "use crate::{\n  clock::Clock,\n  azure::{\n    self,\n  },\n};",
            &[":4: `dispatch` must not use `azure`"],
        ),
        (
            "src/dispatch/run.rs",
            "\nfn f() -> crate::grpc::pb::Usage { todo!() }",
            &[":2: `dispatch` must not use `grpc`"],
        ),
        ("src/dispatch/run.rs", "use super::super::azure;", &["`dispatch` must not use `azure`"]),
        ("src/dispatch/mod.rs", "use super::azure as cloud;", &["`dispatch` must not use `azure`"]),
        ("src/dispatch/mod.rs", "mod inner { use super::super::azure; }", &["`dispatch` must not use `azure`"]),
        ("src/main.rs", "fn main() { sealane::server::run() }", &["`main` must not use `server`"]),
        (
            "src/azure/client.rs",
            "use sealane_core::{domain::Failure, router::Router};",
            &["`azure` must not use `core::router`"],
        ),
        ("src/azure/client.rs", "fn f(s: ::tonic::Status) {}", &["`azure` must not name `tonic`", "grpc"]),
        ("src/azure/client.rs", "use tonic as t;", &["`azure` must not name `tonic`"]),
        ("src/azure/client.rs", "extern crate prost;", &["`azure` must not name `prost`"]),
        ("src/upstream.rs", "pub(crate) use crate::dispatch::*;", &["`upstream` must not use `dispatch`"]),
        ("src/grpc/mod.rs", "#[cfg(not(test))] use reqwest::Client;", &["`grpc` must not name `reqwest`"]),
        ("src/grpc/mod.rs", "use crate::newcomer::Thing;", &["`grpc` uses `newcomer`, which has no row"]),
        ("core/src/domain/time.rs", "use crate::router::Router;", &["`core::domain` must not use `core::router`"]),
        ("core/src/router/mod.rs", "let now = std::time::Instant::now();", &["`core::router` must not name `Instant`"]),
        ("core/src/router/mod.rs", "use std::{fmt, time::{Duration, SystemTime}};", &["must not name `SystemTime`"]),
        ("core/src/policy/mod.rs", "use std::{fmt, fs};", &["`core::policy` must not name `std::fs`"]),
    ];
    for (path, code, expected) in cases {
        let found = violations(&Source::new(path, code));
        assert_eq!(found.len(), 1, "{code}\n{found:?}");
        for part in *expected {
            assert!(found[0].contains(part), "{code}\n{found:?} lacks {part:?}");
        }
    }
}

#[test]
fn the_check_is_quiet_about_what_is_allowed() {
    let cases = [
        ("src/dispatch/run.rs", "use crate::{clock::Clock, upstream::Upstream};\nuse super::Served;"),
        ("src/dispatch/run.rs", "// use crate::azure::Azure;\n/* crate::grpc /* nested */ tonic::Status */"),
        ("src/dispatch/run.rs", r##"const A: &str = "crate::azure::x"; const B: &str = r#"use tonic::"quoted";"#;"##),
        ("src/dispatch/run.rs", "fn f<'a>(c: char) -> bool { c == '\"' || c == '\\'' } // \" crate::azure\n"),
        ("src/dispatch/run.rs", "#[cfg(test)]\nmod tests {\n    use crate::azure::Azure;\n}\n"),
        ("src/dispatch/run.rs", "#[cfg(test)]\n#[allow(dead_code)]\nuse crate::azure::Azure;"),
        ("src/azure/client.rs", "use reqwest::Client;\nuse self::wire::Body;\nuse super::settings::ResourceSettings;"),
        ("src/upstream.rs", "fn f() -> impl Future + use<> { async {} }"),
        ("core/src/router/mod.rs", "use crate::domain::Moment;\nfn f(now: Moment) -> std::time::Duration { todo!() }"),
    ];
    for (path, code) in cases {
        assert_eq!(violations(&Source::new(path, code)), Vec::<String>::new(), "{code}");
    }
}

#[test]
fn the_check_finds_circles() {
    let sources = [
        Source::new("src/grpc/mod.rs", "use crate::dispatch::Dispatcher;"),
        Source::new("src/dispatch/mod.rs", "use crate::upstream::Upstream;"),
        Source::new("src/upstream.rs", "use crate::grpc::pb;"),
    ];
    let found = circle(&dependencies(&sources)).unwrap();
    assert_eq!(found, ["dispatch", "upstream", "grpc", "dispatch"]);
    assert!(dependencies(&sources[..2]).contains_key("grpc"));
    assert_eq!(circle(&dependencies(&sources[..2])), None);
}

/// One source file, and the top-level module that it belongs to.
struct Source {
    path: String,
    module: String,
    imports: Vec<Import>,
}

impl Source {
    fn new(path: &str, code: &str) -> Self {
        let (inside, prefix) = match path.strip_prefix("core/src/") {
            Some(inside) => (inside, "core::"),
            None => (path.strip_prefix("src/").unwrap(), ""),
        };
        let mut segments: Vec<&str> = inside.trim_end_matches(".rs").split('/').collect();
        if segments.last() == Some(&"mod") {
            segments.pop();
        }
        let module = format!("{prefix}{}", segments[0]);
        if matches!(segments[..], ["lib" | "main"]) {
            segments.pop();
        }
        Self { path: path.to_owned(), module, imports: imports(code, &segments) }
    }

    /// What of ours an import names: a module of `src/`, or `core::` and one of the core's.
    fn module_of(&self, import: &Import) -> Option<String> {
        let module = import.path.get(1)?;
        let in_core = self.path.starts_with("core/");
        match import.path[0].as_str() {
            "crate" if in_core => Some(format!("core::{module}")),
            "crate" | "sealane" => Some(module.clone()),
            "sealane_core" => Some(format!("core::{module}")),
            _ => None,
        }
        .filter(|used| *used != self.module)
    }
}

/// Everything in one file that the tables forbid, as lines that say what would be allowed.
fn violations(source: &Source) -> Vec<String> {
    let module = &source.module;
    let Some((_, allowed)) = MODULES.iter().find(|(name, _)| name == module) else {
        return vec![format!("{}: module `{module}` has no row in tests/it/layers.rs", source.path)];
    };
    let mut found = BTreeSet::new();
    for import in &source.imports {
        let place = format!("{}:{}", source.path, import.line);
        if let Some(used) = source.module_of(import) {
            if !MODULES.iter().any(|(name, _)| *name == used) {
                found.insert(format!("{place}: `{module}` uses `{used}`, which has no row in tests/it/layers.rs"));
            } else if !allowed.contains(&used.as_str()) {
                found.insert(format!("{place}: `{module}` must not use `{used}`; it may use {}", listed(allowed)));
            }
        }
        for (crates, users, why) in CRATES {
            if crates.contains(&import.path[0].as_str()) && !users.contains(&module.as_str()) {
                let name = &import.path[0];
                found.insert(format!("{place}: `{module}` must not name `{name}`, only {} may: {why}", listed(users)));
            }
        }
        if module.starts_with("core::") {
            found.extend(impurity(import).map(|name| {
                format!(
                    "{place}: `{module}` must not name `{name}`: time and chance are arguments, nothing else enters"
                )
            }));
        }
    }
    found.into_iter().collect()
}

fn impurity(import: &Import) -> Option<String> {
    if let Some(word) = import.path.iter().find(|word| IMPURE.contains(&word.as_str())) {
        return Some(word.clone());
    }
    match &import.path[..] {
        [first, second, ..] if first == "std" && OUTSIDE.contains(&second.as_str()) => Some(format!("std::{second}")),
        _ => None,
    }
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "nothing of ours".to_owned() } else { names.join(", ") }
}

/// Which modules each module really uses.
fn dependencies(sources: &[Source]) -> BTreeMap<String, BTreeSet<String>> {
    let mut dependencies: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources {
        let used = source.imports.iter().filter_map(|import| source.module_of(import));
        dependencies.entry(source.module.clone()).or_default().extend(used);
    }
    dependencies
}

/// Some circle, first module repeated at its end.
fn circle(dependencies: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn visit<'a>(
        module: &'a str,
        dependencies: &'a BTreeMap<String, BTreeSet<String>>,
        way: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<String>> {
        if let Some(start) = way.iter().position(|before| *before == module) {
            way.push(module);
            return Some(way[start..].iter().map(|name| (*name).to_owned()).collect());
        }
        if !done.insert(module) {
            return None;
        }
        way.push(module);
        let next = dependencies.get(module).into_iter().flatten();
        let found = next.into_iter().find_map(|used| visit(used, dependencies, way, done));
        way.pop();
        found
    }
    let mut done = BTreeSet::new();
    dependencies.keys().find_map(|module| visit(module, dependencies, &mut Vec::new(), &mut done))
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    for folder in ["src", "core/src"] {
        rust_files(&root().join(folder), &mut files);
    }
    assert!(files.len() > 20, "the sources were not found");
    let relative = |file: &PathBuf| file.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
    files.iter().map(|file| Source::new(&relative(file), &fs::read_to_string(file).unwrap())).collect()
}

fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // `mod tests;` lies in its own file or folder.
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
