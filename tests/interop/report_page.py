#!/usr/bin/env python3
"""The report pages of optimize and compare in a real browser: they render, run no script and ask the network for nothing.

    tests/interop/report_page.py --gravure BINARY --work FOLDER

Makes both reports of the bundled model, opens them in headless Chromium, light and narrow, and looks at
pictures (decoded here, no library), at the document and at the browser's own log of requests. Each check is first held
against a page that must fail it. Ends with 77 where there is no Chromium; the reports are made all the same.
"""

import argparse
import json
import re
import shutil
import struct
import subprocess
import sys
import zlib
from pathlib import Path

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-extensions", "--hide-scrollbars",
    # No name is ever resolved: a request shows in the log and goes nowhere.
    "--host-resolver-rules=MAP * ~NOTFOUND",
]
WIDE, NARROW = (1100, 3000), (420, 3000)
# Colours of report/style.css that must be seen: paper, the line under the title, the darkest cell of the bit map.
PAPER, ACCENT, MAP = (0xFB, 0xFA, 0xF7), (0xA2, 0x40, 0x1C), (0x17, 0x3A, 0x5E)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gravure", required=True)
    parser.add_argument("--work", required=True, type=Path)
    options = parser.parse_args()
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    shutil.rmtree(options.work, ignore_errors=True)
    options.work.mkdir(parents=True)
    pages = make_reports(options.gravure, options.work)
    if browser is None:
        print("report_page: no Chromium here", file=sys.stderr)
        sys.exit(77)
    checks = Checks(browser, options.work)
    checks.controls()
    for name, page, headings in pages:
        checks.page(name, page, headings)
    print(f"report_page: {checks.passed} checks passed, {len(checks.failed)} failed")
    for failure in checks.failed:
        print(f"FAILED: {failure}", file=sys.stderr)
    sys.exit(bool(checks.failed))


def make_reports(gravure, work):
    """All reports of the bundled model, of few windows."""
    model = "models/gravure-tiny"

    def run(*words):
        subprocess.run([gravure, "-q", *map(str, words)], check=True)

    run("quantize", model, "--type", "q2_k", "-o", work / "q2_k.gguf")
    run("optimize", "--recipe", "recipes/gravure-tiny.toml", "-o", work / "optimized", "-c", 128, "--calibration-chunks", 4,
        "--sensitivity-chunks", 1, "--eval-chunks", 4, "--encodings", "q2_k,q4_k,q8_0,f16")
    run("compare", model, work / "q2_k.gguf", work / "optimized/model.gguf", "-o", work / "compared", "-c", 128, "--chunks", 4)
    # Its page is looked at by the tests of Rust; its document is held against the schema.
    texts = ["--calibration-data", work / "optimized/calibration.txt", "--eval-data", work / "optimized/evaluation.txt"]
    run("search", model, "-o", work / "searched", *texts, "--trials", 3, "--keep", "front", "-c", 128, "--calibration-chunks", 4, "--sensitivity-chunks",
        1, "--trial-chunks", 1, "--eval-chunks", 4, "--encodings", "q2_k,q4_k,q8_0", "--methods", "rtn", "--objectives", "kld,size,memory")
    both = ["Size against quality", "Bits by layer", "Worst tokens"]
    return [
        ("optimize", work / "optimized/report.html", [*both, "Promises and gates", "Drift by stage", "How it was made"]),
        ("compare", work / "compared/report.html", [*both, "Side by side", "Speed and memory", "How it was measured"]),
    ]


