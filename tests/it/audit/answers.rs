//! An auditor's questions, asked through the real binary of real directories.
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, UNIX_EPOCH},
};

use sealane::audit::{AttemptEnd, CheckpointCopy, Decision, Durability, Event, Intent, Journal, Outcome, Settings};
use serde_json::Value;

use super::{folder, intent, served};

/// Two replicas' journals. `kb` made three calls, one of them rescued, and one that was refused; `other` made one.
struct Journals {
    folder: PathBuf,
    directories: [String; 2],
}

impl Drop for Journals {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Journals {
    async fn write(name: &str) -> Self {
        let folder = folder(name);
        let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        let directories = [path("one"), path("two")];

        let one = Self::open(&folder, "one");
        let mut workflow = intent("call-1", "kb", "swedencentral");
        workflow.call.workflow = Some("run \u{1b}[31m7".into());
        one.intent(workflow).await.unwrap().outcome(served());
        let first = one.intent(intent("call-2", "kb", "swedencentral")).await.unwrap();
        let failed = first.attempt().clone();
        first.outcome(Outcome { result: AttemptEnd::Failed, failure: Some("throttled".into()), ..Outcome::default() });
        let rescue = Intent {
            attempt_number: 2,
            reason: "rescue".into(),
            failover_of: Some(failed),
            ..intent("call-2", "kb", "francecentral")
        };
        one.intent(rescue).await.unwrap().outcome(served());
        let refused = Decision {
            call: intent("call-3", "kb", "").call,
            reason: Some("NO_ELIGIBLE_REGION".into()),
            refused: vec!["eastus/gpt-4o: not among the policy's regions".into()],
            held_back: 0,
        };
        one.note(Event::Deny(Box::new(refused))).unwrap();
        one.close().await;

        let two = Self::open(&folder, "two");
        two.intent(intent("call-1", "kb", "swedencentral")).await.unwrap().outcome(served());
        two.intent(intent("call-2", "other", "swedencentral")).await.unwrap().outcome(served());
        two.close().await;
        Self { folder, directories }
    }

    fn open(folder: &Path, name: &str) -> Journal {
        let settings = Settings {
            durability: Durability::Flush,
            checkpoint_copy: Some(CheckpointCopy::File(folder.join(format!("{name}.checkpoints")))),
            now: || UNIX_EPOCH + Duration::from_secs(1_790_000_000),
            ..Settings::default()
        };
        Journal::open(&folder.join(name), &folder.join("key.pem"), settings).unwrap()
    }

    fn ask(&self, what: &[&str], more: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealane"));
        let run = command.arg("audit").args(what).args(&self.directories).args(more).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (run.status.code().unwrap(), text(&run.stdout), text(&run.stderr))
    }

    /// `request_id REGION RESULT` of each row.
    fn rows(&self, more: &[&str]) -> Vec<String> {
        let (code, json, errors) = self.ask(&["query", "--output", "json"], more);
        assert_eq!(code, 0, "{errors}");
        let answer: Value = serde_json::from_str(&json).unwrap();
        let row = |row: &Value| {
            let call = if row["kind"] == "denied" { &row["decision"] } else { &row["intent"] };
            let region = call["region"].as_str().unwrap_or("-");
            let result = row["outcome"]["result"].as_str().unwrap_or("denied");
            format!("{} {region} {result}", call["request_id"].as_str().unwrap())
        };
        answer["attempts"].as_array().unwrap().iter().map(row).collect()
    }
}

#[tokio::test]
async fn every_filter_selects_what_it_says() {
    let journals = Journals::write("filters").await;
    let kb = [
        "call-1 swedencentral served",
        "call-2 swedencentral failed",
        "call-2 francecentral served",
        "call-3 - denied",
        "call-1 swedencentral served",
    ];
    let all: Vec<&str> = kb.into_iter().chain(["call-2 swedencentral served"]).collect();
    let cases: &[(&[&str], &[&str])] = &[
        (&[], &all),
        (&["--caller", "kb"], &kb),
        (&["--caller", "other"], &all[5..]),
        (&["--caller", "KB"], &[]),
        (&["--region", "France Central"], &all[2..3]),
        (&["--model", "gpt-4o", "--caller", "kb"], &kb),
        (&["--model", "gpt-5"], &[]),
        (&["--workflow", "run \u{1b}[31m7"], &all[..1]),
        (&["--trace", "00000000000000000000000000000006"], &all),
        (&["--trace", "00000000000000000000000000000007"], &[]),
        (&["--since", "2026-09-21", "--until", "2026-09-22"], &all),
        (&["--since", "2026-09-21T14:13:20Z"], &all),
        (&["--since", "2026-09-21T14:13:20.001Z"], &[]),
        (&["--until", "2026-09-21T14:13:20Z"], &[]),
    ];
    for (filters, expected) in cases {
        assert_eq!(journals.rows(filters), *expected, "{filters:?}");
    }
    let (code, _, errors) = journals.ask(&["query"], &["--since", "yesterday"]);
    assert_eq!(code, 2);
    assert!(errors.contains("no date such as"), "{errors}");
}

#[tokio::test]
async fn where_no_journal_is_there_is_no_intact_one() {
    let journals = Journals::write("nothing").await;
    let empty = journals.folder.join("empty");
    fs::create_dir(&empty).unwrap();
    for question in ["verify", "query", "export"] {
        let (code, _, errors) = journals.ask(&[question], &[empty.to_str().unwrap()]);
        assert_eq!(code, 1, "{question}");
        assert!(errors.contains("empty: there is no journal"), "{question}: {errors}");
    }
}

#[tokio::test]
async fn a_person_gets_a_paragraph_a_table_and_a_spreadsheet() {
    let journals = Journals::write("people").await;
    let (code, summary, _) = journals.ask(&["query", "--summary", "--boundary", "eu"], &["--since", "2026-09-01"]);
    assert_eq!(code, 0);
    let paragraphs: Vec<&str> = summary.lines().collect();
    assert_eq!(
        paragraphs,
        [
            "Since 2026-09-01T00:00:00Z:",
            "kb: 4 calls, 2 in swedencentral, 1 rescued in francecentral, 1 refused, 0 without an answer; 0 attempts \
             outside eu, 0 outside the permitted regions, 0 answers from elsewhere than configured",
            "other: 1 calls, 1 in swedencentral, 0 refused, 0 without an answer; 0 attempts outside eu, 0 outside the \
             permitted regions, 0 answers from elsewhere than configured",
        ]
    );
    let (_, other, _) = journals.ask(&["query", "--summary", "--boundary", "us"], &["--caller", "other"]);
    assert!(other.contains("1 attempts outside us"), "{other}");

    let (_, table, _) = journals.ask(&["query"], &[]);
    assert_eq!(table.lines().count(), 7);
    assert!(!table.contains('\u{1b}'), "a workflow's name reaches the terminal: {table}");
    assert!(table.contains("2026-09-21T14:13:20Z  kb"), "{table}");

    let (_, csv, _) = journals.ask(&["query", "--csv"], &[]);
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 7);
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{csv}");
    assert_eq!(rows[0][..2], ["time", "caller"]);
}

