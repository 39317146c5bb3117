#!/usr/bin/env python3
"""Makes crates/encodings/golden/<id>.bin: what ggml itself writes for fixed inputs.

    scripts/golden_encodings.py LIBGGML_BASE [ID ...]

LIBGGML_BASE is libggml-base.so (or .dylib) of llama.cpp in its baseline build: scalar code without
fused multiply-add (cmake -DBUILD_SHARED_LIBS=ON -DGGML_NATIVE=OFF, target ggml-base). Without IDs
all files are made anew. Needs numpy.

To add an encoding: add a line to TYPES and run the script with its id. The shared suite
(crates/encodings/tests/suite) picks the file up by its name.

A file, little-endian:

    magic    4 bytes  "GRVG"
    version  u32      1
    columns  u32      weights in a row
    kinds    u32      bit k is set where the rows include kind k of inputs.rows()
    modes    u32      bit 0: encoded without importance, bit 1: with
    for each mode present: the rows encoded, then the FNV-1a hash (u64) of the bytes of the f32 that
    ggml decodes from them, NaNs as 0x7fc00000 (their sign and payload differ between processors)

The inputs are not in the files: the suite makes them with the same generator, which uses only
operations that are exact in f32 or rounded once.
"""

import ctypes
import pathlib
import struct
import sys

import numpy as np

COLUMNS = 512
SEED = 0x6772617675726500  # "gravure\0"
ALL_KINDS = (1 << 16) - 1
# Kinds whose weights are large or tiny beyond what a model has; an encoder that asserts on them
# leaves them out.
EXTREME = 1 << 9 | 1 << 10 | 1 << 11

# id: (number in ggml, kinds, modes)
WITHOUT, WITH = 1, 2
TYPES = {
    "f32": (0, ALL_KINDS, WITHOUT),
    "f16": (1, ALL_KINDS, WITHOUT),
    "bf16": (30, ALL_KINDS, WITHOUT),
    "q4_0": (2, ALL_KINDS, WITHOUT | WITH),
    "q4_1": (3, ALL_KINDS, WITHOUT | WITH),
    "q5_0": (6, ALL_KINDS, WITHOUT | WITH),
    "q5_1": (7, ALL_KINDS, WITHOUT | WITH),
    "q8_0": (8, ALL_KINDS, WITHOUT | WITH),
    "q2_k": (10, ALL_KINDS, WITHOUT | WITH),
    "q3_k": (11, ALL_KINDS, WITHOUT | WITH),
    "q4_k": (12, ALL_KINDS, WITHOUT | WITH),
    "q5_k": (13, ALL_KINDS, WITHOUT | WITH),
    "q6_k": (14, ALL_KINDS, WITHOUT | WITH),
    "iq2_xxs": (16, ALL_KINDS & ~EXTREME, WITH),
    "iq2_xs": (17, ALL_KINDS & ~EXTREME, WITH),
    "iq3_xxs": (18, ALL_KINDS & ~EXTREME, WITHOUT | WITH),
    "iq1_s": (19, ALL_KINDS & ~EXTREME, WITH),
    "iq4_nl": (20, ALL_KINDS & ~EXTREME, WITHOUT | WITH),
    "iq3_s": (21, ALL_KINDS & ~EXTREME, WITHOUT | WITH),
    "iq2_s": (22, ALL_KINDS & ~EXTREME, WITHOUT | WITH),
    "iq4_xs": (23, ALL_KINDS & ~EXTREME, WITHOUT | WITH),
    "iq1_m": (29, ALL_KINDS & ~EXTREME, WITHOUT | WITH),
    "tq1_0": (34, ALL_KINDS, WITHOUT),
    "tq2_0": (35, ALL_KINDS, WITHOUT),
    "mxfp4": (39, ALL_KINDS, WITHOUT),
    "nvfp4": (40, ALL_KINDS, WITHOUT),
    "q1_0": (41, ALL_KINDS, WITHOUT),
    "q2_0": (42, ALL_KINDS, WITHOUT),
}

MASK = (1 << 64) - 1


