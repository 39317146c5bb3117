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

# Artifacts in llama.cpp's Python package, as a runtime of ours and of `optimize`.
"$PEER_PYTHON" tests/interop/runtimes.py --gravure "$gravure" --peers "$PEER_BIN" --work "$work/runtimes"

# Folders of mlx-lm, which runs on processors, too, where PyPI has it for this one.
mlx="${XDG_CACHE_HOME:-$HOME/.cache}/gravure-peers/mlx-0.32.4"
if ! "$mlx/bin/python" -c 'import mlx.core, mlx_lm' 2>/dev/null; then
    rm -rf "$mlx"
    python3 -m venv "$mlx"
    "$mlx/bin/python" -m pip --quiet --disable-pip-version-check install 'mlx[cpu]==0.32.4' mlx-lm==0.32.2 >"$work/mlx.log" 2>&1 || true
fi
if "$mlx/bin/python" -c 'import mlx.core, mlx_lm' 2>/dev/null; then
    "$mlx/bin/python" tests/interop/mlx_folders.py --gravure "$gravure" --work "$work/mlx"
else
    echo "SKIPPED: folders of mlx-lm, which cannot be had here: $(tail -1 "$work/mlx.log")" >&2
fi

# The pages of the reports in a browser, where there is one or it can be had, and their documents against the schemas.
if ! command -v chromium chromium-browser google-chrome >/dev/null; then
    sudo=$([ "$(id -u)" = 0 ] || command -v sudo || true)
    { $sudo apt-get update -qq && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } \
        >"$work/chromium.log" 2>&1 || true
fi
status=0
"$PEER_PYTHON" tests/interop/report_page.py --gravure "$gravure" --work "$work/pages" || status=$?
if [ $status -eq 77 ]; then
    echo "SKIPPED: report pages in a browser: there is no Chromium here, and it cannot be had" >&2
elif [ $status -ne 0 ]; then
    exit $status
fi
"$PEER_PYTHON" -c 'import jsonschema' 2>/dev/null || "$PEER_PYTHON" -m pip --quiet --disable-pip-version-check install jsonschema==4.26.0
"$PEER_PYTHON" tests/interop/schemas.py --work "$work/pages"

export PEER_BIN PEER_PYTHON
tests/interop/consumers.sh "$gravure"
