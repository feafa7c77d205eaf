//! The edge of this room: where files are read and written.

use std::fs::{self, DirBuilder, File as Handle, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::{Error, Flaw, Skipped, Where};

/// A file or a directory that has been read, as far as any format looks into it.
#[derive(Debug, Clone)]
pub struct Folder {
    name: String,
    /// It is a file, which then is the only one.
    single: bool,
    files: Vec<File>,
    /// The directories in it that were looked into.
    below: Vec<&'static str>,
    skipped: Vec<Skipped>,
}

/// A file.
#[derive(Debug, Clone)]
pub struct File {
    /// Its path from the folder; empty if it is all there is.
    pub name: String,
    /// Where it is, to tell people.
    place: String,
    /// What is in it, which may be secret.
    pub bytes: Zeroizing<Vec<u8>>,
}

impl File {
    /// All of it, or this line of it, from 1.
    pub(super) fn at(&self, line: impl Into<Option<usize>>) -> Where {
        Where {
            file: self.place.clone(),
            line: line.into().map(|line| line.try_into().unwrap_or(u32::MAX)),
        }
    }

    pub(super) fn flaw(&self, line: impl Into<Option<usize>>, flaw: Flaw) -> Error {
        let at = self.at(line);
        Error { at, flaw }
    }

    /// Its text; what is no UTF-8 is named by its line.
    pub(super) fn text(&self) -> Result<&str, Error> {
        str::from_utf8(&self.bytes).map_err(|error| {
            let sound = self.bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = 1 + sound.iter().filter(|&&byte| byte == b'\n').count();
            self.flaw(line, Flaw::NoText)
        })
    }

    /// Its lines, from 1.
    pub(super) fn lines(&self) -> Result<impl Iterator<Item = (usize, &str)>, Error> {
        Ok((1..).zip(self.text()?.lines()))
    }
}

impl Folder {
    /// A file that is in memory.
    pub fn file(place: &str, bytes: &[u8]) -> Self {
        let mut folder = Self::empty(place, true);
        folder.push(String::new(), Zeroizing::new(bytes.to_vec()));
        folder
    }

    /// A directory that is in memory: paths in it, and what is there.
    pub fn directory<'a>(
        place: &str,
        files: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Self {
        let mut folder = Self::empty(place, false);
        for (name, bytes) in files {
            let above = name.split_once('/').map(|(above, _)| above);
            let known = BELOW.into_iter().find(|below| Some(*below) == above);
            folder.below.extend(known);
            folder.push(name.to_owned(), Zeroizing::new(bytes.to_vec()));
        }
        folder
    }

    /// Reads a file or a directory. Links in a directory are not followed; what is there and no
    /// file, or too large, is skipped.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let place = path.display().to_string();
        let fail = |flaw| Error {
            at: Where {
                file: place.clone(),
                line: None,
            },
            flaw,
        };
        let meta = fs::metadata(path).map_err(|error| fail(Flaw::Io(error)))?;
        if meta.is_dir() {
            let mut folder = Self::empty(place.trim_end_matches('/'), false);
            folder.walk(path, "")?;
            return Ok(folder);
        }
        if !meta.is_file() {
            return Err(fail(Flaw::NoFile));
        }
        let mut folder = Self::empty(&place, true);
        let handle = open(path, OFlags::empty()).map_err(|error| fail(Flaw::Io(error)))?;
        match read(handle, TOTAL).map_err(|error| fail(Flaw::Io(error)))? {
            Ok(bytes) => folder.push(String::new(), bytes),
            Err(Unfit::NoFile) => return Err(fail(Flaw::NoFile)),
            Err(Unfit::Long) => return Err(fail(Flaw::TooLarge("16 MiB"))),
        }
        Ok(folder)
    }

    fn empty(name: &str, single: bool) -> Self {
        Self {
            name: name.to_owned(),
            single,
            files: Vec::new(),
            below: Vec::new(),
            skipped: Vec::new(),
        }
    }

    fn push(&mut self, name: String, bytes: Zeroizing<Vec<u8>>) {
        let place = self.path(&name);
        self.files.push(File { name, place, bytes });
    }

    fn path(&self, name: &str) -> String {
        match name {
            "" => self.name.clone(),
            name => format!("{}/{name}", self.name),
        }
    }

    /// Takes the files of a directory, and of those in it that a format knows.
    fn walk(&mut self, path: &Path, below: &str) -> Result<(), Error> {
        let fail = |place: String, flaw| Error {
            at: Where {
                file: place,
                line: None,
            },
            flaw,
        };
        let listed = fs::read_dir(path).and_then(|entries| {
            let names = entries.map(|entry| entry.map(|entry| entry.file_name()));
            names.take(FILES + 1).collect::<io::Result<Vec<_>>>()
        });
        let mut names = listed.map_err(|error| fail(self.path(below), Flaw::Io(error)))?;
        if names.len() + self.files.len() > FILES {
            return Err(fail(self.path(below), Flaw::TooLarge("4096 files")));
        }
        names.sort();
        for name in names {
            let inner = path.join(&name);
            let name = match below {
                "" => name.to_string_lossy().into_owned(),
                below => format!("{below}/{}", name.to_string_lossy()),
            };
            let system = |error| fail(self.path(&name), Flaw::Io(error));
            let kind = fs::symlink_metadata(&inner).map_err(system)?.file_type();
            if kind.is_dir() {
                match BELOW.into_iter().find(|known| *known == name) {
                    Some(known) => {
                        self.below.push(known);
                        self.walk(&inner, known)?;
                    }
                    None => self.skip(&name, "a directory that no format has a use for"),
                }
                continue;
            }
            if !kind.is_file() {
                self.skip(&name, "no file of its own: a link, a pipe or the like");
                continue;
            }
            let handle = open(&inner, OFlags::NOFOLLOW).map_err(system)?;
            match read(handle, EACH).map_err(system)? {
                Ok(bytes) => self.push(name, bytes),
                Err(Unfit::NoFile) => self.skip(&name, "no file"),
                Err(Unfit::Long) => self.skip(&name, "longer than 64 KiB"),
            }
            if self
                .files
                .iter()
                .map(|file| file.bytes.len())
                .sum::<usize>()
                > TOTAL
            {
                return Err(fail(self.path(below), Flaw::TooLarge("16 MiB")));
            }
        }
        Ok(())
    }

    fn skip(&mut self, name: &str, why: &str) {
        let file = self.path(name);
        let at = Where { file, line: None };
        let why = why.to_owned();
        self.skipped.push(Skipped { at, why });
    }

    /// The files, in the order of their names.
    pub(super) fn files(&self) -> &[File] {
        &self.files
    }

    /// The files of a directory in it, with their names there.
    pub(super) fn below<'a>(&'a self, place: &'a str) -> impl Iterator<Item = (&'a str, &'a File)> {
        self.files.iter().filter_map(move |file| {
            let name = file.name.strip_prefix(place)?.strip_prefix('/')?;
            Some((name, file))
        })
    }

    pub(super) fn has_below(&self, place: &str) -> bool {
        self.below.contains(&place)
    }

    /// The file, if that is what it is.
    pub(super) fn single(&self) -> Option<&File> {
        self.files.first().filter(|_| self.single)
    }

    /// What could not be looked into.
    pub(super) fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    pub(super) fn place(&self) -> Where {
        Where {
            file: self.name.clone(),
            line: None,
        }
    }

    /// The last word of its path.
    pub(super) fn last_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or_default()
    }
}

