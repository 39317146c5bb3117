//! The names that a checkpoint of weights may use, and what each makes.
//!
//! None of them is called: each is a constructor of plain data, written out here. To allow a name is to
//! write down what data it stands for.

use gravure_base::{Error, Limits, Result};

use super::heap::{Heap, TensorView, Value};

/// A type of element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element {
    /// Id of the encoding.
    pub(super) encoding: &'static str,
    /// Bytes.
    pub(super) bytes: u64,
}

const fn element(encoding: &'static str, bytes: u64) -> Element {
    Element { encoding, bytes }
}

/// An allowed name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    /// `collections.OrderedDict`.
    OrderedDict,
    /// `torch.Size`: a tuple.
    Size,
    /// `torch._utils._rebuild_tensor_v2` and the older form without gradient arguments.
    RebuildTensor,
    /// `torch._utils._rebuild_tensor_v3`: a storage of raw bytes and an element type.
    RebuildTensorV3,
    /// `torch._utils._rebuild_parameter`.
    RebuildParameter,
    /// `torch.FloatStorage` and its kin.
    TypedStorage(&'static Element),
    /// `torch.storage.UntypedStorage`.
    RawStorage,
    /// `torch.float32` and its kin.
    Type(&'static Element),
    /// A name that is not allowed; only while scanning.
    Refused,
}

static STORAGES: &[(&str, Element)] = &[
    ("DoubleStorage", element("f64", 8)),
    ("FloatStorage", element("f32", 4)),
    ("HalfStorage", element("f16", 2)),
    ("BFloat16Storage", element("bf16", 2)),
    ("LongStorage", element("i64", 8)),
    ("IntStorage", element("i32", 4)),
    ("ShortStorage", element("i16", 2)),
    ("CharStorage", element("i8", 1)),
    ("ByteStorage", element("u8", 1)),
    ("BoolStorage", element("bool", 1)),
];

static TYPES: &[(&str, Element)] = &[
    ("float64", element("f64", 8)),
    ("float32", element("f32", 4)),
    ("float16", element("f16", 2)),
    ("bfloat16", element("bf16", 2)),
    ("float8_e4m3fn", element("f8_e4m3", 1)),
    ("float8_e5m2", element("f8_e5m2", 1)),
    ("int64", element("i64", 8)),
    ("int32", element("i32", 4)),
    ("int16", element("i16", 2)),
    ("int8", element("i8", 1)),
    ("uint64", element("u64", 8)),
    ("uint32", element("u32", 4)),
    ("uint16", element("u16", 2)),
    ("uint8", element("u8", 1)),
    ("bool", element("bool", 1)),
];

impl Global {
    /// The allowed name `module.name`.
    pub(super) fn find(module: &str, name: &str) -> Option<Self> {
        let among = |table: &'static [(&str, Element)]| table.iter().find(|(n, _)| *n == name).map(|(_, e)| e);
        match module {
            "collections" if name == "OrderedDict" => Some(Self::OrderedDict),
            "torch._utils" => match name {
                "_rebuild_tensor" | "_rebuild_tensor_v2" => Some(Self::RebuildTensor),
                "_rebuild_tensor_v3" => Some(Self::RebuildTensorV3),
                "_rebuild_parameter" => Some(Self::RebuildParameter),
                _ => None,
            },
            "torch.storage" if name == "UntypedStorage" => Some(Self::RawStorage),
            "torch" if name == "Size" => Some(Self::Size),
            "torch" => among(STORAGES).map(Self::TypedStorage).or_else(|| among(TYPES).map(Self::Type)),
            _ => None,
        }
    }

    /// What the name makes of these arguments.
    pub(super) fn construct(self, arguments: &[Value], heap: &mut Heap) -> Result<Value> {
        match (self, arguments) {
            (Self::OrderedDict, []) => Ok(heap.dict(Vec::new())),
            (Self::OrderedDict, [pairs]) => {
                heap.count_copy(heap.as_items(*pairs, "the content of an OrderedDict")?.len())?;
                let pairs = heap.as_items(*pairs, "the content of an OrderedDict")?.to_vec();
                let entries = pairs
                    .into_iter()
                    .map(|pair| match heap.as_items(pair, "an entry of an OrderedDict")? {
                        [key, value] => Ok((*key, *value)),
                        other => Err(Error::input(format!("an entry of an OrderedDict has {} parts", other.len()))),
                    })
                    .collect::<Result<Vec<_>>>()?;
                Ok(heap.dict(entries))
            }
            (Self::Size, [dimensions]) => {
                heap.as_items(*dimensions, "a size")?;
                Ok(*dimensions)
            }
            (Self::RebuildTensor, [storage, offset, size, stride, rest @ ..]) if rest.len() <= 3 => {
                let element = match *storage {
                    Value::Storage(index) => heap.storages[index].element,
                    other => return Err(Error::input(format!("a tensor lies over {} instead of a storage", heap.describe(other)))),
                };
                let element = element.ok_or_else(|| Error::input("a tensor lies over raw bytes and has no element type"))?;
                tensor(heap, *storage, element, [*offset, *size, *stride])
            }
            (Self::RebuildTensorV3, [storage, offset, size, stride, _gradient, _hooks, Value::Global(Self::Type(element)), rest @ ..])
                if rest.len() <= 1 =>
            {
                tensor(heap, *storage, **element, [*offset, *size, *stride])
            }
            (Self::RebuildParameter, [data @ Value::Tensor(_), _gradient, _hooks]) => Ok(*data),
            (Self::TypedStorage(_) | Self::RawStorage | Self::Type(_), _) => {
                Err(Error::input("a type is called; a checkpoint of weights only refers to it"))
            }
            _ => Err(Error::input(format!("{self:?} is given {} arguments that do not fit", arguments.len()))),
        }
    }
}

/// More than torch itself allows.
const MAX_DIMENSIONS: u64 = 64;

fn tensor(heap: &mut Heap, storage: Value, element: Element, [offset, size, stride]: [Value; 3]) -> Result<Value> {
    let Value::Storage(storage) = storage else {
        return Err(Error::input(format!("a tensor lies over {} instead of a storage", heap.describe(storage))));
    };
    for value in [size, stride] {
        let dimensions = heap.as_items(value, "a tensor's size or stride")?.len() as u64;
        Limits::check(dimensions, MAX_DIMENSIONS, "dimensions of a tensor")?;
    }
    let counts = |value, what| heap.as_items(value, what)?.iter().map(|v| heap.as_count(*v, what)).collect::<Result<Vec<_>>>();
    let view = TensorView {
        storage,
        element,
        offset: heap.as_count(offset, "a tensor's offset")?,
        size: counts(size, "a tensor's size")?,
        stride: counts(stride, "a tensor's stride")?,
    };
    if view.size.len() != view.stride.len() {
        return Err(Error::input(format!("a tensor has {} dimensions and {} strides", view.size.len(), view.stride.len())));
    }
    heap.tensors.push(view);
    Ok(Value::Tensor(heap.tensors.len() - 1))
}
