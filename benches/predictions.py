#!/usr/bin/env python3
"""What `recommend` and `optimize` predict for this machine, held against what `bench` measures: size, memory, decoding.

Takes the model of `benches/run.py` (the shape of Llama-3.2-1B, random weights) in several types, and the bundled model. For
each, `recommend --target host --measure` and `bench` run in turn on the same threads at the same number of positions, and the
medians are compared. A machine that is shared with others reads its memory at another speed from one minute to the next:
a measurement of decoding counts only where the predictions before and after it agree within 10 %, and measurements go on
until `--runs` count, or five times as many were made. `runs` says how many counted; where none did, decoding is not judged:
run it again when the machine is quiet.

    pip install numpy gguf
    python benches/predictions.py --gravure target/release/gravure --folder /big/disk [--types q4_0,q8_0] [--context 1024]

    --model FILE --types q4_k_m     another model instead: its types are made beside the others
    --optimized                     `optimize` of the bundled model, for a target that has this machine's figures, too

Bars: sizes exact, memory within 5 %, decoding within 20 %. Exit status 1 where one is missed.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

from measure import output
from quantize import quantized, running_model

BARS = {"size": 0.0, "memory": 0.05, "decode": 0.20}
GENERATE = 32
# Predictions for one machine within this factor of each other are those of a steady one.
STEADY = 1.1


def predicted(arguments, source):
    """The candidates of the native engine by type, and the bandwidth that was measured for them."""
    command = [arguments.gravure, "recommend", source, "--target", "host", "--measure", "-c", arguments.context, "--json", "-q"]
    report = json.loads(output([*command, "-t", arguments.threads]))
    ours = next(c for c in report["considered"] if c["runtime"] == "gravure")
    return {c["precision"]: c for c in ours["candidates"]}


def measured(arguments, model):
    """Half the positions before what is timed, and a prompt of the other half: then all positions are kept."""
    half = arguments.context // 2
    command = [arguments.gravure, "bench", model, "--json", "-q", "-t", arguments.threads, "-p", half, "-n", GENERATE, "-d", half, "-r", 2]
    report = json.loads(output(command))
    return {
        "memory": report["peak_resident_bytes"],
        "decode": report["decode"]["tokens_per_second"]["median"],
    }


def median(samples, key):
    return statistics.median(s[key] for s in samples)


def compare(arguments, name, model, predict):
    """One row: `predict` gives size, memory and speed each time that it is asked."""
    said, found, steady = [predict()], [], []
    while len(steady) < arguments.runs and len(found) < 5 * arguments.runs:
        found.append(measured(arguments, model))
        said.append(predict())
        around = [s["decode"] for s in said[-2:]]
        if max(around) / min(around) < STEADY:
            steady.append({"said": statistics.mean(around), "found": found[-1]["decode"]})
    pairs = {"size": (said[0]["size"], model.stat().st_size), "memory": (said[0]["memory"], median(found, "memory"))}
    if steady:
        pairs["decode"] = (median(steady, "said"), median(steady, "found"))
    row, good = [name], True
    for key, scale, digits in [("size", 1e6, 3), ("memory", 1e6, 1), ("decode", 1, 1)]:
        if key not in pairs:
            row += ["-", f"{median(found, key) / scale:.{digits}f}", "unsteady"]
            continue
        a, b = pairs[key]
        good &= abs(a / b - 1) <= BARS[key]
        row += [f"{a / scale:.{digits}f}", f"{b / scale:.{digits}f}", f"{100 * (a / b - 1):+.1f} %"]
    print("| " + " | ".join([*row, f"{len(steady)} of {len(found)}"]) + " |", flush=True)
    return good


def optimized(arguments):
    """The bundled model under `optimize`, for a target with this machine's figures whose only runtime is the native engine."""
    folder, file = arguments.folder / "optimized", arguments.folder / "this-machine.toml"

    def predict():
        target = output([arguments.gravure, "targets", "host", "--measure", "--toml", "-t", arguments.threads])
        head, *runtimes = target.split("[[runtimes]]")
        ours = next(r for r in runtimes if 'runtime = "gravure"' in r)
        file.write_text(head.replace('id = "host"', 'id = "this-machine"') + "[[runtimes]]" + ours)
        # What was measured of the model the first time serves all others.
        output([arguments.gravure, "-q", "optimize", "models/gravure-tiny", "-o", folder, "--bits-per-weight", 4.5, "--target", file,
                "--ctx", arguments.context, "--no-gates", "-c", 128, "--calibration-chunks", 4, "--sensitivity-chunks", 1, "--eval-chunks", 4,
                "-t", arguments.threads])
        report = json.loads((folder / "report.json").read_text())
        said = report["predicted"]
        return {"size": report["file_bytes"], "memory": said["memory_bytes"], "decode": said["tokens_per_second"]}

    return compare(arguments, "gravure-tiny, optimized", folder / "model.gguf", predict)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gravure", required=True)
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--types", default="q4_0,q4_k_m,q6_k,q8_0")
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--optimized", action="store_true")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    source = arguments.model or running_model(arguments.folder, arguments.layers)
    print("| model | MB predicted | MB | error | memory MB predicted | MB | error | tokens/s predicted | tokens/s | error | runs |")
    print("|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    good = True
    for kind in filter(None, arguments.types.split(",")):
        model = quantized(arguments.gravure, source, arguments.folder, kind)

        def predict(kind=kind):
            candidate = predicted(arguments, source)[kind]
            return {"size": candidate["file_bytes"], "memory": candidate["memory_bytes"], "decode": candidate["decode_tokens_per_second"]}

        good &= compare(arguments, f"{source.stem}, {kind}", model, predict)
    if arguments.optimized:
        good &= optimized(arguments)
    sys.exit(not good)


if __name__ == "__main__":
    main()
