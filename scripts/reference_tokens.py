#!/usr/bin/env python3
"""Greedy tokens by transformers in 32 bits: the expectations of crates/gravure/tests/generation.rs.

    python scripts/reference_tokens.py models/gravure-tiny tests/fixtures/tokens/gravure-tiny.json

Also says how far the best logit is above the second at the narrowest place: nearer than rounding, and the
tokens would be chance. Made with transformers 5.24 and torch on a CPU.
"""

import json
import pathlib
import sys

import torch
import transformers

PROMPTS = ["Once upon a time", "The king of England", "One day, Lily"]

model_path, out = sys.argv[1:3]
tokenizer = transformers.AutoTokenizer.from_pretrained(model_path)
model = transformers.AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32)
replies, narrowest = [], float("inf")
for prompt in PROMPTS:
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    tokens = ids[0].tolist()
    # A folder with a SentencePiece model alone has no configuration that would say so.
    if not (pathlib.Path(model_path) / "tokenizer_config.json").exists():
        tokens.insert(0, model.config.bos_token_id)
    begin = len(tokens)
    with torch.no_grad():
        for _ in range(200):
            logits = model(torch.tensor([tokens])).logits[0, -1]
            best = torch.topk(logits, 2).values
            narrowest = min(narrowest, float(best[0] - best[1]))
            tokens.append(int(logits.argmax()))
    replies.append({"prompt": prompt, "prompt_tokens": tokens[:begin], "tokens": tokens[begin:]})
pathlib.Path(out).parent.mkdir(parents=True, exist_ok=True)
pathlib.Path(out).write_text(json.dumps(replies, separators=(",", ":")) + "\n")
print(f"narrowest margin {narrowest:.5f}")
