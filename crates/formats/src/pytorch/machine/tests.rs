use gravure_base::{ErrorKind, MemoryReader};
use proptest::prelude::*;

use super::*;

fn run(bytes: &[u8], policy: Policy) -> (Result<Outcome>, Heap, Vec<GlobalUse>) {
    let reader = MemoryReader::new(bytes.to_vec(), "test");
    let limits = Limits::default();
    let (mut heap, mut seen) = (Heap::default(), Vec::new());
    let mut cursor = Cursor::new(&reader, &limits);
    let outcome = Machine::new(&mut cursor, &mut heap, policy, &limits).run(&mut seen);
    if let Ok(outcome) = &outcome {
        seen.extend(outcome.uses.iter().cloned());
    }
    (outcome, heap, seen)
}

fn fails(what: &str, bytes: &[u8]) -> Error {
    let error = run(bytes, Policy::Refuse).0.expect_err(what);
    // Scanning the same bytes must neither panic.
    let _ = run(bytes, Policy::Record);
    error
}

#[test]
fn plain_data_of_every_protocol_is_built() {
    // Protocol 0: text opcodes.
    let (outcome, heap, _) = run(b"(dp0\nS'a\\x41'\np1\n(lp2\nI1\naI01\naL-5L\naF1.5\naVx\\u00e9\nasg1\nNs.", Policy::Refuse);
    let Value::Dict(dict) = outcome.unwrap().value else { panic!() };
    let (key, Value::List(list)) = heap.dicts[dict][0] else { panic!() };
    assert_eq!(heap.as_text(key, "").unwrap(), "aA");
    assert_eq!(heap.sequences[list][..4], [Value::Int(1), Value::Bool(true), Value::Int(-5), Value::Float(1.5)]);
    assert_eq!(heap.as_text(heap.sequences[list][4], "").unwrap(), "xé");
    assert_eq!(heap.dicts[dict][1], (key, Value::None));
    // Protocol 4: frame, memoize, short strings, tuples, a set, bytes.
    let (outcome, heap, _) = run(b"\x80\x04\x95\x12\0\0\0\0\0\0\0\x8c\x01k\x94K\xff\x86\x8f(K\x01\x90C\x02ab\x87.", Policy::Refuse);
    let Value::Tuple(tuple) = outcome.unwrap().value else { panic!() };
    assert!(matches!(heap.sequences[tuple][..], [Value::Tuple(_), Value::Set(_), Value::Bytes(_)]));
}

#[test]
fn integers_of_any_length() {
    for (bytes, expected) in
        [(&b"\x8a\x00."[..], 0), (b"\x8a\x01\xff.", -1), (b"\x8a\x02\xff\x00.", 255), (b"J\xff\xff\xff\xff.", -1), (b"M\xff\xff.", 65535)]
    {
        assert_eq!(run(bytes, Policy::Refuse).0.unwrap().value, Value::Int(expected));
    }
    let (outcome, heap, _) = run(b"\x8a\x0alllllllll\x7f.", Policy::Refuse);
    assert!(matches!(outcome.unwrap().value, Value::Long(i) if heap.bytes[i].len() == 10));
}

