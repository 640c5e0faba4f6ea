//! Where segments are kept: a directory, or what a test puts in its place.
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// A process that is ending, or a child that it has just forked, may hold the lock a moment longer.
const LOCK_TRIES: u32 = 50;
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// Reads segments.
pub trait Source {
    /// Names of all files there, in no order.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Reads a file from its beginning.
    fn open(&self, name: &str) -> io::Result<Box<dyn Read + '_>>;
}

/// Keeps segments. What is not synced may be lost, in part and in any order, when power is cut.
pub trait Storage: Source + Send {
    /// Makes a file; fails where there is one of this name.
    fn create(&mut self, name: &str) -> io::Result<Box<dyn SegmentFile>>;

    /// Cuts a file to this many bytes.
    fn truncate(&mut self, name: &str, bytes: u64) -> io::Result<()>;

    /// Removes a file.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// Makes durable which files there are.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file that is being written. After an error nothing is known of what it holds.
pub trait SegmentFile: Send {
    /// Hands all bytes to the operating system.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes what was appended durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// A journal's directory. Writing needs the lock, reading does not.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Held as long as this lives; the operating system gives it back when the process ends, however it ends.
    _lock: Option<File>,
}

impl Directory {
    /// For reading.
    pub fn read(path: &Path) -> io::Result<Self> {
        fs::read_dir(path)?;
        Ok(Self { path: path.to_owned(), _lock: None })
    }

    /// For writing: makes the directory where there is none. Blocks for up to a second while another process writes
    /// there, then fails with [`io::ErrorKind::ResourceBusy`].
    pub fn write(path: &Path) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o750).create(path)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o640).open(path.join("lock"))?;
        for _ in 0..LOCK_TRIES {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { path: path.to_owned(), _lock: Some(lock) }),
                Err(TryLockError::WouldBlock) => thread::sleep(LOCK_RETRY),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process writes this journal"))
    }
}

impl Source for Directory {
    fn names(&self) -> io::Result<Vec<String>> {
        fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(File::open(self.path.join(name))?))
    }
}

impl Storage for Directory {
    fn create(&mut self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        let file = OpenOptions::new().append(true).create_new(true).mode(0o640).open(self.path.join(name))?;
        Ok(Box::new(file))
    }

    fn truncate(&mut self, name: &str, bytes: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.path.join(name))?.set_len(bytes)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

impl SegmentFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
