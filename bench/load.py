#!/usr/bin/env python3
"""Load generators side by side on one nginx: weft load, wrk, hey, oha, h2load, with one thread each.

    eval "$(bench/setup.sh load)"                # installs the peers, once
    cargo build --release -p weft-loadtest
    bench/load.py [--rounds 5] [--seconds 4]

Closed loop, 64 connections, HTTP/1.1 and h2c (one stream a connection), in turn for every generator, round after round;
medians. CPU per request is the user and system time of the generator (wait4) over the answers that it counted; resident is its
highest resident memory.

Accuracy: an upstream (`weft-load serve`) that stands still for 100 ms of every second is asked 1,000 times a second (wrk has no
rate: it asks as fast as answers come). Arithmetic says that of sends at equal distances one in a hundred waits 90 ms or longer and
one in a thousand 99 ms; a tenth of them wait 50 ms on average, so all of them 5 ms.

Pacing: how late weft load sends at 2,000 requests/s although a connection is free.
"""
import argparse
import csv
import io
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time

from harness import BODY_BYTES, ROOT, Bench, machine, nginx

HTTP1, H2C = "http://127.0.0.1:9011/", "http://127.0.0.1:9012/"
STALLING = "127.0.0.1:9013"
CONNECTIONS = 64
# Exit code of a run of ours in which the generator did not keep its schedule: the machine was busy with other things.
INVALID = 8
STALL_MS, PERIOD_MS, RATE = 100, 1000, 1000
TRUTH = {"mean": STALL_MS / 2 * STALL_MS / PERIOD_MS, "p99": STALL_MS - 0.01 * PERIOD_MS, "p99.9": STALL_MS - 0.001 * PERIOD_MS}


def run(*command):
    """Output, processor time in microseconds and highest resident memory in MiB of a command."""
    environment = os.environ | {"TOKIO_WORKER_THREADS": "1", "GOMAXPROCS": "1"}
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, env=environment)
    words = {}
    drains = [threading.Thread(target=lambda name=name, pipe=pipe: words.update({name: pipe.read()}))
              for name, pipe in (("out", process.stdout), ("err", process.stderr))]
    for drain in drains:
        drain.start()
    highest, pid = 0, 0
    while not pid:
        # Not out of wait4: what it calls the highest includes this program's, of which the process is a fork.
        status_file = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        highest = max(highest, int((re.search(r"VmHWM:\s+(\d+)", status_file) or [0, 0])[1]))
        time.sleep(0.1)
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
    for drain in drains:
        drain.join()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, INVALID):
        sys.exit(f"load: {' '.join(command)}: ended with {process.returncode}\n{words['out'][-2000:]}{words['err'][-2000:]}")
    return words["out"], (usage.ru_utime + usage.ru_stime) * 1e6, highest / 1024


def believed(*command):
    """The result of a run of ours that kept its schedule; others say that they did not, and why."""
    for _ in range(5):
        result = json.loads(run(*command)[0])
        if result["valid"]:
            return result
        print(f"load: run again: {result['invalid_because']}", file=sys.stderr)
    sys.exit("load: the machine is too busy to keep a schedule on it")


def found(pattern, text):
    match = re.search(pattern, text)
    if not match:
        sys.exit(f"load: no {pattern!r} in\n{text[-2000:]}")
    return int(match.group(1))


# --- closed loop: answers out of each generator's own words ----------------------------------------------------------

def wrk(_, url, seconds):
    text, *cost = run("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", url)
    return found(r"(\d+) requests in", text), *cost


def hey(_, url, seconds):
    text, *cost = run("hey", "-c", str(CONNECTIONS), "-z", f"{seconds}s", "-cpus", "1", url)
    return found(r"\[200\]\s+(\d+) responses", text), *cost


def oha(options, url, seconds):
    http2 = ["--http2", "-p", "1"] if url == H2C else []
    text, *cost = run(options.oha, "--no-tui", "--output-format", "json", "-c", str(CONNECTIONS), "-z", f"{seconds}s", *http2, url)
    return json.loads(text)["statusCodeDistribution"]["200"], *cost


def h2load(_, url, seconds):
    protocol = [] if url == H2C else ["--h1"]
    text, *cost = run("h2load", "-t1", f"-c{CONNECTIONS}", "-m1", f"-D{seconds}", *protocol, url)
    return found(r"status codes: (\d+) 2xx", text), *cost


def weft(options, url, seconds):
    http2 = ["--http2"] if url == H2C else []
    text, *cost = run(options.weft, "--rate", "max", "-c", str(CONNECTIONS), "--threads", "1", "--duration", f"{seconds}s",
                      "--output", "json", *http2, url)
    return json.loads(text)["codes"]["200"], *cost


GENERATORS = {HTTP1: {"weft load": weft, "wrk": wrk, "h2load": h2load, "oha": oha, "hey": hey},
              H2C: {"weft load": weft, "h2load": h2load, "oha": oha}}