#[tokio::test]
async fn an_export_can_be_checked_with_other_tools() {
    let journals = Journals::write("export").await;
    let (code, lines, _) = journals.ask(&["export"], &[]);
    assert_eq!(code, 0);
    let documents: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(documents.iter().all(|record| record["hash"].as_str().unwrap().len() == 64));
    let mut before = sealane::audit::Hash::GENESIS;
    for line in lines.lines().filter(|line| line.contains("/one\"")) {
        let json = line.split_once("\"record\":").unwrap().1.strip_suffix('}').unwrap();
        before = before.next(json.as_bytes());
        assert!(line.contains(&format!("\"hash\":\"{before}\"")), "{line}");
    }
    let (_, attempts, _) = journals.ask(&["export"], &["--caller", "other"]);
    let events: Vec<&str> =
        attempts.lines().map(|line| if line.contains("\"event\":\"intent\"") { "intent" } else { "outcome" }).collect();
    assert_eq!(events, ["intent", "outcome"]);
}

#[tokio::test]
async fn verify_says_yes_no_and_where() {
    let journals = Journals::write("verify").await;
    let public = journals.folder.join("key.pem.pub");
    let copies: Vec<PathBuf> =
        ["one", "two"].iter().map(|name| journals.folder.join(format!("{name}.checkpoints"))).collect();
    let known = ["--key", public.to_str().unwrap()];
    let copied = ["--checkpoints", copies[0].to_str().unwrap(), "--checkpoints", copies[1].to_str().unwrap()];
    let (code, report, errors) =
        journals.ask(&["verify"], &[known, [copied[0], copied[1]], [copied[2], copied[3]]].concat());
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(report.contains("● intact") && report.contains("1 copied checkpoints compared"), "{report}");
    assert_eq!(journals.ask(&["verify"], &copied[..2]).0, 2, "one copy for two journals");

    let segment = Path::new(&journals.directories[1]).join("segment-00000001.jsonl");
    let text = fs::read_to_string(&segment).unwrap();
    fs::write(&segment, text.replace("\"caller\":\"other\"", "\"caller\":\"nobody\"")).unwrap();
    let (code, json, errors) = journals.ask(&["verify", "--output", "json"], &[]);
    assert_eq!(code, 5);
    assert!(errors.contains("not intact: ") && errors.contains("/two"), "{errors}");
    let found: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(found["journals"][0]["intact"], true);
    let problem = &found["journals"][1]["findings"]["problems"][0];
    assert_eq!((&problem["problem"], &problem["seq"], &problem["line"]), (&"altered".into(), &4.into(), &5.into()));
    let (code, ..) = journals.ask(&["query"], &[]);
    assert_eq!(code, 5, "an answer from a damaged journal must not pass for a good one");

    fs::write(&segment, &text[..text.len() - 400]).unwrap();
    let (code, report, _) = journals.ask(&["verify"], &copied);
    assert_eq!(code, 5);
    assert!(report.contains("the journal ends here, but a checkpoint of record"), "{report}");
    assert_eq!(journals.ask(&["verify"], &["/not/there"]).0, 1);
}

#[tokio::test]
async fn one_process_writes_and_others_may_read() {
    let folder = folder("lock");
    let first = Journals::open(&folder, "one");
    let second = Journal::open(&folder.join("one"), &folder.join("key.pem"), Settings::default());
    assert!(second.unwrap_err().to_string().contains("another process writes this journal"));
    let open = first.intent(intent("call-1", "kb", "swedencentral")).await.unwrap();
    let journals = Journals { directories: [(); 2].map(|()| folder.join("one").to_str().unwrap().to_owned()), folder };
    let (code, report, _) = journals.ask(&["verify"], &[]);
    assert_eq!(code, 0, "{report}");
    assert!(report.contains("1 attempts without an outcome"), "{report}");
    open.outcome(served());
    first.close().await;
    Journals::open(&journals.folder, "one").close().await;
}