class Checks:
    def __init__(self, browser, work):
        self.browser, self.work, self.passed, self.failed, self.runs = browser, work, 0, [], 0

    def hold(self, what, holds, found=""):
        if holds:
            self.passed += 1
        else:
            self.failed.append(f"{what} {found}".strip())

    def open(self, page, *words):
        """Runs the browser once on a page, with a profile of its own; its output and the requests it made."""
        self.runs += 1
        log, profile = self.work / f"net-{self.runs}.json", self.work / f"profile-{self.runs}"
        command = [self.browser, *FLAGS, f"--user-data-dir={profile}", f"--log-net-log={log}", *words, page.absolute().as_uri()]
        found = subprocess.run(command, capture_output=True, text=True, timeout=120)
        shutil.rmtree(profile, ignore_errors=True)
        return found.stdout, requests_in(log)

    def picture(self, page, size):
        target = self.work / f"{page.parent.name}-{size[0]}.png"
        self.open(page, f"--window-size={size[0]},{size[1]}", f"--screenshot={target.absolute()}")
        return Picture(target.read_bytes())

    def controls(self):
        """What must be found is found on pages that have it."""
        folder = self.work / "control"
        folder.mkdir()
        page = folder / "page.html"
        page.write_text('<!DOCTYPE html><img src="http://fetched.invalid/x.png"><p id="p">text</p>'
                        '<script>document.getElementById("p").textContent = "ran"</script>')
        document, requests = self.open(page, "--dump-dom")
        self.hold("a script that runs is seen", ">ran<" in document, document)
        self.hold("a request is seen", any("fetched.invalid" in url for url in requests), str(requests))
        page.write_text("<!DOCTYPE html><body></body>")
        self.hold("an empty page is seen", len(self.picture(page, (300, 200)).colours()) == 1)

    def page(self, name, page, headings):
        text = page.read_text(encoding="utf-8")
        for forbidden in ("<script", "javascript:", "http:", "https:", "url(", "@import", "<link", "<iframe", " onload", " onclick"):
            self.hold(f"{name}: no {forbidden}", forbidden not in text)
        document, requests = self.open(page, "--dump-dom")
        self.hold(f"{name}: asks for nothing", not own(requests), str(requests))
        shown = re.findall(r"<h2[^>]*>([^<]*)</h2>", document)
        for heading in headings:
            self.hold(f"{name}: section {heading}", heading in shown, str(shown))
        self.hold(f"{name}: a plot", document.count("<circle") >= 3 and "<polyline" in document)
        self.hold(f"{name}: a map", document.count('class="cell"') >= 50)
        self.hold(f"{name}: tables", document.count("<table") >= 3)

        wide = self.picture(page, WIDE)
        self.hold(f"{name}: many colours", len(wide.colours()) > 200, str(len(wide.colours())))
        for what, colour in (("paper", PAPER), ("accent", ACCENT), ("map", MAP)):
            self.hold(f"{name}: its {what}", wide.has(colour))
        # The column lies in the middle: nothing in either margin, something between.
        left, right = wide.ink(PAPER)
        self.hold(f"{name}: margins", 20 < left < 120 and 20 < wide.width - 1 - right < 120 and abs(left - (wide.width - 1 - right)) <= 4,
                  f"{left} and {wide.width - 1 - right} of {wide.width}")
        narrow = self.picture(page, NARROW)
        left, right = narrow.ink(PAPER)
        self.hold(f"{name}: fits a telephone", left >= 8 and right <= narrow.width - 8, f"{left} to {right} of {narrow.width}")


def requests_in(log):
    """Every address that the browser's network stack was asked for, by its own log."""
    text = log.read_text(encoding="utf-8", errors="replace")
    try:
        events = json.loads(text)
    except ValueError:  # a log that was not ended
        events = json.loads(text.rstrip().rstrip(",") + "]}")
    kinds = events["constants"]["logEventTypes"]
    start = {kinds[name] for name in ("URL_REQUEST_START_JOB", "CORS_REQUEST") if name in kinds}
    return {e["params"]["url"] for e in events["events"] if e["type"] in start and "url" in e.get("params", {})}


def own(requests):
    """Those that are not Chromium's own errands at its start."""
    errands = re.compile(r"https?://([a-z0-9-]+\.)*(google|googleapis|gvt1|gstatic)\.com/")
    return [url for url in requests if not url.startswith(("file:", "data:", "chrome:")) and not errands.match(url)]


class Picture:
    """A PNG of eight bits without interlacing, as Chromium writes them."""

    def __init__(self, data):
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        at, packed = 8, b""
        while at < len(data):
            (length,), kind = struct.unpack(">I", data[at:at + 4]), data[at + 4:at + 8]
            body = data[at + 8:at + 8 + length]
            if kind == b"IHDR":
                self.width, self.height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", body)
                assert depth == 8 and colour in (2, 6) and not interlaced, (depth, colour, interlaced)
                self.channels = 3 if colour == 2 else 4
            elif kind == b"IDAT":
                packed += body
            at += 12 + length
        self.rows = unfilter(zlib.decompress(packed), self.width * self.channels, self.height, self.channels)

    def colours(self):
        n = self.channels
        return {row[i:i + 3] for row in self.rows for i in range(0, len(row), n)}

    def has(self, colour):
        return bytes(colour) in self.colours()

    def ink(self, paper):
        """The first and last column in which something other than `paper` is."""
        blank = bytes(paper)
        n = self.channels
        left, right = self.width, -1
        for row in self.rows:
            for x in range(self.width):
                if row[x * n:x * n + 3] != blank:
                    left = min(left, x)
                    break
            for x in range(self.width - 1, right, -1):
                if row[x * n:x * n + 3] != blank:
                    right = x
                    break
        return left, right


def unfilter(data, stride, height, step):
    rows, above = [], bytearray(stride)
    for y in range(height):
        start = y * (stride + 1)
        kind, row = data[start], bytearray(data[start + 1:start + 1 + stride])
        if kind == 1:
            for i in range(step, stride):
                row[i] = (row[i] + row[i - step]) & 255
        elif kind == 2:
            row = bytearray((a + b) & 255 for a, b in zip(row, above))
        elif kind == 3:
            for i in range(stride):
                row[i] = (row[i] + ((row[i - step] if i >= step else 0) + above[i]) // 2) & 255
        elif kind == 4:
            for i in range(stride):
                a, b, c = (row[i - step] if i >= step else 0), above[i], (above[i - step] if i >= step else 0)
                pa, pb, pc = abs(b - c), abs(a - c), abs(a + b - 2 * c)
                row[i] = (row[i] + (a if pa <= pb and pa <= pc else b if pb <= pc else c)) & 255
        rows.append(bytes(row))
        above = row
    return rows


if __name__ == "__main__":
    main()
