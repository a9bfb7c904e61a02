"""What the benches share: processes in a scratch folder, their CPU and memory, weft and nginx as they are started."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
UPSTREAM = "http://127.0.0.1:9001/"
BODY_BYTES = 1024
TICKS = os.sysconf("SC_CLK_TCK")
NAME = pathlib.Path(sys.argv[0]).stem


class Bench:
    """The scratch folder and the processes of one comparison."""

    def __init__(self):
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="weft-bench-"))
        self.running = []

    def file(self, name, text):
        path = self.scratch / name
        path.write_text(text)
        return str(path)

    def spawn(self, name, *command):
        with open(self.scratch / f"{name}.log", "w") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.running.append((name, process))
        return process.pid

    def ready(self, name, url, deadline_s=30):
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            for ours, process in self.running:
                if process.poll() is not None:
                    self.die(f"{ours} ended with {process.returncode}", ours)
            try:
                with urllib.request.urlopen(url, timeout=1) as answer:
                    if answer.status == 200:
                        return
            except OSError:
                time.sleep(0.05)
        self.die(f"no 200 from {url} within {deadline_s} s", name)

    def die(self, problem, name):
        log = (self.scratch / f"{name}.log").read_text()[-2000:]
        sys.exit(f"{NAME}: {problem}\n{log}")

    def stop(self):
        for _, process in self.running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for _, process in self.running:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(self.scratch, ignore_errors=True)


# --- processes -----------------------------------------------------------------------------------------------------

def family(pid):
    """The process and all that descend from it."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = [tuple(map(int, line.split())) for line in listed.splitlines()]
    found, more = set(), {pid}
    while more:
        found |= more
        more = {child for child, parent in parents if parent in found} - found
    return sorted(found)


def command_line(pid):
    return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")


def cpu_us(pids):
    """User and system time of these processes so far, in microseconds."""
    user = system = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        user, system = user + int(fields[11]), system + int(fields[12])
    return user * 1e6 / TICKS, system * 1e6 / TICKS


def resident_mib(pids):
    sizes = (re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()) for pid in pids)
    return sum(int(size.group(1)) for size in sizes if size) / 1024


# --- the proxies ---------------------------------------------------------------------------------------------------

def nginx(bench, name, http):
    config = bench.file(f"{name}.conf", f"""
        worker_processes 1;
        daemon off;
        pid {bench.scratch}/{name}.pid;
        error_log {bench.scratch}/{name}.err;
        events {{ worker_connections 8192; }}
        http {{ access_log off; keepalive_timeout 1h; keepalive_requests 1000000000; {http} }}""")
    return bench.spawn(name, "nginx", "-c", config)


def upstream(bench):
    nginx(bench, "upstream", f"""server {{ listen 127.0.0.1:9001 reuseport;
        location / {{ default_type text/plain; return 200 "{'x' * BODY_BYTES}"; }} }}""")
    bench.ready("upstream", UPSTREAM)


def weft(bench, options, folder, url):
    """The gateway process of `weft standalone` with the configuration in a folder."""
    top = bench.spawn("weft", options.weft, "standalone", "--config", str(folder), "--concurrency", "1")
    bench.ready("weft", url)
    gateways = [pid for pid in family(top) if "proxy" in command_line(pid)]
    if len(gateways) != 1:
        bench.die(f"expected one gateway process below {top}, found {gateways}", "weft")
    return gateways


def envoy(bench, options, listeners, clusters, url):
    """Envoy with one worker and an admin port of its own."""
    config = {
        "admin": {"address": socket_address(10013)},
        "static_resources": {"clusters": clusters, "listeners": listeners},
    }
    path = bench.file("envoy.json", json.dumps(config))
    pid = bench.spawn("envoy", options.envoy, "-c", path, "--concurrency", "1", "-l", "error", "--base-id", "10013")
    bench.ready("envoy", url)
    return [pid]


def socket_address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def machine():
    model = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return f"{os.cpu_count()} cores, {model.group(1) if model else os.uname().machine}, Linux {os.uname().release}"
