//! What a loss of power leaves: all that was synced, and of the rest anything.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::*;

/// What `faults.c` wrote down.
pub(crate) struct Journal {
    records: Vec<Record>,
    /// How many of them are of what was there before, and durable.
    before: usize,
}

struct Record {
    op: u8,
    path: PathBuf,
    other: PathBuf,
    offset: u64,
    data: Vec<u8>,
}

/// What was done to a file and is not known to be on the disk.
#[derive(Clone)]
enum Pending {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Clone, Default)]
struct Contents {
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Clone, PartialEq, Eq)]
enum Node {
    Folder,
    /// Which of all the files that there ever were.
    File(usize),
}

/// What was done to the names in a folder.
#[derive(Clone)]
enum Named {
    There(PathBuf, Node),
    Gone(PathBuf),
    Moved(PathBuf, PathBuf),
}

type Names = BTreeMap<PathBuf, Node>;

/// What a disk writes at once.
const SECTOR: usize = 512;

impl Journal {
    /// Paths are taken relative to the folder.
    pub(crate) fn read(mut bytes: &[u8], folder: &Path) -> Self {
        let mut records = Vec::new();
        let relative = |bytes: &[u8]| {
            let path = Path::new(std::str::from_utf8(bytes).unwrap());
            path.strip_prefix(folder).unwrap_or(path).to_owned()
        };
        let mut take = |n: usize| {
            let (head, rest) = bytes.split_at_checked(n)?;
            bytes = rest;
            Some(head)
        };
        // A process that was killed may have left half a record.
        while let Some(head) = take(25) {
            let number = |at: usize, n: usize| {
                let mut bytes = [0; 8];
                bytes[..n].copy_from_slice(&head[at..at + n]);
                u64::from_le_bytes(bytes)
            };
            let has_data = matches!(head[0], b'W' | b'A');
            let lens = [
                number(1, 4),
                number(5, 4),
                if has_data { number(17, 8) } else { 0 },
            ];
            let parts: Option<Vec<_>> = lens.iter().map(|len| take(*len as usize)).collect();
            let Some(parts) = parts else { break };
            records.push(Record {
                op: head[0],
                path: relative(parts[0]),
                other: relative(parts[1]),
                offset: number(9, 8),
                data: parts[2].to_vec(),
            });
        }
        let before = 0;
        Self { records, before }
    }

    /// As if a folder had just been written and synced.
    pub(crate) fn of_what_is_there(folder: &Path) -> Self {
        let mut records = Vec::new();
        let mut record = |op, path: &Path, data| {
            records.push(Record {
                op,
                path: path.strip_prefix(folder).unwrap().to_owned(),
                other: PathBuf::new(),
                offset: 0,
                data,
            });
        };
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for file in fs::read_dir(&folder).unwrap() {
                let path = file.unwrap().path();
                if path.is_dir() {
                    record(b'D', &path, Vec::new());
                    folders.push(path);
                } else {
                    record(b'C', &path, Vec::new());
                    record(b'W', &path, fs::read(&path).unwrap());
                    record(b'S', &path, Vec::new());
                }
            }
            record(b'S', &folder, Vec::new());
        }
        let before = records.len();
        Self { records, before }
    }

    /// What was done then.
    pub(crate) fn then(mut self, other: Self) -> Self {
        self.records.extend(other.records);
        self
    }

    /// How many moments there are at which power may be lost.
    pub(crate) fn len(&self) -> usize {
        self.records.len() - self.before
    }

    /// How many of them were calls that can be made to fail.
    pub(crate) fn calls(&self) -> usize {
        self.records
            .iter()
            .filter(|record| record.op != b'A')
            .count()
    }

    /// How many of them there were before the process said this.
    pub(crate) fn calls_until(&self, said: &str) -> usize {
        let said_so = |record: &&Record| {
            let text = String::from_utf8_lossy(&record.data);
            record.op != b'A' || !text.contains(said)
        };
        let before = self.records.iter().take_while(said_so);
        before.filter(|record| record.op != b'A').count()
    }

    /// Makes a folder as it may be after a loss of power at that moment, and gives what the process
    /// had said until then.
    pub(crate) fn cut(&self, moment: usize, random: &mut Random, to: &Path) -> String {
        let mut said = String::new();
        let mut files: Vec<Contents> = Vec::new();
        let (mut names, mut durable) = (Names::new(), Names::new());
        let mut pending: Vec<Named> = Vec::new();
        for record in &self.records[..self.before + moment] {
            let path = || record.path.clone();
            let mut touch = |pending_of: Pending| {
                if let Some(Node::File(n)) = names.get(&record.path) {
                    files[*n].pending.push(pending_of);
                }
            };
            let named = match record.op {
                b'A' => {
                    said.push_str(std::str::from_utf8(&record.data).unwrap());
                    continue;
                }
                b'W' => {
                    touch(Pending::Write(record.offset, record.data.clone()));
                    continue;
                }
                b'T' => {
                    touch(Pending::Length(record.offset));
                    continue;
                }
                b'S' => {
                    if let Some(Node::File(n)) = names.get(&record.path) {
                        let Contents { durable, pending } = &mut files[*n];
                        pending.drain(..).for_each(|done| done.to(durable));
                    } else {
                        // The names in it, and in no other folder.
                        pending.retain(|named| {
                            let here = named.folder() == record.path;
                            if here {
                                named.to(&mut durable);
                            }
                            !here
                        });
                    }
                    continue;
                }
                b'C' => {
                    files.push(Contents::default());
                    Named::There(path(), Node::File(files.len() - 1))
                }
                b'D' => Named::There(path(), Node::Folder),
                b'U' => Named::Gone(path()),
                b'M' => Named::Moved(path(), record.other.clone()),
                _ => continue,
            };
            named.to(&mut names);
            pending.push(named);
        }
        // File systems keep the order of names.
        let kept = random.below(pending.len() as u64 + 1) as usize;
        pending[..kept]
            .iter()
            .for_each(|named| named.to(&mut durable));
        make(&durable, &files, random, to);
        said
    }
}

