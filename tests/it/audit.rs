//! The audit journal: what it promises when power, disk or somebody's honesty fails, and what it answers.
mod answers;
mod disk;
mod faults;
mod kill;
mod request;
mod service;
mod tamper;

use std::{path::PathBuf, time::Duration};

use sealane::audit::{
    AttemptEnd, CallFacts, Event, Findings, Intent, Journal, OpenError, Outcome, Place, Settings, SigningKey, Storage,
    Trust, verify,
};

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32]).unwrap()
}

/// Settings under which time alone writes nothing.
fn settings() -> Settings {
    let hour = Duration::from_secs(3600);
    Settings {
        checkpoint_interval: hour,
        heartbeat: hour,
        retry_interval: Duration::from_millis(1),
        ..Settings::default()
    }
}

fn open(disk: &disk::Disk, settings: Settings) -> Result<Journal, OpenError> {
    let storage: Box<dyn Storage> = Box::new(disk.clone());
    Journal::open_in(storage, key(), settings)
}

fn intent(request: &str, caller: &str, region: &str) -> Intent {
    Intent {
        call: CallFacts {
            request_id: request.into(),
            trace_id: Some(format!("{:0>32}", request.len()).into()),
            caller: caller.into(),
            policy: "eu-only".into(),
            model: "gpt-4o".into(),
            operation: "chat".into(),
            permitted: vec!["swedencentral".into(), "francecentral".into()],
            ..CallFacts::default()
        },
        attempt_number: 1,
        place: Place {
            region: region.into(),
            boundary: Some("eu".into()),
            resource: "swc".into(),
            deployment: "gpt-4o".into(),
            sku: "Standard".into(),
            scope: "regional".into(),
        },
        reason: "route".into(),
        ..Intent::default()
    }
}

fn served() -> Outcome {
    Outcome { result: AttemptEnd::Served, http_status: Some(200), output_tokens: 12, ..Outcome::default() }
}

/// A check without outside knowledge.
fn check(disk: &disk::Disk) -> Findings {
    verify(disk, &Trust::default()).unwrap()
}

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("sealane-audit-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Event names of all records, in order.
fn events(disk: &disk::Disk) -> Vec<String> {
    let mut events = Vec::new();
    sealane::audit::records(disk, &Default::default(), &mut |_, record, _| {
        let name = serde_json::to_value(&record.event).unwrap()["event"].as_str().unwrap().to_owned();
        events.push(match &record.event {
            Event::Outcome(outcome) => format!("{name} {}", outcome.result),
            Event::Recovered(recovered) => format!("{name} {:?}", recovered.cause),
            _ => name,
        });
        Ok(())
    })
    .unwrap();
    events
}