class Random:
    """splitmix64."""

    def __init__(self, seed):
        self.state = seed & MASK

    def bits(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def uniform(self):
        """[0, 1), 24 bits."""
        return np.float32(self.bits() >> 40) * np.float32(2.0**-24)

    def bell(self):
        """Near normal, standard deviation 0.58: the sum of four 16-bit numbers."""
        z = self.bits()
        total = (z & 0xFFFF) + (z >> 16 & 0xFFFF) + (z >> 32 & 0xFFFF) + (z >> 48)
        return np.float32(total - 131070) * np.float32(2.0**-16)


def weight(kind, random, column):
    """One weight of a row of the given kind."""
    f = np.float32
    if kind == 0:  # as in a model
        return random.bell() * f(0.0271)
    if kind == 1:  # heavy tails
        value = random.bell() * f(0.0113)
        zeros = random.bits() % 64
        return value * f(2.0 ** (zeros // 8)) if zeros >= 32 else value
    if kind == 2:  # even
        return random.uniform() * f(2) - f(1)
    if kind == 3:  # positive
        return random.uniform() * f(0.31) + f(0.07)
    if kind == 4:  # negative
        return random.uniform() * f(-0.23) - f(0.11)
    if kind == 5:  # constant
        return f(0.37)
    if kind == 6:  # zeros of both signs
        return f(-0.0) if column % 3 == 0 else f(0)
    if kind == 7:  # small integers: ties of magnitude
        return f(random.bits() % 17) - f(8)
    if kind == 8:  # sixteenths: ties of rounding
        return (f(random.bits() % 257) - f(128)) * f(0.0625)
    if kind == 9:  # subnormal
        return random.bell() * f(1e-38)
    if kind == 10:  # too large for a half-precision scale
        return random.bell() * f(1e7)
    if kind == 11:  # squares overflow
        return random.bell() * f(1e25)
    if kind == 12:  # tiny
        return random.bell() * f(1e-9)
    if kind == 13:  # one outlier in a group of small ones
        value = random.bell() * f(0.002)
        return value + f(3) if column % 61 == 17 else value
    if kind == 14:  # mostly zero
        value = random.bell() * f(0.05)
        return value if random.bits() % 8 == 0 else f(0)
    # ternary
    return (f(random.bits() % 3) - f(1)) * f(0.043)


def rows(kinds):
    """The rows of the kinds in the mask, each from a seed of its own."""
    out = []
    for kind in range(16):
        if kinds >> kind & 1:
            random = Random(SEED + kind)
            out.append([weight(kind, random, column) for column in range(COLUMNS)])
    return np.array(out, dtype=np.float32)


def importance():
    """Mean squares of activations: spread over orders of magnitude, some zero."""
    random = Random(SEED + 1000)
    out = []
    for _ in range(COLUMNS):
        value = random.uniform()
        draw = random.bits() % 16
        out.append(np.float32(0) if draw == 0 else value * value * np.float32(2.0 ** (draw // 2)))
    return np.array(out, dtype=np.float32)


def fnv(data):
    value = 0xCBF29CE484222325
    bits = np.frombuffer(data, dtype=np.uint32).copy()
    bits[(bits & 0x7FFFFFFF) > 0x7F800000] = 0x7FC00000
    for byte in bits.tobytes():
        value = ((value ^ byte) * 0x100000001B3) & MASK
    return value


class Traits(ctypes.Structure):
    _fields_ = [
        ("type_name", ctypes.c_char_p),
        ("block_elements", ctypes.c_int64),
        ("block_elements_interleave", ctypes.c_int64),
        ("block_bytes", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
        ("from_float_ref", ctypes.c_void_p),
    ]


class Ggml:
    def __init__(self, path):
        self.lib = ctypes.CDLL(path)
        self.lib.ggml_quantize_chunk.restype = ctypes.c_size_t
        self.lib.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p]
        self.lib.ggml_get_type_traits.restype = ctypes.POINTER(Traits)
        self.lib.ggml_row_size.restype = ctypes.c_size_t
        self.lib.ggml_row_size.argtypes = [ctypes.c_int, ctypes.c_int64]

    def encode(self, number, x, importance):
        x = np.ascontiguousarray(x, dtype=np.float32)
        out = np.zeros(x.shape[0] * self.lib.ggml_row_size(number, x.shape[1]), dtype=np.uint8)
        pointer = importance.ctypes.data if importance is not None else None
        self.lib.ggml_quantize_chunk(number, x.ctypes.data, out.ctypes.data, 0, x.shape[0], x.shape[1], pointer)
        return out.tobytes()

    def decode(self, number, data, count):
        source = np.frombuffer(data, dtype=np.uint8).copy()
        out = np.zeros(count, dtype=np.float32)
        if number == 0:
            return data
        self.lib.ggml_get_type_traits(number).contents.to_float(source.ctypes.data, out.ctypes.data, count)
        return out.tobytes()


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    ggml = Ggml(sys.argv[1])
    folder = pathlib.Path(__file__).resolve().parent.parent / "crates/encodings/golden"
    folder.mkdir(exist_ok=True)
    with np.errstate(all="ignore"):
        inputs = {kinds: rows(kinds) for kinds in {TYPES[name][1] for name in sys.argv[2:] or TYPES}}
        columns = importance()
    for name in sys.argv[2:] or TYPES:
        number, kinds, modes = TYPES[name]
        x = inputs[kinds]
        data = struct.pack("<4sIIII", b"GRVG", 1, COLUMNS, kinds, modes)
        for mode, weights in ((WITHOUT, None), (WITH, columns)):
            if modes & mode:
                encoded = ggml.encode(number, x, weights)
                data += encoded + struct.pack("<Q", fnv(ggml.decode(number, encoded, x.size)))
        (folder / f"{name}.bin").write_bytes(data)
        print(f"{name}: {len(data)} bytes, {x.shape[0]} rows")


if __name__ == "__main__":
    main()
