#!/usr/bin/env bash
# Fetches and builds the reference implementations that the interop tests compare against.
#
#   tests/interop/peers.sh        prints `PEER_PYTHON=...`, `PEER_BIN=...`, `PEER_SOURCE=...`, for `eval` or `source`
#
# Needs python3 with venv, a C++ compiler and PyPI. Everything lies under ${XDG_CACHE_HOME:-~/.cache}/gravure-peers,
# by version; a complete cache is used as it is. The first run takes about 8 minutes on 2 cores.
set -euo pipefail

VERSION=0.3.36 # of llama-cpp-python, whose source release carries llama.cpp and its tools
GGUF_VERSION=0.19.0
TOOLS=(llama-quantize llama-gguf-split llama-imatrix llama-perplexity llama-tokenize)
LOGITS="$(cd "$(dirname "$0")" && pwd)/logits.cpp" # our own program over its library

root="${XDG_CACHE_HOME:-$HOME/.cache}/gravure-peers"
home="$root/$VERSION"
done_mark="$home/complete"

say() { echo "peers: $*" >&2; }

report() {
    printf 'PEER_PYTHON=%q\nPEER_BIN=%q\nPEER_SOURCE=%q\n' "$home/venv/bin/python" "$home/bin" "$home/source/vendor/llama.cpp"
}

is_complete() {
    [ -f "$done_mark" ] || return 1
    local tool
    for tool in "${TOOLS[@]}" llama-logits; do [ -x "$home/bin/$tool" ] || return 1; done
    cmp -s "$LOGITS" "$home/logits.cpp" || return 1
    "$home/venv/bin/python" -c 'import gguf, numpy, llama_cpp' 2>/dev/null
}

mkdir -p "$root"
# One builder at a time: a second one waits and then finds the cache complete.
exec 9>"$root/lock"
command -v flock >/dev/null && flock 9

if is_complete; then
    report
    exit 0
fi

say "building llama.cpp of llama-cpp-python $VERSION under $home"
rm -rf "$home"
mkdir -p "$home/download" "$home/source" "$home/bin"
python3 -m venv "$home/venv"
pip() { "$home/venv/bin/python" -m pip --quiet --disable-pip-version-check "$@" >&2; }
pip install "gguf==$GGUF_VERSION" numpy cmake ninja
# Only this package as source: cmake and ninja must stay wheels.
pip download --no-deps --no-binary llama-cpp-python --dest "$home/download" "llama-cpp-python==$VERSION"
tar -xzf "$home"/download/llama_cpp_python-*.tar.gz -C "$home/source" --strip-components=1

PATH="$home/venv/bin:$PATH"
# Not for this machine's own instructions: the cache may outlive it, and the quantizer's bytes are those of baseline x86-64.
# Its libraries are built once, for the tools and for the Python package.
cmake -S "$home/source/vendor/llama.cpp" -B "$home/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DGGML_NATIVE=OFF \
    -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON "-DCMAKE_INSTALL_RPATH=\$ORIGIN;\$ORIGIN/../lib" \
    -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_UI=OFF \
    >"$home/configure.log" 2>&1 || { tail -40 "$home/configure.log" >&2; exit 1; }
ninja -C "$home/build" "${TOOLS[@]}" >"$home/build.log" 2>&1 || { tail -40 "$home/build.log" >&2; exit 1; }
for tool in "${TOOLS[@]}"; do cp "$home/build/bin/$tool" "$home/bin/"; done
mkdir "$home/lib"
cp -a "$home"/build/bin/lib*.so* "$home/lib/"
source="$home/source/vendor/llama.cpp"
cp "$LOGITS" "$home/logits.cpp"
"${CXX:-c++}" -O1 -std=c++17 -I"$source/include" -I"$source/ggml/include" "$LOGITS" -L"$home/lib" -lllama -lggml -lggml-base \
    -Wl,-rpath,"\$ORIGIN/../lib" -o "$home/bin/llama-logits" >&2
# The Python package of the same release, over those libraries.
pip install -C cmake.define.LLAMA_BUILD=OFF -C cmake.define.LLAVA_BUILD=OFF "$home/source"
ln -sr "$home/lib" "$("$home/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')/llama_cpp/lib"
rm -rf "$home/build" "$home/download"
touch "$done_mark"
is_complete || { say "the build is not complete"; exit 1; }
say "done"
report
