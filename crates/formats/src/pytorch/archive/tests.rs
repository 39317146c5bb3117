use gravure_base::{ErrorKind, MemoryReader};
use proptest::prelude::*;

use super::*;

/// A file of an archive under construction.
#[derive(Clone)]
struct Member {
    name: Vec<u8>,
    local_name: Vec<u8>,
    data: Vec<u8>,
    method: u16,
    flags: u16,
    /// Added to the sizes in the central directory.
    lie: u32,
    local_offset: Option<u32>,
}

fn member(name: &str, data: &[u8]) -> Member {
    let name = name.as_bytes().to_vec();
    Member { local_name: name.clone(), name, data: data.to_vec(), method: 0, flags: 0, lie: 0, local_offset: None }
}

fn zip(members: &[Member]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for m in members {
        let at = out.len() as u32;
        let (crc, size) = (crc32(&m.data), m.data.len() as u32);
        let common = |name: &[u8], size: u32| {
            let mut fields = Vec::new();
            fields.extend([20u16, m.flags, m.method, 0, 0].iter().flat_map(|v| v.to_le_bytes()));
            fields.extend([crc, size, size].iter().flat_map(|v| v.to_le_bytes()));
            fields.extend((name.len() as u16).to_le_bytes());
            fields.extend(0u16.to_le_bytes());
            fields
        };
        out.extend(LOCAL.to_le_bytes());
        out.extend(common(&m.local_name, size));
        out.extend(&m.local_name);
        out.extend(&m.data);
        directory.extend(CENTRAL.to_le_bytes());
        directory.extend(20u16.to_le_bytes());
        directory.extend(common(&m.name, size.wrapping_add(m.lie)));
        directory.extend([0u8; 10]);
        directory.extend(m.local_offset.unwrap_or(at).to_le_bytes());
        directory.extend(&m.name);
    }
    let at = out.len() as u32;
    out.extend(&directory);
    out.extend(END.to_le_bytes());
    out.extend([0u8; 4]);
    out.extend([members.len() as u16; 2].iter().flat_map(|v| v.to_le_bytes()));
    out.extend([directory.len() as u32, at].iter().flat_map(|v| v.to_le_bytes()));
    out.extend(0u16.to_le_bytes());
    out
}

fn open(bytes: Vec<u8>) -> Result<Archive> {
    Archive::open(Arc::new(MemoryReader::new(bytes, "test")), &Limits::default())
}

#[test]
fn crc_is_that_of_zip() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
}

#[test]
fn a_plain_archive_is_read() {
    let archive = open(zip(&[member("a/x", b"hello"), member("a/y", b"")])).unwrap();
    let entry = archive.entry("a/x").unwrap();
    assert_eq!(archive.read(entry, 100).unwrap(), b"hello");
    assert_eq!(archive.read(entry, 4).unwrap_err().kind(), ErrorKind::Limit);
    assert!(archive.entry("a/z").is_none());
    assert_eq!(open(zip(&[])).unwrap().entries.len(), 0);
}

