use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::{MAX_LINE, file_name, folder, numbers};

/// Reads the log's files line by line, in order, as they are: it needs no lock, and what it reads
/// may be growing.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    /// The file that is read, if there is one yet.
    open: Option<Open>,
    torn: bool,
}

#[derive(Debug)]
struct Open {
    number: u32,
    file: BufReader<File>,
    /// Where the next line begins.
    offset: u64,
    /// Which one it is.
    line: u64,
}

/// A line, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The file.
    pub file: PathBuf,
    /// Which line of it, from 1.
    pub number: u64,
    /// Its bytes, the end of the line left out.
    pub bytes: Vec<u8>,
}

impl Reader {
    /// Begins with the first file of this state directory.
    pub fn new(state: &Path) -> Self {
        Self {
            folder: folder(state),
            open: None,
            torn: false,
        }
    }

    /// The next line; `None`: there is no whole one yet. It can be asked again later.
    pub fn next_line(&mut self) -> io::Result<Option<Line>> {
        loop {
            let Some(open) = &mut self.open else {
                match self.following(0)? {
                    Some(open) => self.open = Some(open),
                    None => return Ok(None),
                }
                continue;
            };
            let mut bytes = Vec::new();
            let file = open.file.by_ref();
            let read = file.take(MAX_LINE).read_until(b'\n', &mut bytes)? as u64;
            let whole = bytes.last() == Some(&b'\n') || read == MAX_LINE;
            self.torn = !whole && read > 0;
            let number = open.number;
            if !whole {
                // Looked at again from its beginning: it may not stay what it is.
                open.file.seek(SeekFrom::Start(open.offset))?;
                match self.following(number)? {
                    None => return Ok(None),
                    // It will not become longer: the next file is begun when this one is whole.
                    Some(next) => {
                        let now = self.open.as_mut().map(|open| ended(open, read));
                        if now.transpose()?.unwrap_or(true) {
                            self.torn = false;
                            let before = self.open.replace(next);
                            if read > 0 {
                                return Ok(before.map(|open| line(&self.folder, &open, bytes)));
                            }
                        }
                        continue;
                    }
                }
            }
            if bytes.last() == Some(&b'\n') {
                bytes.pop();
            }
            let found = line(&self.folder, open, bytes);
            open.offset += read;
            open.line += 1;
            return Ok(Some(found));
        }
    }

    /// Whether the last file ended, when it was last looked at, with a line that is not whole.
    pub fn is_torn(&self) -> bool {
        self.torn
    }

    /// The file after this one, if there is one.
    fn following(&self, number: u32) -> io::Result<Option<Open>> {
        let numbers = match numbers(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            numbers => numbers?,
        };
        let Some(number) = numbers.into_iter().find(|other| *other > number) else {
            return Ok(None);
        };
        Ok(Some(Open {
            number,
            file: BufReader::new(File::open(self.folder.join(file_name(number)))?),
            offset: 0,
            line: 1,
        }))
    }
}

/// Whether a file still ends so far behind the beginning of its last line.
fn ended(open: &mut Open, behind: u64) -> io::Result<bool> {
    Ok(open.file.get_ref().metadata()?.len() == open.offset + behind)
}

fn line(folder: &Path, open: &Open, bytes: Vec<u8>) -> Line {
    Line {
        file: folder.join(file_name(open.number)),
        number: open.line,
        bytes,
    }
}
