#!/usr/bin/env python3
"""Writes crates/text/tests/fixtures/stories260k.txt: what SentencePiece makes of the corpus.

usage: sentencepiece_fixture.py path/to/tokenizer.model (of stories260k) > ...
Each line is a number of a corpus line (lines that start with == are not counted) and its ids.
"""

import re
import sys

import sentencepiece

ESCAPES = re.compile(r"\\(?:u\{([0-9A-Fa-f]+)\}|(.))", re.S)


def unescape(line):
    plain = {"n": "\n", "t": "\t", "r": "\r"}
    return ESCAPES.sub(lambda m: chr(int(m[1], 16)) if m[1] else plain.get(m[2], m[2]), line)


processor = sentencepiece.SentencePieceProcessor(model_file=sys.argv[1])
corpus = open("crates/text/src/prove/corpus.txt", encoding="utf-8", newline="\n").read()
lines = [unescape(line) for line in corpus.split("\n")[:-1] if not line.startswith("== ")]
for number, line in enumerate(lines):
    print(number, *processor.encode(line))