#[test]
fn zip64_records_are_read() {
    // The end record's fields are all marked as too large; the zip64 record has them.
    let mut bytes = zip(&[member("a/x", b"hello")]);
    let end = bytes.split_off(bytes.len() - 22);
    let field = |at: usize| u64::from(u32::from_le_bytes(end[at..at + 4].try_into().unwrap()));
    let at = bytes.len() as u64;
    let mut wide = Vec::new();
    wide.extend(END64.to_le_bytes());
    wide.extend(44u64.to_le_bytes());
    wide.extend([45u8, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    wide.extend([1, 1, field(12), field(16)].iter().flat_map(|v| v.to_le_bytes()));
    wide.extend(LOCATOR64.to_le_bytes());
    wide.extend(0u32.to_le_bytes());
    wide.extend(at.to_le_bytes());
    wide.extend(1u32.to_le_bytes());
    wide.extend(END.to_le_bytes());
    wide.extend([0u8; 4]);
    wide.extend([0xff; 12]);
    wide.extend([0, 0]);
    bytes.extend(&wide);
    assert_eq!(open(bytes.clone()).unwrap().entries.len(), 1);
    let last = bytes.len();
    // The narrow record may also repeat the truth, but not tell another story.
    bytes[last - 14..last - 10].copy_from_slice(&[1, 0, 1, 0]);
    assert!(open(bytes.clone()).is_ok());
    bytes[last - 14..last - 10].copy_from_slice(&[2, 0, 2, 0]);
    assert!(open(bytes).unwrap_err().message().contains("disagree"));
}

#[test]
fn ambiguous_archives_are_refused() {
    let x = || member("a/x", b"hello");
    let change = |f: &dyn Fn(&mut Member)| {
        let mut m = x();
        f(&mut m);
        zip(&[m, member("a/y", b"other")])
    };
    let mut prepended = b"#!/bin/sh\n".to_vec();
    prepended.extend(zip(&[x()]));
    let mut appended = zip(&[x()]);
    appended.extend(b"tail");
    let mut commented = zip(&[x()]);
    let at = commented.len() - 2;
    commented[at] = 4;
    commented.extend(b"note");
    let mut damaged = zip(&[x()]);
    damaged[33] ^= 1;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("two files of one name", zip(&[x(), x()]), "two files"),
        ("another name in the local header", change(&|m| m.local_name = b"a/z".to_vec()), "another name"),
        ("a longer name in the local header", change(&|m| m.local_name = b"a/xx".to_vec()), "another name"),
        ("compressed", change(&|m| m.method = 8), "compressed"),
        ("encrypted", change(&|m| m.flags = 1), "encrypted"),
        ("another size in the local header", change(&|m| m.lie = 1), "another size"),
        ("a size that leaves the archive", change(&|m| m.lie = 1 << 30), "outside"),
        ("a header that leaves the archive", change(&|m| m.local_offset = Some(1 << 30)), "outside"),
        ("a header where none is", change(&|m| m.local_offset = Some(3)), "outside"),
        (
            "two entries over one file",
            {
                let mut y = member("a/x", b"");
                y.local_offset = Some(0);
                zip(&[x(), y])
            },
            "another size",
        ),
        (
            "a path upwards",
            change(&|m| {
                m.name = b"a/../x".to_vec();
                m.local_name = m.name.clone();
            }),
            "plain name",
        ),
        (
            "an absolute path",
            change(&|m| {
                m.name = b"/etc/passwd".to_vec();
                m.local_name = m.name.clone();
            }),
            "plain name",
        ),
        (
            "a control character",
            change(&|m| {
                m.name = b"a/\x00".to_vec();
                m.local_name = m.name.clone();
            }),
            "plain name",
        ),
        (
            "no UTF-8",
            change(&|m| {
                m.name = b"a/\xff".to_vec();
                m.local_name = m.name.clone();
            }),
            "UTF-8",
        ),
        ("bytes before the archive", prepended, "zip directory does not end"),
        ("bytes after the archive", appended, "end record"),
    ];
    for (what, bytes, message) in cases {
        let error = open(bytes).expect_err(what);
        assert!(error.kind() == ErrorKind::Input && error.message().contains(message), "{what}: {error}");
    }
    assert!(open(commented).is_ok(), "a comment is no content");
    let archive = open(damaged).unwrap();
    assert!(archive.read(&archive.entries[0], 100).unwrap_err().message().contains("checksum"));
}

#[test]
fn every_truncation_and_bit_flip_is_an_error_or_consistent() {
    let bytes = zip(&[member("a/x", b"hello"), member("a/y", b"other")]);
    for length in 0..bytes.len() {
        assert!(open(bytes[..length].to_vec()).is_err(), "{length}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(archive) = open(flipped) {
            for entry in &archive.entries {
                let _ = archive.read(entry, 1000);
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_tails_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), count in any::<u16>(), size in any::<u32>(), offset in any::<u32>()) {
        let mut bytes = bytes;
        let _ = open(bytes.clone());
        bytes.extend(END.to_le_bytes());
        bytes.extend([0u8; 4]);
        bytes.extend([count; 2].iter().flat_map(|v| v.to_le_bytes()));
        bytes.extend([size, offset].iter().flat_map(|v| v.to_le_bytes()));
        bytes.extend(0u16.to_le_bytes());
        let _ = open(bytes);
    }
}
