//! Every batch is a call of its own: in the journal, and with an attempt for each region that was asked.
use std::collections::BTreeSet;

use sealane::audit::{AttemptKind, Directory, Filter, Journal, Settings, attempts};
use sealane_core::domain::FailureKind;
use tonic::Request;

use super::{Talk, item, open};
use crate::support::{
    scripted::{
        Line::{Fails, Says},
        Scripted,
    },
    service::{Service, Wanted, eventually},
};

#[tokio::test]
async fn each_attempt_of_each_batch_is_in_the_journal() {
    let folder = std::env::temp_dir().join(format!("sealane-ingest-{}", std::process::id()));
    let journal = Journal::open(&folder.join("journal"), &folder.join("key"), Settings::default()).unwrap();
    let upstream = Scripted::default().with("swedencentral", [Says("x"), Fails(FailureKind::ServerError), Says("x")]);
    let wanted = Wanted { journal: Some(journal.clone()), ..Wanted::default() };
    let service = Service::start_as(upstream, wanted).await;

    let open = sealane::grpc::pb::EmbedStreamOpen { dimensions: None, ..open() };
    let mut talk = Talk::start_as(service.inference().await, Request::new(()), open).await;
    for id in ["a", "b", "c"] {
        talk.say(item(id, "text")).await;
        talk.answer().await;
    }
    let heard = talk.rest().await;
    assert_eq!(
        heard.summary.unwrap().items_by_region,
        [("swedencentral", 2), ("francecentral", 1)].map(|(region, items)| (region.to_owned(), items)).into()
    );
    eventually("its calls are given back", async || service.upstream.open() == 0).await;

    journal.close().await;
    let (rows, findings) = attempts(&Directory::read(&folder.join("journal")).unwrap(), &Filter::default()).unwrap();
    assert_eq!((findings.problems.len(), findings.open_attempts), (0, 0));
    let mut calls = BTreeSet::new();
    let told: Vec<String> = rows
        .iter()
        .map(|row| {
            let AttemptKind::Sent { intent, .. } = &row.kind else { panic!("{row:?}") };
            calls.insert(intent.call.request_id.to_string());
            assert_eq!(intent.call.operation.as_str(), "embeddings");
            format!("{} {} {} {}", intent.attempt_number, intent.place.region, intent.reason, row.result())
        })
        .collect();
    let expected = [
        "1 swedencentral route served",
        "1 swedencentral route failed",
        "2 francecentral rescue served",
        "1 swedencentral route served",
    ];
    assert_eq!(told, expected);
    assert_eq!(calls.len(), 3, "one call for each batch");
    let traces: BTreeSet<_> = rows
        .iter()
        .filter_map(|row| match &row.kind {
            AttemptKind::Sent { intent, .. } => intent.call.trace_id.as_ref().map(ToString::to_string),
            AttemptKind::Denied { .. } => None,
        })
        .collect();
    assert_eq!(traces.len(), 1, "under one server span");
    std::fs::remove_dir_all(&folder).unwrap();
}
