#!/usr/bin/env python3
"""One hop over HTTP/1.1, side by side: weft, Envoy, nginx, HAProxy, each with one worker, in front of one upstream.

    eval "$(bench/setup.sh)"                     # installs the peers, once
    cargo build --release
    bench/one-hop.py [--rounds 5] [--seconds 4] [--rate 2000] [--only weft,envoy]

weft runs as users run it: `weft standalone --config bench/one-hop`. Envoy is given the same routes and limits.
Two loads on 127.0.0.1, in turn for every proxy, round after round:

  closed loop   wrk, 64 keep-alive connections. CPU per request is the user and system time of the proxy's own
                processes (/proc/PID/stat) over the number of answers that wrk counted.
  fixed rate    oha, latency counted from the intended instant. "Added" is the proxy's quantile minus that of the
                upstream asked directly in the same round.

Medians over the rounds. A run with a failed request ends the comparison. Everything that was started is stopped.
"""
import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys

import harness
from harness import BODY_BYTES, ROOT, UPSTREAM, Bench, cpu_us, family, machine, nginx, resident_mib

CONNECTIONS = 64

# --- the proxies ---------------------------------------------------------------------------------------------------

def start_weft(bench, options):
    url = "http://127.0.0.1:10010/"
    return harness.weft(bench, options, ROOT / "bench/one-hop", url), url