/// Files to be written, and what is not in them.
#[derive(Debug, Clone, Default)]
pub struct Files {
    /// Directories, that for all of them left out.
    pub(super) folders: Vec<&'static str>,
    /// Path, contents, permissions.
    pub(super) files: Vec<(String, Zeroizing<Vec<u8>>, u32)>,
    /// What the format has no words for, and why.
    pub left_out: Vec<String>,
}

impl Files {
    pub(super) fn push(&mut self, name: String, text: Zeroizing<String>, mode: u32) {
        let bytes = Zeroizing::new(text.as_bytes().to_vec());
        self.files.push((name, bytes, mode));
    }

    /// Makes a directory with them. It must not be there yet: nothing is replaced.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let fail = |path: &Path| {
            let file = path.display().to_string();
            move |error| Error {
                at: Where { file, line: None },
                flaw: Flaw::Io(error),
            }
        };
        let make = |path: &Path| {
            let made = DirBuilder::new().mode(0o700).create(path);
            made.map_err(fail(path))
        };
        make(path)?;
        for folder in &self.folders {
            make(&path.join(folder))?;
        }
        for (name, bytes, mode) in &self.files {
            let path = path.join(name);
            let written = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(*mode)
                .open(&path)
                .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
            written.map_err(fail(&path))?;
        }
        Ok(())
    }

    /// The same, as if it had been read.
    #[cfg(any(test, fuzzing))]
    pub(super) fn folder(&self, place: &str) -> Folder {
        let files = self.files.iter();
        let files = files.map(|(name, bytes, _)| (name.as_str(), bytes.as_slice()));
        let mut folder = Folder::directory(place, files);
        folder.below.extend(&self.folders);
        folder
    }
}

/// Why a file's contents are not there.
enum Unfit {
    NoFile,
    Long,
}

/// Opens a file, and does not wait for the other end of a pipe.
fn open(path: &Path, flags: OFlags) -> io::Result<Handle> {
    let flags = (OFlags::NONBLOCK | flags).bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Reads into one buffer of the right size, so that no copy is left behind.
fn read(file: Handle, longest: usize) -> io::Result<Result<Zeroizing<Vec<u8>>, Unfit>> {
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Ok(Err(Unfit::NoFile));
    }
    let size = usize::try_from(meta.len()).unwrap_or(usize::MAX);
    if size > longest {
        return Ok(Err(Unfit::Long));
    }
    // One more, to see the end without growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(size + 1));
    file.take(size as u64).read_to_end(&mut bytes)?;
    Ok(Ok(bytes))
}

/// The directories in a directory that formats know.
const BELOW: [&str; 3] = ["accepted", "hostkeys", ".expertsonly"];

/// How many files are read.
const FILES: usize = 4096;

/// How long a file in a directory may be, in bytes.
const EACH: usize = 64 * 1024;

/// How long a file that is named itself, or all of a directory, may be, in bytes.
const TOTAL: usize = 16 * 1024 * 1024;
