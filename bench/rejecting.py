#!/usr/bin/env python3
"""What a full breaker costs: CPU per request of rejecting and of serving, weft and Envoy side by side, one worker each.

    eval "$(bench/setup.sh)"                     # installs the peers, once
    cargo build --release
    bench/rejecting.py [--rounds 5] [--seconds 3] [--only weft,envoy]

weft runs as users run it: `weft standalone --config bench/rejecting`. Envoy is given the same routes, limits and retries.
One route leads to an nginx that answers at once, the other to a breaker of one connection and one waiter, both taken by
requests that are never answered. Three loads for each, in turn for every proxy, round after round:

  HTTP/1.1              wrk, 64 keep-alive connections, one request at a time on each: a read and a write for each request.
  HTTP/1.1 pipelined    the same with 32 requests in one write.
  HTTP/2                h2load, 4 connections with 100 streams each: many requests share a read and a write.

CPU is the user and system time of the proxy's own processes (/proc/PID/stat) over the number of answers. Medians over the
rounds. A load in which one answer is not what it should be ends the comparison. Envoy ends a connection with pipelined
requests after a few refusals: there is no figure for that.
"""
import argparse
import contextlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import harness
from harness import ROOT, Bench, cpu_us, machine

FULL_PORT = 9003
CONNECTIONS = 64
PIPELINED = 32
STREAMS = 100
UNLIMITED = 4294967295


# --- the proxies ---------------------------------------------------------------------------------------------------

def start_weft(bench, options):
    url = "http://127.0.0.1:10014/"
    return harness.weft(bench, options, ROOT / "bench/rejecting", url), url


