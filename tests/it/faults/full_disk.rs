//! Row 57 on a real disk: the journal's file system has no room left, and has some again.
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sealane::audit::{Directory, Filter, Trust, attempts, verify};

use super::processes::{serve, started};
use crate::support::service::{eventually, hi, told};

/// A small file system of its own, gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount() -> Self {
        let place = std::env::temp_dir().join(format!("sealane-small-disk-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&place).status();
        assert!(mounted.is_ok_and(|status| status.success()), "a tmpfs cannot be mounted: this test needs root");
        Self(place)
    }

    /// Takes all the room there is.
    fn fill(&self) {
        for (number, bytes) in (0..=16).rev().map(|power| 1 << power).flat_map(|bytes| [bytes; 8]).enumerate() {
            let file = self.0.join(format!("filler-{number}"));
            if fs::write(&file, vec![0; bytes]).is_err() {
                let _ = fs::remove_file(&file);
            }
        }
    }

    fn make_room(&self) {
        for entry in fs::read_dir(&self.0).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with("filler-") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

fn rows(journal: &Path) -> (usize, usize) {
    let source = Directory::read(journal).unwrap();
    let (rows, _) = attempts(&source, &Filter::default()).unwrap();
    (rows.len(), rows.iter().filter(|row| row.result() == "served").count())
}

#[tokio::test]
#[ignore = "needs root, to mount a small disk; run by `make faults`"]
async fn a_full_disk_refuses_calls_at_once_and_nothing_is_sent_until_there_is_room_again() {
    let disk = SmallDisk::mount();
    let journal = disk.0.join("journal");
    let extra = format!("audit: {{ directory: {}, key: {} }}\n", journal.display(), disk.0.join("key.pem").display());
    let (world, process) = started("full-disk", &extra, None, serve).await;
    let mut client = world.inference();
    client.complete(hi()).await.unwrap();
    // Twice, so that what the first time left behind is no obstacle.
    for round in 0..2 {
        disk.fill();
        // What fits into the last page that the file already has is still written, and such a call is served.
        let refused = async |client: &mut sealane::grpc::pb::inference_service_client::InferenceServiceClient<_>| {
            client.complete(hi()).await.err().map(|status| told(&status))
        };
        eventually("the disk is full", async || refused(&mut client.clone()).await.is_some()).await;
        let sent = || [&world.primary, &world.standby].map(|region| region.counters().deployment_requests("gpt-4o"));
        let before = sent();
        for _ in 0..20 {
            assert_eq!(refused(&mut client).await.as_deref(), Some("Unavailable AUDIT_UNAVAILABLE"), "round {round}");
        }
        assert_eq!(sent(), before, "round {round}: something was sent");
        disk.make_room();
        eventually("there is room again", async || client.complete(hi()).await.is_ok()).await;
    }
    assert_eq!(process.terminate(), 0);
    let findings = verify(&Directory::read(&journal).unwrap(), &Trust::default()).unwrap();
    assert_eq!(findings.problems, []);
    assert!(findings.closed && findings.open_attempts == 0, "{findings:?}");
    let (all, served) = rows(&journal);
    assert!(served >= 3 && all == served, "{served} of {all} were served");
}
