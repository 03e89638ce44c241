"""How much a server holds: `unmask serve` under real HTTP load, beside the same model without a server.

The load comes from two programs of Debian, `wrk` and `hey` (`apt install wrk hey`), on the same machine: what they and
HTTP cost is the server's loss. Every request has one text.

- throughput: CoLA's sentences in random order by 1, 16, 64 and 256 connections, each with one request at a time; in
  turns with the offline rate: `pipeline` on a list of the same sentences, in this process;
- under load: meanwhile other clients ask one text after the other, whose answers must be those of `pipeline`;
- overload: texts of 128 tokens, asked ten times as often as the server can answer, whoever waits for an answer: what is
  too much must be refused (429) at once, and what is accepted be answered before the deadline. The workers of `hey` ask
  in step; so a few of them ask often, and not each of very many once a second, all at one moment;
- memory: what the server's process holds after the first 2,000 of 20,000 requests, and after the last.

Needs a model fine-tuned on CoLA. Run nothing else beside it:

    .venv/bin/unmask finetune --config recipes/cola-minilm.yaml --data-dir ../shared/data --output-dir runs/cola
    .venv/bin/python benchmarks/serve.py --model runs/cola --data-dir ../shared/data
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from predict import COLA, COLA_COLUMNS
from side_by_side import add_common_arguments, bad_input_exits
from unmask import pipeline
from unmask.data.tables import read_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CONNECTIONS = (1, 16, 64, 256)
TOO_MUCH = 10  # times what the server can answer
NUM_ASKING = 64  # workers that wait for no answer, and ask
LONG_TEXT = 126  # words of one token each, which special ones make 128
EARLY, ALL = 2_000, 20_000  # requests, where memory is read
NUM_WATCHED = 50  # texts asked under load
START_SECONDS = 120.0
WRK = """
local bodies = {{}}
for line in io.lines("{bodies}") do bodies[#bodies + 1] = line end
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local number = {seed}
function request()
  number = (number * 1103515245 + 12345) % 2147483648
  return wrk.format(nil, "/predict", nil, bodies[math.floor(number / 65536) % #bodies + 1])
end
function done(summary, latency, requests)
  local form = 'RESULT {{"requests": %d, "seconds": %.6f, "p50": %.3f, "p95": %.3f, "p99": %.3f, "failed": %d}}\\n'
  io.write(string.format(form,
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(95) / 1e3,
    latency:percentile(99) / 1e3, summary.errors.status + summary.errors.timeout + summary.errors.read
    + summary.errors.connect + summary.errors.write))
end
"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_common_arguments(parser)
    parser.add_argument("--model", default="runs/cola", help="a run of fine-tuning on CoLA, or an exported folder")
    parser.add_argument("--runtime", choices=("torch", "onnx"), default="torch")
    parser.add_argument("--serve", nargs="+", default=[], metavar="X", help="options of the server: workers=2")
    parser.add_argument("--rounds", type=int, default=3, help="alternations, after one that is not counted")
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement")
    parser.add_argument("--connections", type=int, nargs="+", default=list(CONNECTIONS))
    parser.add_argument("--requests", type=int, default=ALL, help="after which memory is read")
    options = parser.parse_args(arguments)
    if missing := [program for program in ("wrk", "hey") if shutil.which(program) is None]:
        parser.error(f"{' and '.join(missing)} must be installed: apt install wrk hey")
    with bad_input_exits("serve.py"):
        result = measure_all(options)
    print(json.dumps(result) if options.json else as_text(result))


def measure_all(options: argparse.Namespace) -> dict[str, Any]:
    table = read_table(COLA, data_dir=options.data_dir, column_names=COLA_COLUMNS)
    texts = table.column("sentence")
    offline = pipeline("text-classification", options.model, runtime=options.runtime)
    with tempfile.TemporaryDirectory() as folder, running_server(options, Path(folder)) as (url, process):
        load = Load(url, Path(folder))
        rates: dict[str, list[float]] = {"offline": []}
        latencies: dict[int, dict[str, float]] = {}
        for number in range(options.rounds + 1):
            own = offline_rate(offline, texts, options.seconds)
            found = {count: load.wrk(texts, count, options.seconds) for count in options.connections}
            say(options, f"round {number} of {options.rounds}")
            if number:
                rates["offline"].append(own)
                for count, one in found.items():
                    rates.setdefault(str(count), []).append(one["requests"] / one["seconds"])
                latencies = {count: one | {"failed": one["failed"]} for count, one in found.items()}
        ratios = {
            count: round(statistics.median(a / b for a, b in zip(own, rates["offline"], strict=True)), 3)
            for count, own in rates.items()
            if count != "offline"
        }
        say(options, "under load")
        difference = difference_under_load(load, offline, texts, options.seconds)
        say(options, "memory")
        memory = memory_over(load, texts, options.requests, process)
        say(options, "overload")
        overload = overloaded(load, options)
    return {
        "ratios": {"offline pipeline": max(ratios.values())},
        "of_offline": ratios,
        "requests_per_second": {name: round(statistics.median(own)) for name, own in rates.items()},
        "milliseconds": {
            count: {name: one[name] for name in ("p50", "p95", "p99")} for count, one in latencies.items()
        },
        "failed": sum(int(one["failed"]) for one in latencies.values()),
        "difference_under_load": difference,
        "memory_mib": memory,
        "overload": overload,
        "rounds": options.rounds,
        "runtime": options.runtime,
    }


def say(options: argparse.Namespace, progress: str) -> None:
    if not options.json:
        print(f"{progress}   ", end="\r", file=sys.stderr)


# The server.


@contextlib.contextmanager
def running_server(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server of the model in a process of its own, as it comes; ended as an operator would end it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "server.log"
    command = [sys.executable, "-m", "unmask", "serve", str(options.model), "--port", str(port)]
    command += ["--runtime", options.runtime, *(f"--{option}" for option in options.serve)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(url, process, log)
        yield url, process
    finally:
        process.terminate()
        process.wait(60)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5):
            return
        time.sleep(0.2)
    raise SystemExit(f"the server did not start:\n{log.read_text(encoding='utf-8')}")


# The load.


class Load:
    """Programs that ask a server."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder

    def wrk(self, texts: Sequence[str], connections: int, seconds: float) -> dict[str, float]:
        """Texts in random order for some seconds, each connection with one request at a time."""
        bodies, script = self.folder / "bodies.txt", self.folder / "wrk.lua"
        bodies.write_text("".join(json.dumps({"inputs": text}) + "\n" for text in texts), encoding="utf-8")
        script.write_text(WRK.format(bodies=bodies, seed=connections), encoding="utf-8")
        command = ["wrk", "--threads", "1", "--connections", connections, "--duration", f"{max(1, round(seconds))}s"]
        command += ["--timeout", "60s", "--latency", "--script", script, self.url]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True)
        line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
        found: dict[str, float] = json.loads(line.removeprefix("RESULT "))
        return found

    def hey(self, text: str, *, workers: int, per_second: float, seconds: float) -> list[dict[str, str]]:
        """One text, by workers that ask so often whatever comes back; what became of each request."""
        body = self.folder / "body.json"
        body.write_text(json.dumps({"inputs": text}), encoding="utf-8")
        command = ["hey", "-z", f"{seconds:g}s", "-c", workers, "-q", per_second, "-t", 60, "-m", "POST", "-o", "csv"]
        command += ["-T", "application/json", "-D", body, f"{self.url}/predict"]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=True)
        return list(csv.DictReader(done.stdout.splitlines()))

    def ask(self, text: str) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.url}/predict", json.dumps({"inputs": text}).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            best: dict[str, Any] = max(json.load(response), key=lambda answer: answer["score"])
        return best


def offline_rate(offline: Any, texts: Sequence[str], seconds: float) -> float:
    """Texts a second without a server."""
    rng = np.random.default_rng(0)
    count, start = 0, time.perf_counter()
    while (taken := time.perf_counter() - start) < seconds:
        offline([texts[index] for index in rng.integers(0, len(texts), 1024).tolist()], progress=False)
        count += 1024
    return count / taken


def difference_under_load(load: Load, offline: Any, texts: Sequence[str], seconds: float) -> float:
    """How far scores under load are from those of `pipeline` alone, at most; 1 where a label differs."""
    busy = threading.Thread(target=load.wrk, args=(texts, 64, seconds))
    busy.start()
    largest = 0.0
    for text in texts[:NUM_WATCHED]:
        expected, given = offline([text], progress=False)[0], load.ask(text)
        same = expected["label"] == given["label"]
        largest = max(largest, abs(expected["score"] - given["score"]) if same else 1.0)
    busy.join()
    return largest


def memory_over(
    load: Load, texts: Sequence[str], num_requests: int, process: subprocess.Popen[bytes]
) -> dict[str, float]:
    """MiB that the server's process holds after a tenth of the requests, and after all."""
    count, early = 0.0, 0.0
    while count < num_requests:
        count += load.wrk(texts, 64, 2)["requests"]
        if not early and count >= num_requests * EARLY / ALL:
            early = resident(process)
    return {"early": early, "late": resident(process), "requests": count}


def resident(process: subprocess.Popen[bytes]) -> float:
    words = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").split()
    return round(int(words[words.index("VmRSS:") + 1]) / 1024, 1)


def overloaded(load: Load, options: argparse.Namespace) -> dict[str, Any]:
    """Ask ten times as often as can be answered, and tell refusals from answers."""
    text = " ".join(["the"] * LONG_TEXT)
    alone = load.wrk([text], 64, options.seconds)
    capacity = alone["requests"] / alone["seconds"]
    queue = json.load(urllib.request.urlopen(f"{load.url}/info", timeout=10))["max_concurrent_requests"]
    often = TOO_MUCH * capacity / NUM_ASKING
    rows = load.hey(text, workers=queue + NUM_ASKING, per_second=often, seconds=max(20.0, 2 * options.seconds))
    seconds: dict[str, list[float]] = {}
    for row in rows:
        seconds.setdefault(row["status-code"], []).append(float(row["response-time"]))
    offered = len(rows) / max(float(row["offset"]) for row in rows)
    refused, answered = seconds.get("429", []), seconds.get("200", [])
    return {
        "capacity_per_second": round(capacity, 1),
        "offered_per_second": round(offered, 1),
        "statuses": {status: len(own) for status, own in sorted(seconds.items())},
        "refused_milliseconds": {f"p{q}": round(1000 * float(np.percentile(refused or [0], q)), 1) for q in (50, 99)},
        "answered_seconds_at_most": round(max(answered, default=0), 2),
    }


def as_text(result: dict[str, Any]) -> str:
    rates = result["requests_per_second"]
    lines = [f"offline, without a server: {rates['offline']:,} texts a second ({result['runtime']})", ""]
    lines.append(f"{'connections':>11}{'requests/s':>12}{'of offline':>12}{'p50 ms':>10}{'p95 ms':>10}{'p99 ms':>10}")
    for count, share in result["of_offline"].items():
        own = result["milliseconds"][int(count)]
        times = "".join(f"{own[name]:>10.1f}" for name in ("p50", "p95", "p99"))
        lines.append(f"{count:>11}{rates[count]:>12,}{share:>12.0%}{times}")
    over, memory = result["overload"], result["memory_mib"]
    statuses = ", ".join(f"{count:,} of {status}" for status, count in over["statuses"].items())
    lines += [
        "",
        f"{result['failed']} requests failed; answers under load differ by {result['difference_under_load']:.1e}",
        f"overload: {over['offered_per_second']:,} requests a second of 128 tokens, where "
        f"{over['capacity_per_second']:,} can be answered: {statuses}",
        f"          refused in {over['refused_milliseconds']['p50']} ms (median), "
        f"{over['refused_milliseconds']['p99']} ms (p99); the last answer took {over['answered_seconds_at_most']} s",
        f"memory: {memory['early']:,} MiB early, {memory['late']:,} MiB after {memory['requests']:,.0f} requests",
        f"medians of {result['rounds']} rounds; times are of the last",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
