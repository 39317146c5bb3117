//! Pickles out of opcodes, without any check.

/// A pickle of protocol 2 of this body.
pub fn pickle(body: &[u8]) -> Vec<u8> {
    [b"\x80\x02", body, b"."].concat()
}

/// A reference to a name.
pub fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

/// A text.
pub fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

/// An integer.
pub fn int(value: i64) -> Vec<u8> {
    match i32::try_from(value) {
        Ok(small) => [b"J", &small.to_le_bytes()[..]].concat(),
        Err(_) => [&[0x8a, 8][..], &value.to_le_bytes()].concat(),
    }
}

/// A tuple.
pub fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(", &items.concat()[..], b"t"].concat()
}

/// A tuple of integers.
pub fn ints(values: &[i64]) -> Vec<u8> {
    tuple(&values.iter().map(|&v| int(v)).collect::<Vec<_>>())
}

/// A call.
pub fn call(callable: Vec<u8>, arguments: &[Vec<u8>]) -> Vec<u8> {
    [callable, tuple(arguments), b"R".to_vec()].concat()
}

/// A dictionary.
pub fn dict(entries: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let entries: Vec<u8> = entries.iter().flat_map(|(k, v)| [k.clone(), v.clone()].concat()).collect();
    [b"}(", &entries[..], b"u"].concat()
}

/// The persistent id of a storage.
pub fn storage(kind: &str, key: &str, count: i64) -> Vec<u8> {
    [tuple(&[text("storage"), global("torch", kind), text(key), text("cpu"), int(count)]), b"Q".to_vec()].concat()
}

/// A tensor over a storage.
pub fn tensor(storage: Vec<u8>, offset: i64, size: &[i64], stride: &[i64]) -> Vec<u8> {
    let hooks = call(global("collections", "OrderedDict"), &[]);
    call(global("torch._utils", "_rebuild_tensor_v2"), &[storage, int(offset), ints(size), ints(stride), b"\x89".to_vec(), hooks])
}

/// A state dictionary of one tensor `a`.
pub fn state(value: Vec<u8>) -> Vec<u8> {
    pickle(&dict(&[(text("a"), value)]))
}

/// The honest state dictionary of four floats in the storage `0`.
pub fn honest() -> Vec<u8> {
    state(tensor(storage("FloatStorage", "0", 4), 0, &[4], &[1]))
}
