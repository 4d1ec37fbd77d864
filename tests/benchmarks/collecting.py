"""What an archive of all cycles costs: ``python -m tests.benchmarks.collecting [CYCLES]``.

Small cycles on a real S3 server on loopback, taken one by one into an archive beside them, by reference and copied:
seconds, requests (through a proxy that counts them) and what the archive's objects weigh; then one map read from each.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import numpy as np

from pipeline import contracts, edition, publish
from pipeline.edition import Edition
from pipeline.readers.cycles import collect, open_cycles
from pipeline.store import Store

sys.path.insert(0, str(Path(__file__).parents[1]))

from fault_proxy import FaultProxy
from s3_server import S3Server, _identity, serving

from tests import published
from tests import small_ocean as small


def main(count: int) -> None:
    """Publish so many cycles and collect them, both ways."""
    admin = ("ADMINKEY", "admin-secret")
    identities = json.dumps({"identities": [_identity("admin", admin, ["Admin", "Read", "Write", "List", "Tagging"])]})
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), identities, admin) as endpoint:
        proxy = FaultProxy(endpoint, share=0.0)
        with proxy.serving() as counted:
            os.environ.update(S3Server(counted, admin, admin).environment(admin))
            store = Store("s3://forecasts/goms")
            _publish(store, count)
            fields = sum(size for path, size in store.objects("small/cycles") if "/c/" in path)
            print(f"{count} cycles of 5 lead days: {fields / 1e6:.2f} MB of chunks; load {os.getloadavg()[0]:.1f}")
            for name, copy in (("by reference", False), ("copied", True)):
                _measure(proxy, store, name, copy)


def _publish(store: Store, count: int) -> None:
    for day in range(count):
        cycle = small.CYCLE._replace(start=small.START + timedelta(days=day))
        moment = np.datetime64(cycle.start.replace(tzinfo=None), "ns")
        made = Edition(store, small.SYSTEM, cycle, small.facts())
        initial = contracts.InitialState(small.initial().assign_coords(time=moment))
        written = edition.write(made, initial, small.drifting(), inputs_digest="x", masks=published.MASKS)
        publish.publish(made, written, created=small.CREATED, masks=published.MASKS)


def _measure(proxy: FaultProxy, store: Store, name: str, copy: bool) -> None:
    out = f"s3://forecasts/archive-{'copied' if copy else 'virtual'}"
    for what in ("first", "again"):
        before, begun, used = proxy.requests, time.perf_counter(), time.process_time()
        done = collect(store.uri, out, system="small", signed=True, copy=copy)
        print(f"{name:12} {what}: {len(done.taken)} taken, {time.perf_counter() - begun:.2f} s "
              f"({time.process_time() - used:.2f} s of processor), {proxy.requests - before} requests")  # fmt: skip
    written = Store(out).objects("")
    print(f"{name:12} {len(written)} objects, {sum(size for _, size in written) / 1e6:.2f} MB")
    before = proxy.requests
    archive = open_cycles(out, "ocean", signed=True)
    opened = proxy.requests - before
    archive["to"].isel(init_time=-1, lead_day=2, depth=0).values  # noqa: B018
    print(f"{name:12} opened by {opened} requests, a map by {proxy.requests - before - opened} more", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
