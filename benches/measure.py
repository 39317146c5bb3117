"""Running a command and measuring it: wall time, CPU time, peak resident memory."""

import os
import re
import subprocess
import sys
import tempfile
import time


def timed(command, before_start=None):
    """Seconds and MiB of one run; ends the program where the command fails.

    The peak is `VmHWM`, asked for every few milliseconds: `ru_maxrss` of a child begins with what its parent,
    this interpreter, had when it forked.
    """
    with tempfile.TemporaryFile() as output:
        start = time.monotonic()
        process = subprocess.Popen([str(c) for c in command], stdout=output, stderr=subprocess.STDOUT, preexec_fn=before_start)
        peak = 0
        while True:
            done, status, usage = os.wait4(process.pid, os.WNOHANG)
            if done:
                break
            peak = max(peak, high_water(process.pid))
            time.sleep(0.005)
        wall = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if status != 0:
            output.seek(0)
            sys.exit(f"{command} failed:\n{output.read().decode(errors='replace')[-2000:]}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "rss": peak / 1024}


def high_water(pid):
    """Peak resident memory of a running process so far, in KiB; 0 where it cannot be told."""
    try:
        with open(f"/proc/{pid}/status") as status:
            return next((int(line.split()[1]) for line in status if line.startswith("VmHWM:")), 0)
    except OSError:
        return 0


def output(command):
    """What a command prints on standard output; ends the program where it fails."""
    result = subprocess.run([str(c) for c in command], capture_output=True, text=True, errors="replace")
    if result.returncode != 0:
        sys.exit(f"{[str(c) for c in command]} failed:\n{(result.stdout + result.stderr)[-2000:]}")
    return result.stdout


def figures(command, *patterns):
    """The last figure of each pattern that a tool prints which now and then exits, with success, before its last lines are
    written: more often into a pipe than into a file."""
    for _ in range(8):
        with tempfile.TemporaryFile() as log:
            subprocess.run([str(c) for c in command], stdout=log, stderr=subprocess.STDOUT, check=True)
            log.seek(0)
            text = log.read().decode(errors="replace")
        found = [re.findall(pattern, text) for pattern in patterns]
        if all(found):
            return [float(f[-1]) for f in found]
    sys.exit(f"{command} printed no figures")
