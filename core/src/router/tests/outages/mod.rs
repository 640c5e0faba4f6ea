//! Outages told as scripts that a person can read: `core/tests/scripts/*.script`, with what the router made of each
//! beside it in a `.log`. `SEALANE_BLESS=1 cargo test -p sealane-core outages` writes the logs anew; the diff is what
//! is reviewed.
mod script;
mod tell;
mod world;

use std::{fs, path::PathBuf};

use super::*;

#[test]
fn every_script_ends_as_its_log_says() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let bless = std::env::var_os("SEALANE_BLESS").is_some();
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut scripts: Vec<_> = files.filter(|path| path.extension().is_some_and(|it| it == "script")).collect();
    scripts.sort();
    assert!(scripts.len() >= 10, "{} scripts in {}", scripts.len(), folder.display());
    let mut differing = vec![];
    for path in scripts {
        let log = world::play(&script::parse(&fs::read_to_string(&path).unwrap()));
        let expected = path.with_extension("log");
        if bless {
            fs::write(&expected, &log).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != log {
            differing.push(format!("{}:\n{log}", expected.display()));
        }
    }
    assert!(differing.is_empty(), "SEALANE_BLESS=1 writes these logs; review the diff\n\n{}", differing.join("\n"));
}
