//! Hostile PyTorch checkpoints: pickles, archives, legacy streams.

use gravure_core::ErrorKind::{self, Input, Limit, Unsupported};

use super::pickle::{call, dict, global, honest, int, ints, pickle, state, storage, tensor, text, tuple};
use super::zip::{Entry, Zip};
use super::{Class, Sample, lfs_pointer};

/// The entries of a checkpoint as torch writes them: this pickle, and 16 bytes of the storage `0`.
pub(super) fn entries(object: Vec<u8>) -> Vec<Entry> {
    vec![
        Entry::new("model/data.pkl", object),
        Entry::new("model/byteorder", b"little".to_vec()),
        Entry::new("model/data/0", vec![0; 16]),
        Entry::new("model/version", b"3\n".to_vec()),
    ]
}

fn archive(object: Vec<u8>) -> Vec<u8> {
    Zip::new(entries(object)).build()
}

fn one(name: &str, class: Class, kind: ErrorKind, bytes: Vec<u8>) -> Sample {
    Sample::file(&format!("torch: {name}"), "pt", class, kind, bytes)
}

pub(super) fn samples() -> Vec<Sample> {
    [names(), opcodes(), bombs(), tensors(), archives(), streams()].into_iter().flatten().collect()
}

/// Names that a pickle would call or refer to.
fn names() -> Vec<Sample> {
    let called = [
        ("os", "system"),
        ("posix", "system"),
        ("nt", "system"),
        ("subprocess", "Popen"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("builtins", "getattr"),
        ("__builtin__", "apply"),
        ("pkgutil", "resolve_name"),
        ("operator", "attrgetter"),
        ("importlib", "import_module"),
        ("_interpreters", "run_string"),
        ("runpy", "_run_code"),
        ("pip", "main"),
        ("torch", "load"),
        ("torch.hub", "load"),
        ("torch.jit", "load"),
        ("torch.serialization", "load"),
        ("torch._utils", "_rebuild_wrapper_subclass"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy", "load"),
        ("collections", "OrderedDict.__reduce__"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("torch", "FloatStorage\u{0}"),
        ("Torch._utils", "_rebuild_tensor_v2"),
    ];
    let mut out: Vec<Sample> = called
        .iter()
        .map(|(module, name)| {
            let object = state(call(global(module, name), &[text("true")]));
            let shown = format!("calls {module}.{name}").replace('\u{0}', "NUL");
            one(&shown, Class::Pickle, Input, archive(object))
        })
        .collect();
    let stack_global = [text("os"), text("system"), b"\x93".to_vec()].concat();
    let popped = pickle(&[call(global("os", "system"), &[text("true")]), b"0".to_vec(), dict(&[])].concat());
    let body = |bytes: &[u8]| archive(state(bytes.to_vec()));
    out.extend([
        one("a name from the stack", Class::Pickle, Input, archive(state(call(stack_global, &[text("true")])))),
        one("a name that is only referred to", Class::Pickle, Input, archive(state(global("os", "system")))),
        one("a call whose result is thrown away", Class::Pickle, Input, archive(popped)),
        one("an instance by INST", Class::Pickle, Input, body(b"(ios\nsystem\n")),
        one("an instance by OBJ", Class::Pickle, Input, body(&[&b"("[..], &global("os", "system"), b"o"].concat())),
        one(
            "an instance of an allowed class by NEWOBJ",
            Class::Pickle,
            Input,
            body(&[global("collections", "OrderedDict"), b")\x81".to_vec()].concat()),
        ),
        one("an instance by NEWOBJ_EX", Class::Pickle, Input, body(&[global("collections", "OrderedDict"), b")}\x92".to_vec()].concat())),
        one("a name of the extension registry", Class::Pickle, Input, body(b"\x82\x01")),
        one("a persistent id in text", Class::Pickle, Input, body(b"Pstorage\n")),
        one("a buffer from outside", Class::Pickle, Input, body(b"\x97")),
        one(
            "state of a tensor",
            Class::Pickle,
            Input,
            body(&[tensor(storage("FloatStorage", "0", 4), 0, &[4], &[1]), b"}b".to_vec()].concat()),
        ),
        one("a call of text", Class::Pickle, Input, body(&call(text("os.system"), &[]))),
        one("a call of a tensor type", Class::Pickle, Input, body(&call(global("torch", "FloatStorage"), &[int(1 << 40)]))),
        one(
            "a second pickle behind the first",
            Class::Polyglot,
            Input,
            archive([honest(), state(call(global("os", "system"), &[]))].concat()),
        ),
        one("a bare pickle that runs a command", Class::Pickle, Input, state(call(global("os", "system"), &[text("true")]))),
        Sample::file("torch: a command under the name of weights", "bin", Class::Pickle, Input, b"cos\nsystem\n(S'true'\ntR.".to_vec()),
    ]);
    out
}

/// Opcodes out of place.
fn opcodes() -> Vec<Sample> {
    let case = |name: &str, class: Class, bytes: &[u8]| one(&format!("opcodes: {name}"), class, Input, archive(bytes.to_vec()));
    vec![
        case("none", Class::Truncated, b""),
        case("no stop", Class::Truncated, b"\x80\x02}"),
        case("stop alone", Class::Syntax, b"."),
        case("protocol 6", Class::Unknown, b"\x80\x06}."),
        case("an unknown one", Class::Syntax, b"\x80\x02\xff."),
        case("a value too few", Class::Syntax, b"\x80\x02}s."),
        case("a value too many", Class::Syntax, b"\x80\x02}}."),
        case("a mark that was not set", Class::Syntax, b"\x80\x02t."),
        case("a mark left over", Class::Syntax, b"\x80\x02(}."),
        case("half an entry", Class::Syntax, b"\x80\x02}(K\x01u."),
        case("a value that was never kept", Class::Syntax, b"\x80\x02h\x07."),
        case("an entry of a number", Class::Syntax, b"\x80\x02K\x01K\x02K\x03s."),
        case("text of minus one bytes", Class::Overflow, b"\x80\x02T\xff\xff\xff\xff."),
        case("text of 4 GiB", Class::BeyondFile, b"\x80\x02X\xff\xff\xff\xff."),
        case("text of 2^63 bytes", Class::BeyondFile, b"\x80\x02\x8d\0\0\0\0\0\0\0\x80."),
        case("bytes of 2^64-1 bytes", Class::Overflow, b"\x80\x02\x8e\xff\xff\xff\xff\xff\xff\xff\xff."),
        case("integer of minus one bytes", Class::Overflow, b"\x80\x02\x8b\xff\xff\xff\xff."),
        case("frame of 2^63 bytes", Class::BeyondFile, b"\x80\x04\x95\0\0\0\0\0\0\0\x80}."),
        case("text that is not UTF-8", Class::Text, b"\x80\x02X\x02\0\0\0\xff\xfe."),
        case("a line without end", Class::HugeWork, &[&b"\x80\x02c"[..], &[b'a'; 8192]].concat()),
        case("an integer in a line that is none", Class::Syntax, b"\x80\x02I1e999\n."),
        case("a quoted text without its end", Class::Syntax, b"\x80\x02S'abc\n."),
        case("a list", Class::Contradiction, b"\x80\x02]."),
        case("a list in itself", Class::Recursion, b"\x80\x02]q\0h\0a."),
        case("an empty dictionary", Class::Contradiction, b"\x80\x02}."),
    ]
}

/// Small pickles that ask for much.
fn bombs() -> Vec<Sample> {
    let case = |name: &str, class: Class, kind: ErrorKind, bytes: Vec<u8>| one(&format!("bomb: {name}"), class, kind, archive(bytes));
    let million = 1 << 20;
    let list = [&b"("[..], &b"N".repeat(400_000), b"lq\0"].concat();
    let copies: Vec<u8> = (0..2000).flat_map(|_| [global("collections", "OrderedDict"), b"h\0\x85R0".to_vec()].concat()).collect();
    let doubled: Vec<u8> = (0..40).flat_map(|_| b"\x86q\0h\0".to_vec()).collect();
    vec![
        case("3 million empty lists", Class::HugeWork, Limit, pickle(&b"]".repeat(3 * million))),
        case("3 million marks", Class::HugeWork, Limit, pickle(&b"(".repeat(3 * million))),
        case("3 million copies of the top", Class::HugeWork, Limit, pickle(&[b"N".to_vec(), b"2".repeat(3 * million)].concat())),
        case("3 million values kept", Class::HugeWork, Limit, pickle(&[b"N".to_vec(), b"\x94".repeat(3 * million)].concat())),
        case("tuples half a million deep", Class::Recursion, Input, pickle(&[b"N".to_vec(), b"\x85".repeat(million / 2)].concat())),
        case("a list copied two thousand times", Class::HugeWork, Input, pickle(&[list, copies].concat())),
        case("a tuple doubled forty times", Class::HugeWork, Input, pickle(&[b"NN".to_vec(), doubled].concat())),
        case("100000 refused names", Class::Pickle, Input, pickle(&[global("a", "b"), b"0".to_vec()].concat().repeat(100_000))),
    ]
}

/// Tensors that leave their storage, and storages that are not what they say.
fn tensors() -> Vec<Sample> {
    let case =
        |name: &str, class: Class, kind: ErrorKind, value: Vec<u8>| one(&format!("tensor: {name}"), class, kind, archive(state(value)));
    let of = |offset: i64, size: &[i64], stride: &[i64]| tensor(storage("FloatStorage", "0", 4), offset, size, stride);
    let two = |a: Vec<u8>, b: Vec<u8>| archive(pickle(&dict(&[(text("a"), a), (text("b"), b)])));
    let honest_tensor = || of(0, &[4], &[1]);
    vec![
        case("size past the storage", Class::BeyondFile, Input, of(0, &[5], &[1])),
        case("offset past the storage", Class::BeyondFile, Input, of(1, &[4], &[1])),
        case("stride past the storage", Class::BeyondFile, Input, of(0, &[2, 2], &[1 << 40, 1])),
        case("product of 2^64", Class::Overflow, Input, of(0, &[1 << 32, 1 << 32], &[0, 0])),
        case("offset of 2^63-1", Class::Overflow, Input, of(i64::MAX, &[4], &[1])),
        case("strides that wrap", Class::Overflow, Input, of(0, &[3, 3], &[i64::MAX, i64::MAX])),
        case("negative size", Class::Overflow, Input, of(0, &[-4], &[1])),
        case("negative stride", Class::Overflow, Input, of(3, &[4], &[-1])),
        case("negative offset", Class::Overflow, Input, of(-1, &[4], &[1])),
        case("one value as a billion", Class::HugeWork, Unsupported, of(0, &[1 << 15, 1 << 15], &[0, 0])),
        case("rows that overlap", Class::HugeWork, Unsupported, of(0, &[3, 2], &[1, 1])),
        case("columns that overlap", Class::HugeWork, Unsupported, of(0, &[2, 3], &[1, 1])),
        case("more strides than dimensions", Class::Contradiction, Input, of(0, &[4], &[1, 1])),
        case("65 dimensions", Class::HugeWork, Limit, of(0, &[1; 65], &[1; 65])),
        case("9 dimensions", Class::HugeWork, Limit, of(0, &[1; 9], &[1; 9])),
        case("size that is text", Class::Syntax, Input, {
            let hooks = b"N".to_vec();
            call(
                global("torch._utils", "_rebuild_tensor_v2"),
                &[storage("FloatStorage", "0", 4), int(0), text("4"), ints(&[1]), b"\x89".to_vec(), hooks],
            )
        }),
        case("over a number", Class::Syntax, Input, tensor(int(7), 0, &[4], &[1])),
        case("over raw bytes", Class::Syntax, Input, {
            let raw =
                [tuple(&[text("storage"), global("torch.storage", "UntypedStorage"), text("0"), text("cpu"), int(16)]), b"Q".to_vec()];
            tensor(raw.concat(), 0, &[4], &[1])
        }),
        case("storage that is not there", Class::BeyondFile, Input, tensor(storage("FloatStorage", "1", 4), 0, &[4], &[1])),
        case("storage outside the archive", Class::Traversal, Input, tensor(storage("FloatStorage", "../../etc/passwd", 4), 0, &[4], &[1])),
        case(
            "storage of more elements than bytes",
            Class::Contradiction,
            Input,
            tensor(storage("FloatStorage", "0", 1 << 40), 0, &[4], &[1]),
        ),
        case("storage of fewer elements than bytes", Class::Contradiction, Input, tensor(storage("FloatStorage", "0", 2), 0, &[2], &[1])),
        case("storage of minus four elements", Class::Overflow, Input, tensor(storage("FloatStorage", "0", -4), 0, &[4], &[1])),
        case("storage of an unknown type", Class::Pickle, Input, tensor(storage("QuantumStorage", "0", 4), 0, &[4], &[1])),
        one(
            "tensor: one storage of two types",
            Class::Contradiction,
            Input,
            two(honest_tensor(), tensor(storage("IntStorage", "0", 4), 0, &[4], &[1])),
        ),
        one(
            "tensor: name twice",
            Class::Duplicate,
            Input,
            archive(pickle(&dict(&[(text("a"), honest_tensor()), (text("a"), honest_tensor())]))),
        ),
        one("tensor: name that is a number", Class::Syntax, Input, archive(pickle(&dict(&[(int(1), honest_tensor())])))),
    ]
}

fn archives() -> Vec<Sample> {
    let case = |name: &str, class: Class, kind: ErrorKind, bytes: Vec<u8>| one(&format!("zip: {name}"), class, kind, bytes);
    let good = || entries(honest());
    let changed = |change: &dyn Fn(&mut Vec<Entry>)| {
        let mut entries = good();
        change(&mut entries);
        Zip::new(entries).build()
    };
    let ended = |change: &dyn Fn(&mut Zip)| {
        let mut zip = Zip::new(good());
        change(&mut zip);
        zip.build()
    };
    let whole = Zip::new(good()).build();
    let evil = state(call(global("os", "system"), &[text("true")]));
    vec![
        case("no end record", Class::Truncated, Input, whole[..whole.len() - 22].to_vec()),
        case("half a file", Class::Truncated, Input, whole[..whole.len() / 2].to_vec()),
        case("magic alone", Class::Truncated, Input, b"PK\x03\x04".to_vec()),
        case("end record alone", Class::Contradiction, Input, ended(&|z| z.entries.clear())),
        case(
            "a name that its local header does not have",
            Class::Archive,
            Input,
            changed(&|e| e[0].local_name = b"model/data.pk1".to_vec()),
        ),
        case("a size that its local header does not have", Class::Archive, Input, changed(&|e| e[2].local_size = 8)),
        case("a method that its local header does not have", Class::Archive, Input, changed(&|e| e[0].local_method = 8)),
        case("a compressed file", Class::Archive, Input, changed(&|e| (e[0].method, e[0].local_method) = (8, 8))),
        case("an encrypted file", Class::Archive, Input, changed(&|e| e[0].flags = 1)),
        case("a wrong checksum", Class::Archive, Input, changed(&|e| e[0].crc ^= 1)),
        case("two pickles of one name", Class::Duplicate, Input, changed(&|e| e.push(Entry::new("model/data.pkl", evil.clone())))),
        case("two storages of one name", Class::Duplicate, Input, changed(&|e| e.push(Entry::new("model/data/0", vec![1; 16])))),
        case("two objects", Class::Duplicate, Input, changed(&|e| e.push(Entry::new("other/data.pkl", evil.clone())))),
        case(
            "two entries over the same bytes",
            Class::Overlap,
            Input,
            changed(&|e| {
                let mut twin = e[2].clone();
                twin.data.clear();
                twin.offset = Some(0);
                e.push(twin);
            }),
        ),
        case(
            "a file that the directory does not list",
            Class::Archive,
            Input,
            changed(&|e| {
                let mut hidden = Entry::new("model/data.pkl", evil.clone());
                hidden.listed = false;
                e.insert(1, hidden);
            }),
        ),
        case(
            "a hidden file before the directory",
            Class::Archive,
            Input,
            changed(&|e| {
                let mut hidden = Entry::new("model/data.pkl", evil.clone());
                hidden.listed = false;
                e.push(hidden);
            }),
        ),
        case("a local header past the end", Class::BeyondFile, Input, changed(&|e| e[2].offset = Some(1 << 30))),
        case("a file past the end", Class::BeyondFile, Input, changed(&|e| (e[2].size, e[2].local_size) = (1 << 30, 1 << 30))),
        case("sizes of zip64 that are not there", Class::Archive, Input, changed(&|e| e[2].size = u32::MAX)),
        case(
            "an extra field cut short",
            Class::Archive,
            Input,
            changed(&|e| {
                e[2].size = u32::MAX;
                e[2].extra = vec![1, 0, 24, 0, 0];
            }),
        ),
        case(
            "a size of 2^64-1 by zip64",
            Class::Overflow,
            Input,
            changed(&|e| {
                e[2].size = u32::MAX;
                e[2].extra = [&[1, 0, 16, 0][..], &[0xff; 16]].concat();
            }),
        ),
        case("one file more than the directory has", Class::Archive, Input, ended(&|z| z.count = Some(5))),
        case("one file fewer than the directory has", Class::Archive, Input, ended(&|z| z.count = Some(3))),
        case("65535 files in no bytes", Class::HugeWork, Input, ended(&|z| z.count = Some(u16::MAX))),
        case("a directory before the file", Class::Archive, Input, ended(&|z| z.directory = Some(0))),
        case("a directory of 4 GiB", Class::BeyondFile, Input, ended(&|z| z.directory_size = Some(u32::MAX))),
        case("a script before it", Class::Polyglot, Input, ended(&|z| z.prefix = b"#!/bin/sh\nexit\n".to_vec())),
        case("a pickle before it", Class::Polyglot, Input, ended(&|z| z.prefix = evil.clone())),
        case("a second archive before it", Class::Polyglot, Input, ended(&|z| z.prefix = archive(evil.clone()))),
        case("bytes behind it", Class::Polyglot, Input, ended(&|z| z.tail = b"<html>".to_vec())),
        case("one of two disks", Class::Archive, Input, ended(&|z| z.disk = 1)),
        case(
            "2^40 files by zip64",
            Class::HugeWork,
            Limit,
            ended(&|z| {
                (z.count, z.directory_size, z.directory) = (Some(u16::MAX), Some(u32::MAX), Some(u32::MAX));
                z.zip64 = Some([1 << 40, 1 << 40, 0, 0]);
            }),
        ),
        case("a zip64 record that disagrees", Class::Archive, Input, ended(&|z| z.zip64 = Some([9, 9, 9, 9]))),
        case(
            "a directory of 2^64-1 by zip64",
            Class::Overflow,
            Input,
            ended(&|z| {
                (z.count, z.directory_size, z.directory) = (Some(u16::MAX), Some(u32::MAX), Some(u32::MAX));
                z.zip64 = Some([4, 4, u64::MAX, 1]);
            }),
        ),
        case("a name that leads out", Class::Traversal, Input, changed(&|e| e.push(Entry::new("model/../../x", vec![0])))),
        case("a name from the root", Class::Traversal, Input, changed(&|e| e.push(Entry::new("/etc/x", vec![0])))),
        case("a name of another system", Class::Traversal, Input, changed(&|e| e.push(Entry::new("C:\\x", vec![0])))),
        case("a name that steers the terminal", Class::Text, Input, changed(&|e| e.push(Entry::new("model/\u{1b}[2J", vec![0])))),
        case(
            "a name that is not UTF-8",
            Class::Text,
            Input,
            changed(&|e| {
                e[3].name = b"model/\xff".to_vec();
                e[3].local_name = e[3].name.clone();
            }),
        ),
        case("no object", Class::Contradiction, Input, changed(&|e| drop(e.remove(0)))),
        case("a program", Class::Unknown, Unsupported, changed(&|e| e.push(Entry::new("model/code/x.py", b"1".to_vec())))),
        case("from a big-endian machine", Class::Unknown, Unsupported, changed(&|e| e[1] = Entry::new("model/byteorder", b"big".to_vec()))),
    ]
}

/// The five pickles of a legacy stream and one storage.
pub(super) fn stream(object: Vec<u8>, keys: &[&str], counts: &[u64], bytes: usize) -> Vec<u8> {
    let magic = [b"\x8a\x0a".to_vec(), vec![0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19]].concat();
    let system = dict(&[(text("little_endian"), b"\x88".to_vec())]);
    let list = [&b"]("[..], &keys.iter().flat_map(|k| text(k)).collect::<Vec<_>>(), b"e"].concat();
    let mut out = [pickle(&magic), pickle(&int(1001)), pickle(&system), object, pickle(&list)].concat();
    for count in counts {
        out.extend(count.to_le_bytes());
        out.resize(out.len() + bytes, 0);
    }
    out
}

fn streams() -> Vec<Sample> {
    let case = |name: &str, class: Class, kind: ErrorKind, bytes: Vec<u8>| one(&format!("stream: {name}"), class, kind, bytes);
    let whole = stream(honest(), &["0"], &[4], 16);
    let replaced = |from: &[u8], to: &[u8]| {
        let at = whole.windows(from.len()).position(|w| w == from).unwrap_or(0);
        [&whole[..at], to, &whole[at + from.len()..]].concat()
    };
    vec![
        case("pointer", Class::Pointer, Input, lfs_pointer()),
        case("empty", Class::Truncated, Input, vec![]),
        case("last byte missing", Class::Truncated, Input, whole[..whole.len() - 1].to_vec()),
        case("storages missing", Class::Truncated, Input, whole[..whole.len() - 24].to_vec()),
        case("bytes behind it", Class::Polyglot, Input, [&whole[..], b"PK"].concat()),
        case("a bare pickle of tensors", Class::Contradiction, Input, honest()),
        case("protocol 1002", Class::Unknown, Input, replaced(&int(1001), &int(1002))),
        case("from a big-endian machine", Class::Unknown, Unsupported, replaced(b"\x88u.", b"\x89u.")),
        case("no byte order", Class::Contradiction, Input, replaced(b"little_endian", b"Little_endian")),
        case("a storage twice", Class::Duplicate, Input, stream(honest(), &["0", "0"], &[4, 4], 16)),
        case("a storage of no tensor", Class::Contradiction, Input, stream(honest(), &["0", "1"], &[4, 4], 16)),
        case("a storage that is not listed", Class::Contradiction, Input, stream(honest(), &[], &[], 0)),
        case("a storage of another length", Class::Contradiction, Input, stream(honest(), &["0"], &[5], 20)),
        case("a storage of 2^63 elements", Class::Overflow, Input, stream(honest(), &["0"], &[1 << 63], 16)),
        case("a command in the second pickle", Class::Pickle, Input, replaced(&int(1001), &call(global("os", "system"), &[text("true")]))),
    ]
}