#[test]
fn whatever_would_run_code_is_refused_by_name() {
    let cases: &[(&str, &[u8], &str)] = &[
        ("os.system", b"cos\nsystem\n(S'id'\ntR.", "os.system"),
        ("posix.system", b"\x80\x02cposix\nsystem\nX\x02\0\0\0id\x85R.", "posix.system"),
        ("builtins.eval", b"cbuiltins\neval\n(Vx\ntR.", "builtins.eval"),
        ("python 2's eval", b"c__builtin__\neval\n(S'1'\ntR.", "__builtin__.eval"),
        ("stack global", b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.", "os.system"),
        ("dotted stack global", b"\x80\x04\x8c\x08builtins\x8c\x0dgetattr.x.y.z\x93.", "builtins.getattr.x.y.z"),
        (
            "a dotted path from an allowed module",
            b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n.",
            "torch._utils._rebuild_tensor_v2.__globals__",
        ),
        ("an allowed name of another module", b"cevil\nOrderedDict\n)R.", "evil.OrderedDict"),
        ("white space in the module", b"ccollections \nOrderedDict\n)R.", "collections .OrderedDict"),
        ("torch.load itself", b"ctorch\nload\n(S'x'\ntR.", "torch.load"),
        ("numpy's pickle loader", b"cnumpy\nload\n.", "numpy.load"),
        ("pkgutil.resolve_name", b"cpkgutil\nresolve_name\n.", "pkgutil.resolve_name"),
        ("nested reduce", b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n(S'os'\ntRS'system'\ntR.", "builtins.getattr"),
        ("popped call", b"cos\nsystem\n(S'id'\ntR0N.", "os.system"),
        ("INST", b"(S'id'\nios\nsystem\n.", "os.system"),
        ("INST of an allowed name", b"(icollections\nOrderedDict\n.", "INST"),
        ("OBJ", b"(ccollections\nOrderedDict\no.", "OBJ"),
        ("NEWOBJ", b"\x80\x02ccollections\nOrderedDict\n)\x81.", "NEWOBJ"),
        ("NEWOBJ_EX", b"\x80\x04ccollections\nOrderedDict\n)}\x92.", "NEWOBJ_EX"),
        ("EXT1", b"\x80\x02\x82\x01.", "EXT1"),
        ("EXT2", b"\x80\x02\x83\x01\x00.", "EXT2"),
        ("EXT4", b"\x80\x02\x84\x01\x00\x00\x00.", "EXT4"),
        ("text persistent id", b"Pabc\n.", "PERSID"),
        ("out-of-band buffer", b"\x80\x05\x97.", "NEXT_BUFFER"),
    ];
    for (what, bytes, item) in cases {
        let error = fails(what, bytes);
        assert_eq!((error.kind(), error.item()), (ErrorKind::Input, Some(*item)), "{what}: {error}");
        assert!(error.message().contains("nothing was run"), "{what}");
    }
}

#[test]
fn malformed_pickles_are_errors() {
    let cases: &[(&str, &[u8])] = &[
        ("empty", b""),
        ("no stop", b"N"),
        ("stop on nothing", b"."),
        ("left over", b"NN."),
        ("mark left over", b"(N."),
        ("protocol 6", b"\x80\x06N."),
        ("frame longer than the file", b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN."),
        ("unknown opcode", b"\xff."),
        ("underflow", b"0."),
        ("underflow below a mark", b"N(a."),
        ("underflow in a tuple", b"N\x86."),
        ("no mark", b"t."),
        ("memo that was never made", b"h\x05."),
        ("text memo index", b"gx\n."),
        ("negative memo index", b"Np-1\n."),
        ("append to a number", b"K\x01Na."),
        ("set an entry of a list", b"]NNs."),
        ("odd dictionary", b"(Nd."),
        ("odd setitems", b"}(Nu."),
        ("huge LONG4", b"\x8b\xff\xff\xff\x7fx."),
        ("negative LONG4", b"\x8b\xff\xff\xff\xff."),
        ("LONG1 past the end", b"\x8a\xff."),
        ("huge string", b"X\xff\xff\xff\xffab."),
        ("huge 64-bit string", b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffab."),
        ("negative string", b"T\xff\xff\xff\xffab."),
        ("bytes that are no text", b"X\x01\0\0\0\xff."),
        ("unquoted string", b"Sabc\n."),
        ("half quoted string", b"S'abc\n."),
        ("bad escape", b"S'\\x4'\n."),
        ("surrogate", b"V\\ud800\n."),
        ("no integer", b"Iabc\n."),
        ("integer of 80 bits as text", b"L1208925819614629174706175L\n."),
        ("no float", b"Fabc\n."),
        ("endless line", &[b'S'; 10_000]),
        ("call a number", b"K\x01)R."),
        ("call without a tuple", b"ccollections\nOrderedDict\nNR."),
        ("call a type", b"ctorch\nFloatStorage\n)R."),
        ("too many arguments", b"ccollections\nOrderedDict\n(NNNtR."),
        ("dictionary of numbers", b"ccollections\nOrderedDict\n]K\x01a\x85R."),
        ("build on a list", b"]}b."),
        ("build with a list", b"}]b."),
        ("rebuild without a storage", b"ctorch._utils\n_rebuild_tensor_v2\n(NK\x00))NNtR."),
        ("rebuild with nothing", b"ctorch._utils\n_rebuild_tensor_v2\n)R."),
        ("parameter of nothing", b"ctorch._utils\n_rebuild_parameter\n(NNNtR."),
        ("persistent id of nothing", b"NQ."),
        ("persistent id of a number", b"K\x01Q."),
        ("persistent id that is too short", b"(S'storage'\ntQ."),
        ("persistent id of another kind", b"(S'module'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nK\x01tQ."),
        ("storage of no type", b"(S'storage'\nS'FloatStorage'\nS'0'\nS'cpu'\nK\x01tQ."),
        ("storage of negative length", b"(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nJ\xff\xff\xff\xfftQ."),
        (
            "storage with two lengths",
            b"(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nK\x01tQ(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nK\x02tQ\x86.",
        ),
        (
            "storage with two types",
            b"(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nK\x01tQ(S'storage'\nctorch\nHalfStorage\nS'0'\nS'cpu'\nK\x01tQ\x86.",
        ),
    ];
    for (what, bytes) in cases {
        let error = fails(what, bytes);
        assert_eq!(error.kind(), ErrorKind::Input, "{what}: {error}");
        assert!(error.offset().is_some(), "{what}: no offset");
    }
    let view = b"(S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nK\x01(S'1'\nK\x00K\x01ttQ.";
    assert_eq!(fails("view of a storage", view).kind(), ErrorKind::Unsupported);
}

#[test]
fn a_million_levels_cost_no_stack() {
    for deep in [
        b"]".repeat(1_000_000),
        b"(".repeat(1_000_000),
        [b"]".repeat(500_000), b"a".repeat(499_999)].concat(),
        [b"N".to_vec(), b"\x85".repeat(1_000_000)].concat(),
    ] {
        let (outcome, heap, _) = run(&[&deep[..], b"."].concat(), Policy::Refuse);
        drop((outcome, heap));
    }
    // A list that holds itself.
    let (outcome, ..) = run(b"]q\x00h\x00a.", Policy::Refuse);
    assert!(matches!(outcome.unwrap().value, Value::List(_)));
}

#[test]
fn bombs_are_stopped_by_limits() {
    // Every few bytes ask for another copy of one long list.
    let mut copies = b"](".to_vec();
    copies.extend(b"K\x01K\x02\x86".repeat(20_000));
    copies.extend(b"eq\x00");
    copies.extend(b"ccollections\nOrderedDict\nq\x010".iter());
    copies.extend(b"h\x01h\x00\x85R0".repeat(20_000));
    copies.push(b'.');
    let start = std::time::Instant::now();
    assert_eq!(fails("copies", &copies).kind(), ErrorKind::Limit);
    // A tensor of ten thousand dimensions.
    let mut dimensions = b"ctorch._utils\n_rebuild_tensor_v2\n((S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nK\x01tQK\x00(".to_vec();
    dimensions.extend(b"K\x01".repeat(10_000));
    dimensions.extend(b"tq\x00h\x00NNtR.");
    assert_eq!(fails("dimensions", &dimensions).kind(), ErrorKind::Limit);
    // More opcodes than the limit.
    let limits = Limits { array_elements: 1000, ..Limits::default() };
    let reader = MemoryReader::new(b"N0".repeat(1000), "test");
    let mut heap = Heap::default();
    let mut cursor = Cursor::new(&reader, &limits);
    let error = Machine::new(&mut cursor, &mut heap, Policy::Refuse, &limits).run(&mut Vec::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
}

#[test]
fn a_scan_goes_on_and_lists_all() {
    let (outcome, _, seen) =
        run(b"\x80\x02cos\nsystem\n(S'id'\ntRq\x000}(S'a'\nccollections\nOrderedDict\n)RS'b'\ncnumpy\nndarray\n)\x81}bu.", Policy::Record);
    let names: Vec<_> = seen.iter().map(|u| (u.name.as_str(), u.allowed)).collect();
    assert_eq!(names, [("os.system", false), ("collections.OrderedDict", true), ("numpy.ndarray", false)]);
    assert_eq!(outcome.unwrap().oddities.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn arbitrary_opcodes_never_panic(bytes in proptest::collection::vec(prop_oneof![
        any::<u8>(),
        proptest::sample::select(b"(.0125BCDFGIJKLMNPQRSTUVX]acdeghijlopqrstu})\x80\x81\x82\x85\x86\x87\x88\x89\x8a\x8b\x8c\x8f\x90\x91\x92\x93\x94\x95".to_vec()),
    ], 0..200)) {
        for policy in [Policy::Refuse, Policy::Record] {
            let _ = run(&bytes, policy);
        }
    }

    #[test]
    fn arbitrary_programs_never_panic(parts in proptest::collection::vec(proptest::sample::select(vec![
        &b"ctorch._utils\n_rebuild_tensor_v2\n"[..], b"ctorch._utils\n_rebuild_tensor_v3\n", b"ctorch._utils\n_rebuild_parameter\n", b"ccollections\nOrderedDict\n",
        b"ctorch\nFloatStorage\n", b"ctorch.storage\nUntypedStorage\n", b"ctorch\nbfloat16\n", b"ctorch\nSize\n", b"cos\nsystem\n", b"S'storage'\n", b"S'0'\n", b"K\x01", b"K\x00",
        b"J\xff\xff\xff\xff", b"(", b"t", b")", b"]", b"}", b"R", b"Q", b"b", b"N", b"\x88", b"q\x00", b"h\x00", b"q\x01", b"h\x01", b"a", b"e", b"s", b"u", b"2", b"0", b"1", b"\x85", b"\x86", b"\x87", b"\x81", b"o", b".",
    ]), 0..60)) {
        for policy in [Policy::Refuse, Policy::Record] {
            let _ = run(&parts.concat(), policy);
        }
    }
}
