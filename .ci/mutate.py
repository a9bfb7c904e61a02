#!/usr/bin/env python3
"""Makes each comparison in the arithmetic of limits and outlier detection a little too strict or too lax, one at a time, in
a scratch copy, and expects the tests of proxy/core to notice.

    .ci/mutate.py            # all of them
    .ci/mutate.py outlier    # those in files whose path contains the word

A comparison that nobody would miss is a bug in the tests. A minute or two; builds go to target/mutants.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("proxy/core/src/limit", "proxy/core/src/outlier")
TESTS = ("-p", "weft-proxy-core", "--locked", "--lib", "--test", "outlier", "--target-dir", str(ROOT / "target/mutants"))
# For a build; it compiles one package, after the first.
BUILD_SECONDS_MAX = 600
# For the tests of a mutant: this, and this many times what they take unchanged. One that waits for ever is noticed, too.
TEST_SECONDS_MIN, TEST_TIMES = 20, 5

OPERATOR = re.compile(r" (<=|>=|<|>) ")
SWAPPED = {"<=": "<", "<": "<=", ">=": ">", ">": ">="}
# Assertions are tests themselves.
SKIPPED = ("//", "debug_assert")

# The same program under another spelling, each with the reason; a line that has gone is an error.
EQUIVALENT = {
    "used > self.high.load": "raising a mark to what it is changes nothing",
    "hosts > 0": "nobody of none: the other side of the && is false as well",
}


def sites(word):
    """(file, line number, line, line as mutated) of every comparison."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).glob("*.rs")):
            name = path.relative_to(ROOT)
            if word not in str(name) or path.name == "tests.rs" or path.name.endswith("models.rs"):
                continue
            for number, line in enumerate(path.read_text().splitlines()):
                if line.strip().startswith(SKIPPED):
                    continue
                for found in OPERATOR.finditer(line):
                    start, end = found.span(1)
                    yield name, number, line, line[:start] + SWAPPED[found[1]] + line[end:], line[:start], line[start:]


def is_equivalent(left, right):
    """Whether the comparison at this place is one of EQUIVALENT."""
    for text in EQUIVALENT:
        before = text[: OPERATOR.search(text).span(1)[0]]
        if left.endswith(before) and right.startswith(text[len(before) :]):
            return text
    return None


def cargo(folder, seconds_max, *arguments):
    """How `cargo test` ended and what it wrote; None when it took too long and was stopped with all that it had started."""
    child = subprocess.Popen(
        ("cargo", "test", "--quiet", *TESTS, *arguments),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = child.communicate(timeout=seconds_max)
        return child.returncode, output
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
        return None


def copy(folder):
    listed = subprocess.run(("git", "ls-files", "-z"), cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)


def check(folder, site, seconds_max):
    """None when the tests notice, else what to say."""
    name, number, _, mutated, *_ = site
    file = folder / name
    original = file.read_text()
    lines = original.splitlines()
    lines[number] = mutated
    file.write_text("\n".join(lines) + "\n")
    try:
        code, output = cargo(folder, BUILD_SECONDS_MAX, "--no-run") or (1, "out of time")
        if code != 0:
            return f"does not build:\n{output}"
        ran = cargo(folder, seconds_max)
        return "nobody notices" if ran is not None and ran[0] == 0 else None
    finally:
        file.write_text(original)


def main():
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    found = list(sites(word))
    known = {is_equivalent(site[4], site[5]) for site in found} - {None}
    wrong = [f"not there any more: {text}" for text in EQUIVALENT if not word and text not in known]
    # One folder for all, so that a build starts from the last; its name is part of what is built.
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        folder = pathlib.Path(scratch)
        copy(folder)
        cargo(folder, BUILD_SECONDS_MAX, "--no-run")
        begun = time.monotonic()
        code, output = cargo(folder, BUILD_SECONDS_MAX) or (1, "out of time")
        if code != 0:
            sys.exit(f"mutate: the tests fail as they are\n{output}")
        seconds_max = TEST_SECONDS_MIN + TEST_TIMES * (time.monotonic() - begun)
        for site in found:
            name, number, line, mutated, left, right = site
            begun = time.monotonic()
            equivalent = is_equivalent(left, right)
            problem = None if equivalent else check(folder, site, seconds_max)
            verdict = f"the same: {EQUIVALENT[equivalent]}" if equivalent else (problem or "noticed")
            print(f"{name}:{number + 1}: {mutated.strip()}: {verdict} ({time.monotonic() - begun:.0f} s)", flush=True)
            if problem:
                wrong.append(f"{name}:{number + 1}: `{line.strip()}` as `{mutated.strip()}`: {problem}")
    if wrong or not found:
        sys.exit("mutate: " + ("\nmutate: ".join(wrong) or "nothing to change"))
    print(f"mutate: {len(found)} comparisons, each noticed or the same")


if __name__ == "__main__":
    main()
