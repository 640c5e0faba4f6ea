//! A disk in memory that can be cut off from power, fill up, or fail to sync.
use std::{
    collections::BTreeMap,
    io::{self, Read},
    sync::{Arc, Mutex},
};

use sealane::audit::{SegmentFile, Source, Storage};

/// What is wrong with the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing can be written or made.
    Full,
    /// A sync fails, and what was written before it may or may not be on the disk.
    Fsync,
    /// Nothing works any more, not even removal.
    Io,
}

/// Chance from a seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit.max(1)
    }
}

#[derive(Clone, Debug, Default)]
struct Contents {
    synced: Vec<u8>,
    unsynced: Vec<u8>,
    /// The directory knows of it for good.
    entered: bool,
}

impl Contents {
    fn whole(&self) -> Vec<u8> {
        [&self.synced[..], &self.unsynced].concat()
    }
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Contents>,
    /// Files as they were before they were cut or removed, which a power cut may undo.
    before: BTreeMap<String, Contents>,
    fault: Option<Fault>,
    /// Operations until power goes.
    lives: Option<u64>,
    syncs: u64,
    hold_syncs: bool,
}

/// Clones share the disk.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<State>>);

impl Disk {
    /// Power goes after this many operations.
    pub fn with_power_for(operations: u64) -> Self {
        let disk = Self::default();
        disk.0.lock().unwrap().lives = Some(operations);
        disk
    }

    pub fn set_fault(&self, fault: Option<Fault>) {
        self.0.lock().unwrap().fault = fault;
    }

    /// Files, as a reader sees them.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.0.lock().unwrap();
        state.files.iter().map(|(name, file)| (name.clone(), file.whole())).collect()
    }

    pub fn of(files: BTreeMap<String, Vec<u8>>) -> Self {
        let disk = Self::default();
        disk.put(files);
        disk
    }

    /// Files that lie on the disk already.
    pub fn put(&self, files: BTreeMap<String, Vec<u8>>) {
        let file = |synced| Contents { synced, unsynced: vec![], entered: true };
        self.0.lock().unwrap().files = files.into_iter().map(|(name, bytes)| (name, file(bytes))).collect();
    }

    /// Lets syncs wait, as those of a slow disk do.
    pub fn hold_syncs(&self, hold: bool) {
        self.0.lock().unwrap().hold_syncs = hold;
    }

    pub fn syncs(&self) -> u64 {
        self.0.lock().unwrap().syncs
    }

    /// What a machine finds after power was cut: of everything unsynced some part, in which a hole may gape.
    pub fn after_power_cut(&self, chance: &mut Chance) -> BTreeMap<String, Vec<u8>> {
        let state = self.0.lock().unwrap();
        let mut found = state.files.clone();
        for (name, before) in &state.before {
            if chance.below(2) == 0 {
                found.insert(name.clone(), before.clone());
            }
        }
        found.retain(|_, file| file.entered || chance.below(2) == 0);
        let mut survive = |file: Contents| {
            let mut bytes = file.synced;
            let mut rest = file.unsynced;
            rest.truncate(chance.below(rest.len() as u64 + 1) as usize);
            if chance.below(3) == 0 && !rest.is_empty() {
                let hole = chance.below(rest.len() as u64) as usize;
                let end = (hole + 64).min(rest.len());
                rest[hole..end].fill(0);
            }
            bytes.extend(rest);
            bytes
        };
        found.into_iter().map(|(name, file)| (name, survive(file))).collect()
    }

    fn operate<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.lock().unwrap();
        if let Some(lives) = &mut state.lives {
            *lives = lives.checked_sub(1).ok_or_else(|| io::Error::other("power is off"))?;
        }
        if state.fault == Some(Fault::Io) {
            return Err(io::Error::other("input/output error"));
        }
        act(&mut state)
    }
}

impl State {
    fn room(&self) -> io::Result<()> {
        if self.fault == Some(Fault::Full) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn file(&mut self, name: &str) -> io::Result<&mut Contents> {
        self.files.get_mut(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Source for Disk {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().files.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read + '_>> {
        let bytes = self.0.lock().unwrap().file(name)?.whole();
        Ok(Box::new(io::Cursor::new(bytes)))
    }
}

impl Storage for Disk {
    fn create(&mut self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        self.operate(|state| {
            state.room()?;
            assert!(state.files.insert(name.to_owned(), Contents::default()).is_none(), "{name} is there already");
            Ok(())
        })?;
        Ok(Box::new(OpenFile { disk: self.clone(), name: name.to_owned(), poisoned: false }))
    }

    fn truncate(&mut self, name: &str, bytes: u64) -> io::Result<()> {
        self.operate(|state| {
            let before = state.file(name)?.clone();
            let file = state.file(name)?;
            let mut whole = file.whole();
            whole.truncate(bytes as usize);
            (file.synced, file.unsynced) = (whole, vec![]);
            state.before.insert(name.to_owned(), before);
            Ok(())
        })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.operate(|state| {
            let before = state.files.remove(name).ok_or(io::ErrorKind::NotFound)?;
            state.before.insert(name.to_owned(), before);
            Ok(())
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.operate(|state| {
            state.files.values_mut().for_each(|file| file.entered = true);
            let State { files, before, .. } = state;
            before.retain(|name, _| files.contains_key(name));
            Ok(())
        })
    }
}

struct OpenFile {
    disk: Disk,
    name: String,
    poisoned: bool,
}

impl OpenFile {
    fn operate(&mut self, act: impl FnOnce(&mut State, &str) -> io::Result<()>) -> io::Result<()> {
        assert!(!self.poisoned, "{} was written again after a failure", self.name);
        let (disk, name) = (self.disk.clone(), self.name.clone());
        let done = disk.operate(|state| act(state, &name));
        self.poisoned = done.is_err();
        done
    }
}

impl SegmentFile for OpenFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.operate(|state, name| {
            // A disk that fills up takes the beginning.
            let taken = if state.room().is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
            state.file(name)?.unsynced.extend_from_slice(taken);
            state.room()
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        while self.disk.0.lock().unwrap().hold_syncs {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        self.operate(|state, name| {
            if state.fault == Some(Fault::Fsync) {
                return Err(io::Error::other("fsync failed"));
            }
            state.syncs += 1;
            let file = state.file(name)?;
            let unsynced = std::mem::take(&mut file.unsynced);
            file.synced.extend(unsynced);
            Ok(())
        })
    }
}
