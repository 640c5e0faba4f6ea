//! `sealane ingest`, as a shell sees it: the real binary over the real service, killed, stopped and mistyped.
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::process::{Folder, Running, configuration, sealane};

/// Two simulated regions, the service over them, and a folder.
struct World {
    folder: Folder,
    regions: Running,
    service: Running,
    config: String,
    addr: String,
}

/// How a command ended.
struct Told {
    code: i32,
    out: String,
    err: String,
}

impl World {
    fn start(name: &str) -> Self {
        let folder = Folder::new(name);
        let regions = Running::start(&["simulate"]);
        let config = folder.write("sealane.yaml", &configuration(&regions.ready, ""));
        let service = Running::start(&["serve", "--config", &config, "--listen", "127.0.0.1:0"]);
        let addr = service.ready["listening"].as_str().unwrap().to_owned();
        Self { folder, regions, service, config, addr }
    }

    /// From now on every batch takes so long that a run can be met in its middle.
    fn slow_down(&self) {
        use std::io::{Read as _, Write as _};
        let rule = r#"{"fault":{"kind":"latency","first_byte_ms":1500}}"#;
        for region in self.regions.ready["regions"].as_array().unwrap() {
            let host = region["control"].as_str().unwrap().trim_start_matches("http://");
            let mut control = std::net::TcpStream::connect(host).unwrap();
            let length = rule.len();
            let head = format!("POST /_simulator/faults HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
            write!(control, "{head}content-length: {length}\r\n\r\n{rule}").unwrap();
            let mut answer = String::new();
            control.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
    }

    fn chunks(&self, count: usize) -> String {
        let line = |at| format!("{{\"id\":\"chunk-{at}\",\"text\":\"chunk number {at} of a book\",\"page\":{at}}}\n");
        self.folder.write("chunks.jsonl", &(0..count).map(line).collect::<String>())
    }

    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(self.folder.write("anchor", "")).with_file_name(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn start_ingest(&self, out: &str, more: &[&str]) -> Child {
        let (input, out) = (self.path("chunks.jsonl"), self.path(out));
        let args = ["ingest", "--addr", &self.addr, "--dimensions", "16", "--in"];
        sealane(&args)
            .args([input.to_str().unwrap(), "--out", out.to_str().unwrap()])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn ingest(&self, out: &str, more: &[&str]) -> Told {
        told(self.start_ingest(out, more))
    }

    /// Waits until the journal holds more than `count` items, and says whether the command still runs then.
    fn wait_for(&self, out: &str, count: usize, child: &mut Child) -> bool {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.read(&format!("{out}.journal")).lines().count() < count + 2 {
            assert!(Instant::now() < deadline, "no {count} items in time");
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        child.try_wait().unwrap().is_none()
    }

    /// Vectors by id; fails if an id is there twice.
    fn vectors(&self, out: &str) -> BTreeMap<String, Value> {
        let mut vectors = BTreeMap::new();
        for line in self.read(out).lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let id = line["id"].as_str().unwrap().to_owned();
            assert_eq!(line["vector"].as_array().unwrap().len(), 16);
            assert!(vectors.insert(id.clone(), line["vector"].clone()).is_none(), "{id} is there twice");
        }
        vectors
    }
}

fn told(child: Child) -> Told {
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Told { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

fn signal(child: &Child, name: &str) {
    let args = [&format!("-{name}"), &child.id().to_string()];
    assert!(std::process::Command::new("kill").args(args).status().unwrap().success());
}

#[test]
fn every_text_has_its_vector_and_a_second_run_has_nothing_to_do() {
    let world = World::start("ingest");
    world.chunks(3000);
    let first = world.ingest("v.jsonl", &["--output", "json"]);
    assert_eq!(first.code, 0, "{}", first.err);
    let summary: Value = serde_json::from_str(&first.out).unwrap();
    assert_eq!(summary["embedded_items"], 3000);
    // On a busy machine a second region may help out.
    let by_region = summary["items_by_region"].as_object().unwrap();
    assert_eq!(by_region.values().map(|items| items.as_u64().unwrap()).sum::<u64>(), 3000, "{by_region:?}");
    assert_eq!(
        (&summary["dimensions"], &summary["embedding_space"]),
        (&16.into(), &"text-embedding-3-large/1/16".into())
    );
    assert!(summary["tokens"].as_i64().unwrap() > 3000);
    assert_eq!(world.vectors("v.jsonl").len(), 3000);

    let again = world.ingest("v.jsonl", &[]);
    assert_eq!(again.code, 0);
    assert!(again.out.starts_with("embedded  0, and 3000 before\n"), "{}", again.out);

    // More input later: only what is new is sent.
    world.chunks(3100);
    let more = world.ingest("v.jsonl", &[]);
    assert!(more.out.starts_with("embedded  100, and 3000 before\n"), "{}", more.out);
    assert_eq!(world.vectors("v.jsonl").len(), 3100);

    // A corrected text would keep its old vector, unnoticed.
    let corrected = world.read("chunks.jsonl").replace("chunk number 7 of", "chapter number 7 of");
    world.folder.write("chunks.jsonl", &corrected);
    let refused = world.ingest("v.jsonl", &[]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("chunks.jsonl:8: another text was embedded under its `id`"), "{}", refused.err);
}

#[test]
fn a_kill_in_the_middle_neither_loses_nor_doubles_a_vector() {
    let world = World::start("ingest-kill");
    world.chunks(12_000);
    assert_eq!(world.ingest("whole.jsonl", &[]).code, 0);
    world.slow_down();
    let mut kills = 0;
    for least in [1, 4000, 8000] {
        let mut child = world.start_ingest("v.jsonl", &[]);
        let running = world.wait_for("v.jsonl", least, &mut child);
        child.kill().unwrap();
        child.wait().unwrap();
        kills += usize::from(running);
        // What a kill inside a write may leave: the command writes vectors first.
        append(&world.path("v.jsonl"), b"{\"id\":\"chunk-0\",\"vector\":[0.12");
        append(&world.path("v.jsonl.journal"), b"{\"id\":\"chunk-0\",\"e");
    }
    assert!(kills > 0, "every run was done before it could be killed: give it more chunks");
    let last = world.ingest("v.jsonl", &[]);
    assert_eq!(last.code, 0, "{}", last.err);
    assert!(last.out.contains(" before\n"), "{}", last.out);
    assert_eq!(world.vectors("v.jsonl"), world.vectors("whole.jsonl"));
    assert_eq!(world.vectors("v.jsonl").len(), 12_000);
}

fn append(path: &std::path::Path, bytes: &[u8]) {
    use std::io::Write as _;
    fs::OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[test]
fn an_interrupt_ends_it_cleanly_and_says_how_to_go_on() {
    let world = World::start("ingest-stop");
    world.chunks(12_000);
    world.slow_down();
    let mut child = world.start_ingest("v.npy", &[]);
    assert!(world.wait_for("v.npy", 1, &mut child), "done before it could be stopped: give it more chunks");
    signal(&child, "INT");
    let stopped = told(child);
    assert_eq!(stopped.code, 1);
    assert!(stopped.err.contains("of 12000 items are done; go on with\n"), "{}", stopped.err);
    assert!(stopped.err.contains(" ingest --addr 127.0.0.1:"), "{}", stopped.err);
    // What is there already can be used.
    let ids = world.read("v.ids.jsonl").lines().count();
    let bytes = fs::read(world.path("v.npy")).unwrap();
    assert!(ids > 0 && String::from_utf8_lossy(&bytes[10..128]).contains(&format!("'shape': ({ids}, 16)")));

    let rest = world.ingest("v.npy", &[]);
    assert_eq!(rest.code, 0, "{}", rest.err);
    let bytes = fs::read(world.path("v.npy")).unwrap();
    assert_eq!(bytes.len(), 128 + 12_000 * 16 * 4);
    assert!(
        bytes.starts_with(b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (12000, 16), }")
    );
    // Row n is the vector of line n.
    let ids: Vec<String> = world.read("v.ids.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 12_000);
    assert_eq!(world.ingest("v.jsonl", &[]).code, 0);
    let expected = world.vectors("v.jsonl");
    for (id, row) in ids.iter().zip(bytes[128..].chunks_exact(64)) {
        let row: Vec<f32> = row.chunks_exact(4).map(|number| f32::from_le_bytes(number.try_into().unwrap())).collect();
        let vector: Vec<f32> = serde_json::from_value(expected[id].clone()).unwrap();
        assert_eq!(row, vector, "{id}");
    }
}

#[test]
fn a_service_that_restarts_in_the_middle_is_found_again() {
    let mut world = World::start("ingest-restart");
    world.chunks(12_000);
    world.slow_down();
    let mut child = world.start_ingest("v.jsonl", &[]);
    assert!(world.wait_for("v.jsonl", 1, &mut child), "done before the restart: give it more chunks");
    world.service.child.kill().unwrap();
    world.service.child.wait().unwrap();
    world.service = Running::start(&["serve", "--config", &world.config, "--listen", &world.addr]);
    let ended = told(child);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.err.contains("the stream broke ("), "{}", ended.err);
    assert!(ended.out.starts_with("embedded  12000\n"), "{}", ended.out);
    assert_eq!(world.vectors("v.jsonl").len(), 12_000);
}

#[test]
fn how_to_go_on_is_said_where_the_same_command_can() {
    let mut world = World::start("ingest-given-up");
    world.chunks(10);
    let refused = world.ingest("other.jsonl", &["--model", "no-such-model"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("0 of 10 items are done; the rest would fail again until"), "{}", refused.err);
    assert!(refused.err.contains("sealane: NOT_FOUND MODEL_NOT_CONFIGURED"), "{}", refused.err);
    assert!(!refused.err.contains("go on with"), "{}", refused.err);
    assert_eq!(world.ingest("other.jsonl", &[]).code, 0, "with the right model it is another matter");

    world.chunks(12_000);
    world.slow_down();
    let mut child = world.start_ingest("v.jsonl", &["--timeout", "1"]);
    assert!(world.wait_for("v.jsonl", 1, &mut child), "done before the service went: give it more chunks");
    world.service.child.kill().unwrap();
    world.service.child.wait().unwrap();
    let given_up = told(child);
    assert_eq!(given_up.code, 4, "{}", given_up.err);
    assert!(given_up.err.contains("of 12000 items are done; go on with\n"), "{}", given_up.err);
}

#[test]
#[ignore = "takes a minute; run by `make faults`"]
fn a_service_that_falls_silent_is_noticed() {
    let world = World::start("ingest-silent");
    world.chunks(100);
    world.slow_down();
    let child = world.start_ingest("v.jsonl", &[]);
    std::thread::sleep(Duration::from_millis(700));
    // Its connections stay open and nobody answers on them, as when a machine has gone.
    world.service.signal("STOP");
    std::thread::sleep(Duration::from_secs(45));
    world.service.signal("CONT");
    let ended = told(child);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.err.contains("the stream broke ("), "{}", ended.err);
    assert_eq!(world.vectors("v.jsonl").len(), 100);
}

#[test]
fn a_poison_text_costs_only_itself_and_is_named() {
    let world = World::start("ingest-poison");
    let line = |at| {
        let text = if at == 70 { "simulate-prompt-block" } else { "harmless" };
        format!("{{\"id\":\"chunk-{at}\",\"text\":\"{text} {at}\"}}\n")
    };
    world.folder.write("chunks.jsonl", &(0..200).map(line).collect::<String>());
    for _ in 0..2 {
        let told = world.ingest("v.jsonl", &[]);
        assert_eq!(told.code, 1);
        assert!(told.err.contains("1 of 200 items failed: "), "{}", told.err);
        assert!(told.err.contains("v.jsonl.errors.jsonl says which and why"), "{}", told.err);
        let failures = world.read("v.jsonl.errors.jsonl");
        let failed: Value = serde_json::from_str(&failures).unwrap();
        assert_eq!((&failed["id"], &failed["line"]), (&"chunk-70".into(), &71.into()));
        assert_eq!(failed["reason"], "PROMPT_BLOCKED");
        assert!(!failures.contains("simulate-prompt-block 70"), "the text is in nobody's report");
        assert_eq!(world.vectors("v.jsonl").len(), 199);
    }
    // Once it is corrected, it is all that is left to do.
    world
        .folder
        .write("chunks.jsonl", &(0..200).map(line).collect::<String>().replace("simulate-prompt-block", "well"));
    let told = world.ingest("v.jsonl", &[]);
    assert_eq!(told.code, 0, "{}", told.err);
    assert!(told.out.starts_with("embedded  1, and 199 before\n"), "{}", told.out);
    assert!(!world.path("v.jsonl.errors.jsonl").exists());
}

#[test]
fn what_cannot_be_ingested_is_told_before_anything_is_sent() {
    let folder = Folder::new("ingest-refusals");
    let good = folder.write("good.jsonl", "{\"id\":\"a\",\"text\":\"x\"}\n");
    let bad = folder.write(
        "bad.jsonl",
        "{\"id\":\"a\",\"text\":\"x\"}\n\n{\"id\":\"b\"}\n{\"id\":\"a\",\"text\":\"y\"}\nplain\n{\"id\":\"c\",\"text\":\"secret",
    );
    let out = |name: &str| PathBuf::from(&good).with_file_name(name).to_str().unwrap().to_owned();
    let (jsonl, occupied) = (out("v.jsonl"), folder.write("occupied.jsonl", "mine\n"));
    let other = folder.write("other.jsonl", "");
    let started =
        "{\"sealane_ingest\":1,\"model\":\"text-embedding-3-small\",\"dimensions\":null,\"output\":\"jsonl\"}\n";
    let space = "{\"space\":\"s\",\"width\":1}\n";
    folder.write("other.jsonl.journal", &format!("{started}{space}"));
    let shorter = folder.write("shorter.jsonl", "");
    let journal = started.replace("-small", "-large") + space + "{\"id\":\"z\",\"end\":99}\n";
    folder.write("shorter.jsonl.journal", &journal);
    for (args, code, said) in [
        (vec!["--in", &bad, "--out", &jsonl], 1, "bad.jsonl:3: has no `text`"),
        (vec!["--in", &bad, "--out", &jsonl], 1, "bad.jsonl:4: has the id of line 1"),
        (vec!["--in", &bad, "--out", &jsonl], 1, "bad.jsonl:5: is no JSON object"),
        (vec!["--in", &bad, "--out", &jsonl], 1, "bad.jsonl:6: is no JSON object"),
        (vec!["--in", &bad, "--out", &jsonl], 1, "nothing was sent"),
        (vec!["--in", "/not/there", "--out", &jsonl], 1, "--in /not/there"),
        (vec!["--in", &good, "--out", "v.csv"], 2, "must end in .jsonl or .npy"),
        (vec!["--in", &good, "--out", &other], 1, "was begun with model text-embedding-3-small"),
        (vec!["--in", &good, "--out", &jsonl, "--dimensions", "0"], 2, "--dimensions"),
        (vec!["--in", &good, "--out", &jsonl], 4, "no service answers"),
    ] {
        let told = told_of(&args);
        assert_eq!(told.code, code, "{args:?}\n{}", told.err);
        assert!(told.err.contains(said), "{args:?} said\n{}", told.err);
        assert!(!told.err.contains("secret"), "texts are told to nobody:\n{}", told.err);
    }
    // Those need a service, since there would be something to do.
    let world = World::start("ingest-occupied");
    for (out, said) in [(&occupied, "exists and has no journal"), (&shorter, "its journal knows of 99")] {
        let told = told_of(&["--in", &good, "--out", out, "--addr", &world.addr]);
        assert_eq!(told.code, 1, "{}", told.err);
        assert!(told.err.contains(said), "{}", told.err);
    }
    assert_eq!(fs::read_to_string(&occupied).unwrap(), "mine\n");
}

fn told_of(args: &[&str]) -> Told {
    let nowhere = if args.contains(&"--addr") { vec![] } else { vec!["--addr", "127.0.0.1:1"] };
    let child = sealane(&["ingest"]).args(args).args(nowhere).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    told(child.unwrap())
}

#[test]
fn vectors_of_another_space_never_meet_those_before() {
    let world = World::start("ingest-space");
    world.chunks(10);
    assert_eq!(world.ingest("v.jsonl", &[]).code, 0);
    // The service was given another model under the same name meanwhile.
    let journal = world.read("v.jsonl.journal").replace("text-embedding-3-large/1/", "text-embedding-3-large/0/");
    fs::write(world.path("v.jsonl.journal"), journal).unwrap();
    world.chunks(11);
    let told = world.ingest("v.jsonl", &[]);
    assert_eq!(told.code, 1);
    assert!(told.err.contains("holds vectors of text-embedding-3-large/0/16"), "{}", told.err);
    assert_eq!(world.vectors("v.jsonl").len(), 10);
}

#[test]
fn a_dry_run_sends_nothing_and_tells_what_it_would_cost() {
    let folder = Folder::new("ingest-dry");
    let input = folder.write("notes.txt", "twelve chars\n\nä\n");
    let out = PathBuf::from(&input).with_file_name("v.npy");
    let args = ["--in", &input, "--out", out.to_str().unwrap(), "--dry-run"];
    let told = told_of(&args);
    assert_eq!(
        (told.code, &*told.out),
        (0, "items             2\ncharacters        13\nestimated tokens  4\n"),
        "{}",
        told.err
    );
    let told =
        told_of(&[&args[..], &["--tokens-per-minute", "2", "--price-per-million", "0.5", "--output", "json"]].concat());
    let estimate: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(
        estimate,
        serde_json::json!({
            "items": 2, "finished_before": 0, "characters": 13, "estimated_tokens": 4,
            "estimated_seconds": 120.0, "estimated_price": 0.000_002,
        })
    );
    assert!(!out.exists() && !out.with_extension("npy.journal").exists(), "nothing was begun");
    assert_eq!(told_of(&["--in", &input, "--out", "v.npy", "--price-per-million", "1"]).code, 2, "only with --dry-run");
}
