//! What a fuzzer calls: any bytes as files of each format, and a panic if something does not hold.
#![expect(clippy::unwrap_used, reason = "a fuzzer is told by a panic")]

use super::{Folder, Format, Imported, Take, Where, arcan, curvecp, guess, jsonl, parse, zeromq};

/// The first byte says what the others are: the format, what is wanted of it, and whether they are
/// one file or a directory. In a directory each file begins with [`FILE`] and its name, a line.
pub(crate) fn files(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else {
        return;
    };
    let take = Take {
        private: how & 8 != 0,
        servers: how & 16 != 0,
    };
    let folder = match how & 32 {
        0 => Folder::file("place", bytes),
        _ => directory(bytes),
    };
    if let Err(error) = guess(&folder) {
        drop(error.to_string());
    }
    for format in Format::all().into_iter().skip(usize::from(how & 7)).take(1) {
        match parse(format, &folder, take) {
            Ok(imported) => rewrite(imported, take),
            Err(error) => assert!(error.to_string().starts_with("place")),
        }
    }
}

/// What was read can be written in every format, and is then read again as it was.
fn rewrite(imported: Imported, take: Take) {
    let Imported {
        inbound,
        outbound,
        private,
        skipped,
    } = anywhere(imported);
    assert!(take.private || private.is_empty());
    for skipped in skipped {
        assert!(!skipped.why.is_empty() && skipped.at.file.starts_with("place"));
    }
    let lines = jsonl::write(&inbound, &outbound);
    let folder = Folder::file("place", lines.as_bytes());
    let again = anywhere(parse(Format::JsonLines, &folder, take).unwrap());
    assert_eq!(again.inbound, inbound);
    let known = |servers: &[super::Outbound]| {
        let mut servers = servers.to_vec();
        // Nothing secret is in those lines.
        servers.iter_mut().for_each(|server| server.identity = None);
        servers
    };
    assert_eq!(known(&again.outbound), known(&outbound));
    let keystore = arcan::write(&inbound, &outbound, &private).folder("place");
    parse(Format::Arcan, &keystore, take).unwrap();
    for entry in inbound {
        let label = entry.label.as_deref();
        let text = zeromq::write_public(&entry.key, label, entry.comment.as_deref());
        let folder = Folder::file("place", text.as_bytes());
        let again = parse(Format::ZeroMq, &folder, take).unwrap();
        let keys: Vec<_> = again.inbound.iter().map(|entry| entry.key).collect();
        assert_eq!(keys, [entry.key]);
        let folder = curvecp::write(&entry.key, None).folder("place");
        let again = parse(Format::CurveCp, &folder, take).unwrap();
        let keys: Vec<_> = again.inbound.iter().map(|entry| entry.key).collect();
        assert_eq!(keys, [entry.key]);
    }
}

/// Without the places, which are not written.
fn anywhere(mut imported: Imported) -> Imported {
    let inbound = imported.inbound.iter_mut().map(|entry| &mut entry.from);
    let outbound = imported.outbound.iter_mut().map(|entry| &mut entry.from);
    for from in inbound.chain(outbound) {
        *from = Where {
            file: String::new(),
            line: None,
        };
    }
    imported
}

fn directory(bytes: &[u8]) -> Folder {
    let files = bytes.split(|&byte| byte == FILE).filter_map(|file| {
        let end = file.iter().position(|&byte| byte == b'\n')?;
        let (name, bytes) = file.split_at_checked(end)?;
        let name = str::from_utf8(name).ok()?;
        // No file system has such names.
        let path = name.split('/').all(|part| !part.is_empty()) && name.len() <= 255;
        Some((name, bytes.get(1..)?)).filter(|_| path && !name.contains('\0'))
    });
    Folder::directory("place", files)
}

/// "Record separator" in ASCII.
const FILE: u8 = 0x1e;