def closed_loop(options):
    print("| protocol | generator | CPU µs/request | requests/s | resident MiB |\n|---|---|---|---|---|")
    for url, generators in GENERATORS.items():
        rows = {name: [] for name in generators}
        for number in range(options.rounds):
            print(f"{'h2c' if url == H2C else 'HTTP/1.1'}: round {number + 1} of {options.rounds}", file=sys.stderr)
            for name, generator in generators.items():
                answers, cpu, mib = generator(options, url, options.seconds)
                rows[name].append((cpu / answers, answers / options.seconds, mib))
        for name, measured in rows.items():
            cpu, rate, mib = (statistics.median(column) for column in zip(*measured))
            print(f"| {'h2c' if url == H2C else 'HTTP/1.1'} | {name} | {cpu:.1f} | {rate:.0f} | {mib:.1f} |", flush=True)


# --- accuracy --------------------------------------------------------------------------------------------------------

def quantile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def stalled_weft(options, url, seconds):
    latency = believed(options.weft, "--rate", str(RATE), "--duration", f"{seconds}s", "--threads", "1", "--output", "json",
                       url)["latency_ms"]
    return [latency[name] for name in TRUTH]


def stalled_oha(options, url, seconds):
    text, *_ = run(options.oha, "--no-tui", "--output-format", "json", "--latency-correction", "-q", str(RATE),
                   "-c", str(CONNECTIONS), "-z", f"{seconds}s", url)
    result = json.loads(text)
    latency = result["latencyPercentiles"] | {"mean": result["summary"]["average"]}
    return [latency[name] * 1e3 for name in TRUTH]


def stalled_wrk(options, url, seconds):
    script = options.bench.file("percentiles.lua", """
        done = function(_, latency, _)
          io.write(string.format("figures %d %d %d\\n", latency.mean, latency:percentile(99), latency:percentile(99.9)))
        end""")
    text, *_ = run("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script, url)
    return [int(figure) / 1e3 for figure in re.search(r"figures (\d+) (\d+) (\d+)", text).groups()]


def stalled_hey(_, url, seconds):
    text, *_ = run("hey", "-c", "10", "-q", str(RATE // 10), "-z", f"{seconds}s", "-cpus", "1", "-o", "csv", url)
    times = [float(row["response-time"]) * 1e3 for row in csv.DictReader(io.StringIO(text))]
    return statistics.mean(times), quantile(times, 0.99), quantile(times, 0.999)


def accuracy(options):
    options.bench.spawn("stalling", options.weft, "serve", "--listen", STALLING, "--stall", f"{STALL_MS}ms every {PERIOD_MS}ms")
    url = f"http://{STALLING}/"
    options.bench.ready("stalling", url)
    print("\n| generator | " + " | ".join(f"{name} ms | of the truth" for name in TRUTH) + " |\n|---" + "|---" * 2 * len(TRUTH) + "|")
    print("| arithmetic | " + " | ".join(f"{true:.1f} | 1.00" for true in TRUTH.values()) + " |")
    for name, ask in {"weft load": stalled_weft, "oha": stalled_oha, "wrk": stalled_wrk, "hey": stalled_hey}.items():
        measured = [ask(options, url, 10) for _ in range(3)]
        medians = [statistics.median(column) for column in zip(*measured)]
        figures = (f"{median:.1f} | {median / true:.2f}" for median, true in zip(medians, TRUTH.values()))
        print(f"| {name} | " + " | ".join(figures) + " |", flush=True)


def pacing(options):
    late = []
    for _ in range(3):
        result = believed(options.weft, "--rate", "2000", "--duration", f"{options.seconds}s", "--output", "json", HTTP1)
        late.append(result["pacing_ms"])
    p50, p99 = (statistics.median(row[name] for row in late) for name in ("p50", "p99"))
    print(f"\nPacing at 2,000 requests/s: sends leave p50 {p50:.3f} ms, p99 {p99:.3f} ms after their instant.")


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--weft", default=str(ROOT / "target/release/weft-load"))
    words.add_argument("--oha", default=shutil.which("oha"))
    words.add_argument("--parts", default="closed,accuracy,pacing")
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--seconds", type=int, default=4)
    options = words.parse_args()
    missing = [tool for tool in ("nginx", "wrk", "hey", "h2load") if not shutil.which(tool)] + ["oha"] * (not options.oha)
    if missing:
        sys.exit(f'load: not installed: {", ".join(missing)}; run eval "$(bench/setup.sh load)"')
    options.bench = Bench()
    try:
        reply = f"location / {{ default_type text/plain; return 200 \"{'x' * BODY_BYTES}\"; }}"
        nginx(options.bench, "upstream", f"""server {{ listen 127.0.0.1:9011; {reply} }}
            server {{ listen 127.0.0.1:9012 http2; http2_max_concurrent_streams 1000; {reply} }}""")
        options.bench.ready("upstream", HTTP1)
        print(f"{machine()}; {options.rounds} rounds of {options.seconds} s; {CONNECTIONS} connections; "
              f"{BODY_BYTES} bytes of body; load average {os.getloadavg()[0]:.1f}\n")
        parts = {"closed": closed_loop, "accuracy": accuracy, "pacing": pacing}
        for part in options.parts.split(","):
            parts[part](options)
    finally:
        options.bench.stop()


if __name__ == "__main__":
    main()
