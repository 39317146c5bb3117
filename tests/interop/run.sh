#!/usr/bin/env bash
# Everything that compares with the reference implementations. Fetches and builds them on the first run.
#
#   tests/interop/run.sh [--full]     --full: every mixture of every model (about half an hour on 2 cores)
set -euo pipefail
cd "$(dirname "$0")/../.."

depth=--quick
full=
[ "${1:-}" = --full ] && depth= full=--full

# In one go: apart, the two would build their common dependencies twice, with other features.
cargo build --release --package gravure-cli --package gravure-testing --bin gravure --example tiny_model
gravure="${CARGO_TARGET_DIR:-target}/release/gravure"
settings="$(tests/interop/peers.sh)"
eval "$settings"

work="${CARGO_TARGET_DIR:-target}/interop"
mkdir -p "$work"
"$PEER_PYTHON" scripts/random_gguf.py "$work/models"

# shellcheck disable=SC2086 # an empty depth is no argument
"$PEER_PYTHON" tests/interop/quantize_identity.py --gravure "$gravure" --peer "$PEER_BIN/llama-quantize" \
    --split "$PEER_BIN/llama-gguf-split" --models "$work/models" --work "$work" $depth

# What llama.cpp computes on the converted models, against transformers.
"$PEER_PYTHON" tests/interop/logits.py --gravure "$gravure" --tiny "${CARGO_TARGET_DIR:-target}/release/examples/tiny_model" \
    --logits "$PEER_BIN/llama-logits" --work "$work/logits"

# Adapters that are converted, against merged models.
"$PEER_PYTHON" tests/interop/adapters.py --gravure "$gravure" --tiny "${CARGO_TARGET_DIR:-target}/release/examples/tiny_model" \
    --perplexity "$PEER_BIN/llama-perplexity" --work "$work/adapters"

# shellcheck disable=SC2086 # an empty word is no argument
# Perplexity, divergence and importance against llama.cpp's tools; llama-quantize reads the importance matrix.
"$PEER_PYTHON" tests/interop/evaluation.py --gravure "$gravure" --peers "$PEER_BIN" --work "$work/evaluation" --bytes 60000 \
    $full

export PEER_BIN PEER_PYTHON
tests/interop/consumers.sh "$gravure"