def start_envoy(bench, options):
    def cluster(name, port, connections, pending):
        return {
            "name": name, "type": "STATIC", "connect_timeout": "10s", "lb_policy": "LEAST_REQUEST",
            "circuit_breakers": {"thresholds": [{"max_connections": connections, "max_pending_requests": pending,
                                                 "max_requests": 100000, "max_retries": UNLIMITED}]},
            "outlier_detection": {"consecutive_5xx": 5},
            "load_assignment": {"cluster_name": name, "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": harness.socket_address(port)}}]}]},
        }

    def route(prefix, name):
        retries = {"retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
                   "num_retries": 2, "retriable_status_codes": [503]}
        return {"match": {"prefix": prefix}, "route": {"cluster": name, "timeout": "0s", "retry_policy": retries}}

    types = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}}],
        "route_config": {"virtual_hosts": [
            {"name": "bench", "domains": ["*"], "routes": [route("/full", "full"), route("/", "open")]}]},
    }
    listener = {"name": "bench", "address": harness.socket_address(10003), "filter_chains": [
        {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}
    clusters = [cluster("open", 9001, 4096, 4096), cluster("full", FULL_PORT, 1, 1)]
    url = "http://127.0.0.1:10003/"
    return harness.envoy(bench, options, [listener], clusters, url), url


PROXIES = {"weft": start_weft, "envoy": start_envoy}


# --- the breaker ---------------------------------------------------------------------------------------------------

def swallow():
    """A server that accepts whoever comes and answers nobody."""
    listener = socket.create_server(("127.0.0.1", FULL_PORT), backlog=16)
    kept = []

    def accept():
        while True:
            kept.append(listener.accept())

    threading.Thread(target=accept, daemon=True).start()


def is_refused(url):
    try:
        with urllib.request.urlopen(url, timeout=1):
            return False
    except urllib.error.HTTPError as answer:
        return answer.code == 503 and answer.headers.get("x-envoy-overloaded") == "true"
    except TimeoutError:
        return False


@contextlib.contextmanager
def full(name, url):
    """Two requests take the connection and the place in the queue for as long as the block lasts."""
    port = int(url.split(":")[2].split("/")[0])
    with contextlib.ExitStack() as holders:
        for _ in range(2):
            holder = holders.enter_context(socket.create_connection(("127.0.0.1", port)))
            holder.sendall(b"GET /full HTTP/1.1\r\nhost: bench\r\n\r\n")
            time.sleep(0.2)
        if not is_refused(url + "full"):
            sys.exit(f"rejecting: {name}: the breaker does not refuse")
        yield


# --- the loads -----------------------------------------------------------------------------------------------------

def wrk(bench, url, seconds, pipelined):
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
    if pipelined:
        command += ["-s", bench.file("pipeline.lua", f"""
            init = function(args)
              local all = {{}}
              for i = 1, {PIPELINED} do all[i] = wrk.format() end
              together = table.concat(all)
            end
            request = function() return together end""")]
    text = subprocess.run([*command, url], capture_output=True, text=True, check=True).stdout
    answers = int(re.search(r"(\d+) requests in", text).group(1))
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    broken = re.search(r"Socket errors.*", text)
    return answers, int(refused.group(1)) if refused else 0, broken and broken.group(0)


def h2load(_, url, seconds, __):
    command = ["h2load", "-c4", f"-m{STREAMS}", f"-D{seconds}", url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    served, refused = map(int, re.search(r"status codes: (\d+) 2xx, 0 3xx, 0 4xx, (\d+) 5xx", text).groups())
    return served + refused, refused, None


LOADS = {
    "HTTP/1.1": (wrk, False),
    "HTTP/1.1 pipelined": (wrk, True),
    "HTTP/2": (h2load, False),
}


def measure(bench, name, pids, load, url, seconds, rejecting):
    tool, pipelined = LOADS[load]
    tool(bench, url, 1, pipelined)
    before = cpu_us(pids)
    answers, refused, broken = tool(bench, url, seconds, pipelined)
    user, system = (after - then for after, then in zip(cpu_us(pids), before))
    if refused != (answers if rejecting else 0) or broken and not pipelined:
        sys.exit(f"rejecting: {name}: {load}: {refused} of {answers} answers were refusals; {broken or 'none broke'}")
    return None if broken else (user / answers, system / answers)


def compare(bench, targets, options):
    rows = {}
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        for load in LOADS:
            for name, (pids, url) in targets.items():
                row = rows.setdefault((load, name), {"serving": [], "rejecting": []})
                row["serving"].append(measure(bench, name, pids, load, url, options.seconds, False))
                with full(name, url):
                    row["rejecting"].append(measure(bench, name, pids, load, url + "full", options.seconds, True))
                    if not is_refused(url + "full"):
                        sys.exit(f"rejecting: {name}: the breaker has opened under load")
    return rows


def table(rows, options):
    print(f"{machine()}; {options.rounds} rounds of {options.seconds} s, medians; CPU µs/request, of it user in brackets\n")
    print("| load | proxy | serving | rejecting | rejecting of serving | rejecting, user alone |")
    print("|---|---|---|---|---|---|")
    for (load, name), row in rows.items():
        if None in row["rejecting"] + row["serving"]:
            print(f"| {load} | {name} | connections broke | | | |")
            continue
        cpu, user = ({kind: statistics.median(map(of, row[kind])) for kind in row} for of in (sum, lambda one: one[0]))
        shown = [f"{cpu[kind]:.2f} ({user[kind]:.2f})" for kind in ("serving", "rejecting")]
        print(f"| {load} | {name} | {shown[0]} | {shown[1]} | {cpu['rejecting'] / cpu['serving']:.2f} "
              f"| {user['rejecting'] / user['serving']:.2f} |")


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--weft", default=str(ROOT / "target/release/weft"))
    words.add_argument("--envoy", default=os.environ.get("ENVOY") or shutil.which("envoy"))
    words.add_argument("--only", default=",".join(PROXIES), help="which proxies, with commas (default: both)")
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--seconds", type=int, default=3)
    options = words.parse_args()
    names = options.only.split(",")
    missing = [tool for tool in ("nginx", "wrk", "h2load") if not shutil.which(tool)]
    if "envoy" in names and not options.envoy:
        missing.append("envoy")
    if missing:
        sys.exit(f'rejecting: not installed: {", ".join(missing)}; run eval "$(bench/setup.sh)"')
    bench = Bench()
    try:
        harness.upstream(bench)
        swallow()
        targets = {name: PROXIES[name](bench, options) for name in names}
        table(compare(bench, targets, options), options)
    finally:
        bench.stop()


if __name__ == "__main__":
    main()
