#!/usr/bin/env bash
# What Gravure writes is opened by its real consumers: llama.cpp runs it, gguf-py reads it.
#
#   tests/interop/consumers.sh GRAVURE        needs PEER_BIN and PEER_PYTHON from peers.sh, and the example tiny_model built
set -euo pipefail
cd "$(dirname "$0")/../.."
gravure="$1"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
exec 3>&2
passed=0
failed=0

check() { # what, command...
    local what="$1"
    shift
    if "$@" >"$work/log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $what" >&2
        tail -20 "$work/log" >&2
    fi
}

# Perplexity of a model on a text is a number below a bound. llama-perplexity now and then exits, with success,
# before its last lines are written: three tries, then its running estimates are taken, then its success alone.
perplexity_below() { # bound, context, model, text
    local try value=""
    for try in 1 2 3; do
        "$PEER_BIN/llama-perplexity" -m "$3" -f "$4" -c "$2" -t 2 --chunks 6 >"$work/ppl" 2>&1 || { cat "$work/ppl"; return 1; }
        value="$(grep -a -o 'PPL = [0-9.]*' "$work/ppl" | tail -1 | cut -d' ' -f3 || true)"
        [ -n "$value" ] || value="$(grep -a -o '\][0-9.]*,' "$work/ppl" | tail -1 | tr -d '],' || true)"
        [ -n "$value" ] && break
    done
    if [ -z "$value" ]; then
        echo "SKIPPED: llama-perplexity ran $3 and printed no figure" >&3
        return 0
    fi
    echo "try $try: perplexity $value, bound $1"
    awk -v v="$value" -v b="$1" 'BEGIN { exit !(v > 0 && v < b) }'
}

# The bundled model: f16 has a perplexity of about 136 on the head of this text; a broken tokenizer or tensor gives thousands.
tail -c 12000 models/gravure-tiny/eval.txt >"$work/text"
for type in q4_k_m q8_0 q3_k_m; do
    check "quantize $type" "$gravure" -q quantize models/gravure-tiny --type "$type" -o "$work/$type.gguf"
    check "gguf-py reads $type" "$PEER_PYTHON" tests/interop/gguf_reader.py "$work/$type.gguf"
    check "llama.cpp runs $type" perplexity_below 200 512 "$work/$type.gguf" "$work/text"
done

# What is made with a text: rounding by its second moments, and an optimized artifact with its certificate.
head -c 60000 models/gravure-tiny/eval.txt >"$work/seen"
check "quantize by gptq" "$gravure" -q quantize models/gravure-tiny --type q4_k_m --method gptq --calibration-data "$work/seen" \
    --calibration-chunks 4 -o "$work/gptq.gguf"
check "gguf-py reads gptq" "$PEER_PYTHON" tests/interop/gguf_reader.py "$work/gptq.gguf"
check "llama.cpp runs gptq" perplexity_below 200 512 "$work/gptq.gguf" "$work/text"
check "optimize" "$gravure" -q optimize models/gravure-tiny --max-size 4MB -o "$work/optimized" -c 128 --calibration-chunks 4 \
    --sensitivity-chunks 1 --eval-chunks 4 --encodings q2_k,q4_k,q8_0,f16 --calibration-data "$work/seen" --eval-data "$work/text"
check "verify" "$gravure" -q verify "$work/optimized/model.gguf"
check "gguf-py reads the certified file" "$PEER_PYTHON" tests/interop/gguf_reader.py "$work/optimized/model.gguf"
check "llama.cpp runs the certified file" perplexity_below 250 512 "$work/optimized/model.gguf" "$work/text"
check "quantize by descent, in turn" "$gravure" -q quantize models/gravure-tiny --type q4_k_m --method descent --in-turn \
    --calibration-data "$work/seen" --calibration-chunks 4 -o "$work/turn.gguf"
check "gguf-py reads what was rounded in turn" "$PEER_PYTHON" tests/interop/gguf_reader.py "$work/turn.gguf"
check "llama.cpp runs what was rounded in turn" perplexity_below 200 512 "$work/turn.gguf" "$work/text"
check "search" "$gravure" -q search models/gravure-tiny -o "$work/searched" --trials 3 --keep front -c 128 --calibration-chunks 4 \
    --sensitivity-chunks 1 --trial-chunks 1 --eval-chunks 4 --encodings q3_k,q4_k,q8_0 --methods rtn,descent --objectives kld,size \
    --calibration-data "$work/seen" --eval-data "$work/text"
check "search keeps its front" test -n "$(ls "$work/searched/front/"*.gguf)"
for file in "$work/searched/front/"*.gguf; do
    check "gguf-py reads $(basename "$file") of the front" "$PEER_PYTHON" tests/interop/gguf_reader.py "$file"
    check "llama.cpp runs $(basename "$file") of the front" perplexity_below 1000 512 "$file" "$work/text"
done

# The same as a Hugging Face folder: the package that everybody reads it with, and the certificate computed by other code.
"$PEER_PYTHON" -c 'import safetensors' 2>/dev/null || "$PEER_PYTHON" -m pip --quiet --disable-pip-version-check install safetensors==0.8.0
check "optimize to a folder" "$gravure" -q optimize models/gravure-tiny --to safetensors --bits-per-weight 14 -o "$work/folder" -c 128 \
    --calibration-chunks 4 --sensitivity-chunks 1 --eval-chunks 4 --calibration-data "$work/seen" --eval-data "$work/text"
check "verify the folder" "$gravure" -q verify "$work/folder/model"
check "the package safetensors reads the certified folder" "$PEER_PYTHON" tests/interop/safetensors_reader.py "$work/folder/model"

# Every decoder architecture, with random weights: it loads, runs, and gives a number, never NaN.
tiny="${CARGO_TARGET_DIR:-target}/release/examples/tiny_model"
head -c 4000 models/gravure-tiny/eval.txt >"$work/short"
for design in llama mistral qwen2 qwen3 phi3 gemma2 gemma3 gpt2; do
    # Not named after the design: llama.cpp expects Phi-3's own tokens of a model with that word in its name.
    rm -rf "$work/tiny"
    check "make $design" "$tiny" "$design" "$work/tiny"
    check "convert $design" "$gravure" -q convert "$work/tiny" -o "$work/tiny.gguf" --dtype f32
    check "llama.cpp runs $design" perplexity_below 1e30 64 "$work/tiny.gguf" "$work/short"
done

echo "consumers: $passed passed, $failed failed"
[ "$failed" = 0 ]
