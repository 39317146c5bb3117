#!/bin/sh
# Fuzzes every target, one after the other, and prints how many inputs each has run.
#
#   fuzz/run.sh [SECONDS | RUNSr] [TARGET...]     60 seconds each by default; 1000000r is a million inputs each
#
# Builds with a stable compiler and nothing else installed: coverage is a plain LLVM pass. The readers forbid
# unsafe code, so there is no address sanitizer: what is looked for are panics, hangs and memory.
# Inputs that are found go to fuzz/corpus/TARGET, failures to fuzz/artifacts/TARGET.
set -eu
cd "$(dirname "$0")"

amount=${1:-60}
[ $# -gt 0 ] && shift
case $amount in
*r) stop="-runs=${amount%r}" ;;
*) stop="-max_total_time=$amount" ;;
esac

all=$(sed -n 's/^name = "\(.*\)"$/\1/p' Cargo.toml | grep -v '^gravure-fuzz$')
targets=${*:-$all}
host=$(rustc -vV | sed -n 's/^host: //p')
folder=${CARGO_TARGET_DIR:-target}
export CARGO_TARGET_DIR="$folder"

# Seeds: the small files of the hostile corpus and their honest neighbours.
cargo run --quiet --manifest-path ../Cargo.toml --package gravure-testing --example fuzz_seeds -- corpus

sanitizer="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
sanitizer="$sanitizer -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
# Named by target, so that build scripts and macros are built without coverage.
RUSTFLAGS="$sanitizer --cfg fuzzing -Cdebug-assertions" cargo build --release --target "$host"

failed=0
for target in $targets; do
    mkdir -p "corpus/$target" "artifacts/$target"
    log="artifacts/$target/log"
    if "$folder/$host/release/$target" "$stop" -max_len=4096 -rss_limit_mb=512 -timeout=5 -print_final_stats=1 \
        -artifact_prefix="artifacts/$target/" "corpus/$target" 2>"$log"; then
        state=ok
    else
        state="FAILED, see fuzz/$log"
        failed=1
    fi
    units=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    memory=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
    echo "$target: ${units:-?} executions, ${memory:-?} MiB, $state"
done
exit $failed