def start_envoy(bench, options):
    def cluster(name):
        return {
            "name": name, "type": "STATIC", "connect_timeout": "10s", "lb_policy": "LEAST_REQUEST",
            "circuit_breakers": {"thresholds": [
                {"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 100000, "max_retries": 4294967295}]},
            "outlier_detection": {"consecutive_5xx": 5},
            "load_assignment": {"cluster_name": name, "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": harness.socket_address(9001)}}]}]},
        }

    types = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}}],
        "route_config": {"virtual_hosts": [{"name": "upstream", "domains": ["*"], "routes": [
            {"match": {"prefix": "/", "headers": [{"name": "end-user", "string_match": {"exact": "jason"}}]},
             "route": {"cluster": "v2"}},
            {"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": [
                {"name": "v1", "weight": 50}, {"name": "v2", "weight": 50}]}}},
        ]}]},
    }
    listener = {"name": "bench", "address": harness.socket_address(10003), "filter_chains": [
        {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}
    url = "http://127.0.0.1:10003/"
    return harness.envoy(bench, options, [listener], [cluster("v1"), cluster("v2")], url), url


def start_nginx(bench, _):
    pid = nginx(bench, "nginx", """
        upstream u { server 127.0.0.1:9001; keepalive 256; keepalive_requests 1000000000; }
        server { listen 127.0.0.1:10001;
                 location / { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ""; } }""")
    url = "http://127.0.0.1:10001/"
    bench.ready("nginx", url)
    return family(pid), url


def start_haproxy(bench, _):
    path = bench.file("haproxy.cfg", """
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  http-reuse always
  timeout connect 10s
  timeout client 10m
  timeout server 10m
listen bench
  bind 127.0.0.1:10002
  server upstream 127.0.0.1:9001 pool-max-conn 1024
""")
    pid = bench.spawn("haproxy", "haproxy", "-db", "-f", path)
    url = "http://127.0.0.1:10002/"
    bench.ready("haproxy", url)
    return family(pid), url


PROXIES = {"weft": start_weft, "envoy": start_envoy, "haproxy": start_haproxy, "nginx": start_nginx}


# --- the two loads -------------------------------------------------------------------------------------------------

def closed_loop(name, pids, url, seconds):
    wrk = ["wrk", "-t1", f"-c{CONNECTIONS}"]
    subprocess.run([*wrk, "-d1s", url], capture_output=True, check=True)
    user, system = cpu_us(pids)
    text = subprocess.run([*wrk, f"-d{seconds}s", url], capture_output=True, text=True, check=True).stdout
    after_user, after_system = cpu_us(pids)
    failed = re.search(r"Non-2xx.*|Socket errors.*", text)
    if failed:
        sys.exit(f"one-hop: {name}: {failed.group(0)}")
    answers = int(re.search(r"(\d+) requests in", text).group(1))
    return {
        "user": (after_user - user) / answers,
        "system": (after_system - system) / answers,
        "rate": answers / seconds,
        "loaded_mib": resident_mib(pids),
    }


def fixed_rate(name, url, rate, seconds):
    command = ["oha", "--no-tui", "--output-format", "json", "--latency-correction",
               "-q", str(rate), "-c", "32", "-z", f"{seconds}s", url]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    codes = found["statusCodeDistribution"]
    if set(codes) != {"200"}:
        sys.exit(f"one-hop: {name}: status codes {codes} at {rate} requests/s")
    reached = sum(codes.values()) / seconds
    if reached < 0.95 * rate:
        print(f"one-hop: {name}: {reached:.0f} of {rate} requests/s were reached; its quantiles flatter it", file=sys.stderr)
    return {quantile: 1e3 * found["latencyPercentiles"][quantile] for quantile in ("p50", "p99")}


def compare(targets, options):
    rounds = {name: [] for name in [*targets, "direct"]}
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        rounds["direct"].append(fixed_rate("direct", UPSTREAM, options.rate, options.seconds))
        for name, (pids, url) in targets.items():
            row = closed_loop(name, pids, url, options.seconds)
            row |= fixed_rate(name, url, options.rate, options.seconds)
            row |= {f"added_{q}": row[q] - rounds["direct"][-1][q] for q in ("p50", "p99")}
            row["cpu"] = row["user"] + row["system"]
            rounds[name].append(row)
    return {name: {key: statistics.median(row[key] for row in rows) for key in rows[0]} for name, rows in rounds.items()}


def table(medians, idle, options):
    print(f"{machine()}; {options.rounds} rounds of {options.seconds} s; closed loop of {CONNECTIONS} connections; "
          f"latency at {options.rate} requests/s; {BODY_BYTES} bytes of body\n")
    print("| proxy | CPU µs/request | of it user | requests/s | idle MiB | loaded MiB | added p50 ms | added p99 ms "
          "| CPU of Envoy's | added p99 of Envoy's |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    base = medians.get("envoy")
    for name, row in medians.items():
        if name == "direct":
            continue
        cpu = f"{row['cpu'] / base['cpu']:.2f}" if base else "–"
        p99 = f"{row['added_p99'] / base['added_p99']:.2f}" if base and base["added_p99"] > 0 else "–"
        print(f"| {name} | {row['cpu']:.1f} | {row['user']:.1f} | {row['rate']:.0f} | {idle[name]:.1f} "
              f"| {row['loaded_mib']:.1f} | {row['added_p50']:.3f} | {row['added_p99']:.3f} | {cpu} | {p99} |")


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--weft", default=str(ROOT / "target/release/weft"))
    words.add_argument("--envoy", default=os.environ.get("ENVOY") or shutil.which("envoy"))
    words.add_argument("--only", default=",".join(PROXIES), help="which proxies, with commas (default: all)")
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--seconds", type=int, default=4)
    words.add_argument("--rate", type=int, default=2000)
    options = words.parse_args()
    names = options.only.split(",")
    tools = {"nginx": "nginx", "wrk": "wrk", "oha": "oha"} | {n: n for n in names if n == "haproxy"}
    missing = [tool for tool in tools if not shutil.which(tool)]
    if "envoy" in names and not options.envoy:
        missing.append("envoy")
    if missing:
        sys.exit(f'one-hop: not installed: {", ".join(missing)}; run eval "$(bench/setup.sh)"')
    bench = Bench()
    try:
        harness.upstream(bench)
        targets = {name: PROXIES[name](bench, options) for name in names}
        idle = {name: resident_mib(pids) for name, (pids, _) in targets.items()}
        table(compare(targets, options), idle, options)
    finally:
        bench.stop()


if __name__ == "__main__":
    main()
