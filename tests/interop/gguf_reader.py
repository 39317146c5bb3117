#!/usr/bin/env python3
"""Reads GGUF files with gguf-py, an implementation that is not ours.

    gguf_reader.py FILE                     every key, tensor and byte is readable; print a summary
    gguf_reader.py FILE REFERENCE           the same keys (order, types, values) and tensors
    gguf_reader.py --ignore KEY ...         keys that may differ (a trailing * stands for any rest)
    gguf_reader.py --any-order ...          the order of keys may differ

Exit status 0 where all is well, 1 with one line for each difference. Needs `pip install gguf`.
"""

import argparse
import hashlib
import sys

from gguf import GGUFReader, GGUFValueType


def fields(reader):
    """Keys with type names and values, in file order, without the reader's own entries."""
    out = {}
    for key, field in reader.fields.items():
        if not key.startswith("GGUF."):
            kinds = "[".join(GGUFValueType(t).name for t in field.types)
            out[key] = (kinds, field.contents())
    return out


def tensors(reader):
    """Shape (innermost first), type and digest of each tensor, in file order."""
    out = {}
    for tensor in reader.tensors:
        shape = [int(d) for d in tensor.shape]
        out[tensor.name] = (shape, tensor.tensor_type.name, hashlib.sha256(tensor.data.tobytes()).hexdigest())
    return out


def short(value):
    text = repr(value)
    return text if len(text) < 100 else text[:97] + "..."


def ignored(key, patterns):
    return any(key == p or (p.endswith("*") and key.startswith(p[:-1])) for p in patterns)


def compare(kind, ours, theirs, in_order):
    problems = []
    for name in theirs.keys() - ours.keys():
        problems.append(f"{kind} {name}: missing")
    for name in ours.keys() - theirs.keys():
        problems.append(f"{kind} {name}: not in the reference ({short(ours[name])})")
    for name in ours.keys() & theirs.keys():
        if ours[name] != theirs[name]:
            problems.append(f"{kind} {name}: {short(ours[name])} where the reference has {short(theirs[name])}")
    if in_order and not problems:
        mine, reference = [n for n in ours if n in theirs], [n for n in theirs if n in ours]
        for place, (name, expected) in enumerate(zip(mine, reference)):
            if name != expected:
                problems.append(f"{kind}s in another order: {name} at {place} where the reference has {expected}")
                break
    return sorted(problems)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("reference", nargs="?")
    parser.add_argument("--ignore", action="append", default=[], metavar="KEY")
    parser.add_argument("--any-order", action="store_true")
    args = parser.parse_args()

    reader = GGUFReader(args.file)
    keys, weights = fields(reader), tensors(reader)
    if args.reference is None:
        print(f"{args.file}: {len(keys)} keys, {len(weights)} tensors, {sum(int(t.n_bytes) for t in reader.tensors)} bytes")
        return 0
    other = GGUFReader(args.reference)
    wanted = lambda pairs: {k: v for k, v in pairs.items() if not ignored(k, args.ignore)}
    problems = compare("key", wanted(keys), wanted(fields(other)), not args.any_order)
    problems += compare("tensor", weights, tensors(other), True)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