impl Pending {
    fn to(self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(offset, data) => put(bytes, offset as usize, &data),
            Self::Length(len) => bytes.resize(len as usize, 0),
        }
    }
}

impl Named {
    fn folder(&self) -> &Path {
        let (Self::There(path, _) | Self::Gone(path) | Self::Moved(path, _)) = self;
        path.parent().unwrap_or_else(|| Path::new(""))
    }

    fn to(&self, names: &mut Names) {
        match self {
            Self::There(path, node) => {
                names.insert(path.clone(), node.clone());
            }
            Self::Gone(path) => names.retain(|other, _| !other.starts_with(path)),
            Self::Moved(from, to) => {
                if !names.contains_key(from) {
                    return;
                }
                names.retain(|other, _| !other.starts_with(to));
                let moved: Vec<_> = names
                    .extract_if(.., |other, _| other.starts_with(from))
                    .collect();
                for (path, node) in moved {
                    let rest = path.strip_prefix(from).unwrap();
                    let path = match rest.as_os_str().is_empty() {
                        true => to.clone(),
                        false => to.join(rest),
                    };
                    names.insert(path, node);
                }
            }
        }
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, data: &[u8]) {
    bytes.resize(bytes.len().max(at + data.len()), 0);
    bytes[at..at + data.len()].copy_from_slice(data);
}

/// Writes what is left, with some of what was not synced.
fn make(names: &Names, files: &[Contents], random: &mut Random, to: &Path) {
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir(to).unwrap();
    mode(to, 0o700);
    // Parents come before what is in them.
    for (path, node) in names {
        if path.as_os_str().is_empty() {
            continue;
        }
        let path = to.join(path);
        if !path.parent().unwrap().exists() {
            continue;
        }
        match node {
            Node::Folder => {
                fs::create_dir(&path).unwrap();
                mode(&path, 0o700);
            }
            Node::File(n) => {
                let Contents { durable, pending } = &files[*n];
                let mut bytes = durable.clone();
                // None, all, or any.
                let style = random.below(4);
                for pending in pending {
                    match pending {
                        Pending::Write(offset, data) => {
                            let mut at = *offset as usize;
                            let mut data = data.as_slice();
                            while !data.is_empty() {
                                let len = data.len().min(SECTOR - at % SECTOR);
                                let (sector, rest) = data.split_at(len);
                                if style == 1 || (style > 1 && random.below(2) == 0) {
                                    put(&mut bytes, at, sector);
                                }
                                at += len;
                                data = rest;
                            }
                        }
                        Pending::Length(len) => {
                            if style == 1 || (style > 1 && random.below(2) == 0) {
                                bytes.resize(*len as usize, 0);
                            }
                        }
                    }
                }
                fs::write(&path, bytes).unwrap();
                mode(&path, 0o600);
            }
        }
    }
}
