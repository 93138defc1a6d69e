"""How fast the site answers, and what many requests leave behind.

    dsom-pyg train Countries
    python -m benchmarks.site runs/countries

Starts ``dsom-pyg serve`` and asks it from another process, by 8 clients that
keep their connections: ``rate`` is how many single questions are answered a
second, ``p50`` and ``p99`` are the seconds of one. Then ``--requests`` more,
a third of them malformed: memory of the server before and after, and whether
it said anything of an error. Questions are those of the first training
triples. Nothing else should run meanwhile.
"""

import argparse
import http.client
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from dsom_pyg.completion import Completer
from experiments import record

CLIENTS, SECONDS = 8, 10.0
MALFORMED = (
    ('POST', '/api/answers', b'{"questions": [{"relation": '),
    ('POST', '/api/answers', b'{"questions": [{"relation": "no such"}]}'),
    ('POST', '/api/answers', b'{"questions": [{"relation": 0}]}'),
    ('GET', '/entity/99999999', b''),
    ('GET', '/why?head=x', b''),
    ('POST', '/api/decisions', b'{"verdict": "perhaps"}'),
    ('GET', '/%00%ff<script>', b''),
)
JSON = {'Content-Type': 'application/json'}


def rss_mib(pid: int) -> float:
    """Memory of a process."""
    for line in Path(f'/proc/{pid}/status').read_text().splitlines():
        if line.startswith('VmRSS'):
            return int(line.split()[1]) / 1024
    raise RuntimeError('no VmRSS')


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return int(free.getsockname()[1])


def clients(port: int, bodies: list[bytes], work: Any) -> None:
    """Run something in each of the clients, with a connection of its own."""

    def run(number: int) -> None:
        there = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
        work(number, there, bodies[number::CLIENTS])
        there.close()

    threads = [
        threading.Thread(target=run, args=(number,))
        for number in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def ask(
    there: http.client.HTTPConnection, method: str, path: str, body: bytes
) -> int:
    """The status of a reply that was read whole."""
    there.request(method, path, body or None, JSON if body else {})
    reply = there.getresponse()
    reply.read()
    return reply.status


def speed(port: int, bodies: list[bytes]) -> dict[str, float]:
    """Single questions for some seconds."""
    times: list[list[float]] = [[] for _ in range(CLIENTS)]

    def work(number: int, there: Any, own: list[bytes]) -> None:
        at, end = 0, time.perf_counter() + SECONDS
        while (start := time.perf_counter()) < end:
            status = ask(there, 'POST', '/api/answers', own[at % len(own)])
            assert status == 200, status
            times[number].append(time.perf_counter() - start)
            at += 1

    clients(port, bodies, work)
    every = sorted(x for each in times for x in each)
    return {
        'rate': len(every) / SECONDS,
        'p50': every[len(every) // 2],
        'p99': every[int(0.99 * len(every))],
    }


def many(port: int, bodies: list[bytes], requests: int) -> dict[str, int]:
    """Requests, every third of them malformed, by status."""
    found: list[dict[str, int]] = [{} for _ in range(CLIENTS)]

    def work(number: int, there: Any, own: list[bytes]) -> None:
        for at in range(requests // CLIENTS):
            if at % 3 == 0:
                status = ask(there, *MALFORMED[(at // 3) % len(MALFORMED)])
            else:
                body = own[at % len(own)]
                status = ask(there, 'POST', '/api/answers', body)
            key = str(status)
            found[number][key] = found[number].get(key, 0) + 1

    clients(port, bodies, work)
    names = sorted({key for each in found for key in each})
    return {key: sum(each.get(key, 0) for each in found) for key in names}


def main() -> None:
    """Measure the site of a run."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('run', type=Path)
    parser.add_argument('--requests', type=int, default=100_000)
    args = parser.parse_args()
    model = Completer.load(args.run)
    train = model.graph.triples('train')
    names, links = model.entities.names, model.relations_known.names
    pairs = zip(
        train.head[:2000].tolist(),
        train.edge_type[:2000].tolist(),
        strict=True,
    )
    bodies = [
        json.dumps(
            {'questions': [{'head': names[h], 'relation': links[r]}]}
        ).encode()
        for h, r in pairs
    ]
    port = free_port()
    command = shutil.which('dsom-pyg') or str(
        Path(sys.executable).with_name('dsom-pyg')
    )
    with tempfile.TemporaryFile() as said:
        words = [command, 'serve', str(args.run), '--port', str(port)]
        with subprocess.Popen(words, stdout=said, stderr=said) as server:
            try:
                _wait(port)
                fast = speed(port, bodies)
                many(port, bodies, min(args.requests, 3000))
                before = rss_mib(server.pid)
                statuses = many(port, bodies, args.requests)
                after = rss_mib(server.pid)
            finally:
                server.terminate()
        said.seek(0)
        text = said.read().decode()
    measured = {
        **fast,
        'clients': CLIENTS,
        'requests': args.requests,
        'statuses': statuses,
        'rss_before_mib': before,
        'rss_after_mib': after,
        'tracebacks': text.count('Traceback'),
    }
    about = model.parts.about
    settings = {
        'dataset': about.get('dataset'),
        'fingerprint': model.graph.fingerprint,
        'channels': model.parts.student.hidden_channels,
    }
    name = str(about.get('dataset', 'graph')).lower().replace('_', '-')
    record.benchmark(f'site-{name}', settings, measured)


def _wait(port: int) -> None:
    for _ in range(600):
        try:
            there = http.client.HTTPConnection('127.0.0.1', port, timeout=5)
            if ask(there, 'GET', '/', b'') == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit('the site did not start')


if __name__ == '__main__':
    main()
