"""What the comparisons count and say."""

import sys

failures = []
checks = 0


def check(holds, text):
    """Prints and counts one comparison."""
    global checks
    checks += 1
    print(("ok      " if holds else "FAILED  ") + text)
    if not holds:
        failures.append(text)


def finish(name):
    """Ends the program by what was found."""
    print(f"{name}: {checks} checks, {len(failures)} failed")
    sys.exit(1 if failures else 0)
