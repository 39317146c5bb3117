"""One GGUF model in llama.cpp, by its Python package: requests on standard input, answers on standard output.

Started with `check`, or with `load PATH THREADS POSITIONS CACHE SEQUENCES BATCH`. The first answer is one line of JSON.
Then each request is one byte and 32-bit numbers, little-endian:

    d n r, n tokens, n positions, n sequences, r wanted indices   decode    -> 0, r rows of logits
    k s p                                                         keep the first p positions of sequence s -> 0
    c s t p                                                       sequence t begins with p positions of s -> 0

An answer that begins with 1 (refused) or 2 (no room) is an error: its length, and its text.
"""

import sys

# Nothing is imported from the folder that this was started in.
sys.path[:] = [p for p in sys.path if p]

import json
import os
import signal
import struct

# The parent decides what an interrupt means; whatever the library prints must not stand among the answers.
signal.signal(signal.SIGINT, signal.SIG_IGN)
answers = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
requests = sys.stdin.buffer

CACHES = {"f32": (0, 4.0), "f16": (1, 2.0), "q8": (8, 34 / 32)}


def answer(*parts):
    for part in parts:
        answers.write(part)
    answers.flush()


def say(**facts):
    answer(json.dumps(facts).encode() + b"\n")


def set_known(parameters, **values):
    """Sets what this release of the package has; older ones lack some."""
    for name, value in values.items():
        if hasattr(parameters, name):
            setattr(parameters, name, value)


def numbers(count):
    data = requests.read(4 * count)
    if len(data) < 4 * count:
        sys.exit(0)
    return struct.unpack(f"<{count}I", data)


class Model:
    def __init__(self, path, threads, positions, cache, sequences, batch):
        parameters = lib.llama_model_default_params()
        self.model = lib.llama_model_load_from_file(os.fsencode(path), parameters)
        if not self.model:
            raise ValueError("llama.cpp does not load this file")
        kind, self.cache_number = CACHES[cache]
        context = lib.llama_context_default_params()
        set_known(
            context,
            n_ctx=positions,
            n_batch=batch,
            n_ubatch=batch,
            n_seq_max=sequences,
            n_threads=threads,
            n_threads_batch=threads,
            type_k=kind,
            type_v=kind,
            # Any sequence may be cut back, and all share the positions.
            swa_full=True,
            kv_unified=True,
        )
        if kind == 8:
            # Values in blocks are read by this attention alone.
            set_known(context, flash_attn_type=1, flash_attn=True)
        self.context = lib.llama_init_from_model(self.model, context)
        if not self.context:
            raise ValueError("llama.cpp makes no context for this model")
        self.memory = lib.llama_get_memory(self.context)
        self.vocabulary = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(self.model))
        self.batch = lib.llama_batch_init(batch, 0, 1)

    def number(self, key, otherwise):
        text = lib.ctypes.create_string_buffer(64)
        length = lib.llama_model_meta_val_str(self.model, key.encode(), text, 64)
        return int(text.value) if length > 0 and text.value.isdigit() else otherwise

    def facts(self):
        model = self.model
        name = lib.ctypes.create_string_buffer(64)
        lib.llama_model_meta_val_str(model, b"general.architecture", name, 64)
        head = lib.llama_model_n_embd(model) // max(lib.llama_model_n_head(model), 1)
        widths = [self.number(f"{name.value.decode()}.attention.{k}_length", head) for k in ("key", "value")]
        kept = lib.llama_model_n_layer(model) * lib.llama_model_n_head_kv(model) * sum(widths)
        return {
            "vocabulary": self.vocabulary,
            "context": lib.llama_model_n_ctx_train(model),
            "positions": lib.llama_n_ctx(self.context),
            "weight_bytes": lib.llama_model_size(model),
            "cache_bytes_per_position": int(kept * self.cache_number),
            "decodes": bool(self.memory) and lib.llama_model_has_decoder(model),
            "system": " ".join(lib.llama_print_system_info().decode().split()),
        }

    def decode(self):
        count, wanted = numbers(2)
        tokens, positions, sequences = numbers(count), numbers(count), numbers(count)
        rows = numbers(wanted)
        batch = self.batch
        batch.n_tokens = count
        for i in range(count):
            batch.token[i] = tokens[i]
            batch.pos[i] = positions[i]
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequences[i]
            batch.logits[i] = 0
        for row in rows:
            batch.logits[row] = 1
        status = lib.llama_decode(self.context, batch)
        if status == 1:
            raise MemoryError("there is no room for these positions in llama.cpp's cache")
        if status != 0:
            raise ValueError(f"llama.cpp does not decode these tokens: it returned {status}")
        size = self.vocabulary * 4
        parts = [lib.ctypes.string_at(lib.llama_get_logits_ith(self.context, row), size) for row in rows]
        answer(b"\0", *parts)

    def keep(self):
        sequence, length = numbers(2)
        if not lib.llama_memory_seq_rm(self.memory, sequence, length, -1):
            raise ValueError("llama.cpp cannot cut back a sequence of this model")
        answer(b"\0")

    def copy(self):
        source, target, length = numbers(3)
        lib.llama_memory_seq_cp(self.memory, source, target, 0, length)
        answer(b"\0")


def main():
    if sys.argv[1] == "check":
        say(version=getattr(llama_cpp, "__version__", "unknown"))
        return
    path, threads, positions, cache, sequences, batch = sys.argv[2:8]
    try:
        model = Model(path, int(threads), int(positions), cache, int(sequences), int(batch))
        say(version=getattr(llama_cpp, "__version__", "unknown"), **model.facts())
    except (ValueError, AttributeError) as error:
        say(error=str(error))
        return
    does = {b"d": model.decode, b"k": model.keep, b"c": model.copy}
    while request := requests.read(1):
        try:
            does[request]()
        except (ValueError, MemoryError) as error:
            text = str(error).encode()
            answer(b"\2" if isinstance(error, MemoryError) else b"\1", struct.pack("<I", len(text)), text)


try:
    import llama_cpp
    from llama_cpp import llama_cpp as lib
except Exception as error:
    say(error=f"{type(error).__name__}: {error}", missing=True)
    sys.exit(0)

lib.llama_backend_init()
main()
