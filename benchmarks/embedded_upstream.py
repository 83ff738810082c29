"""The embedded upstream as a process: ``python -m benchmarks.embedded_upstream PORT``."""

from __future__ import annotations

import sys

from aiohttp import web

from proxy.demo.upstream import create_upstream

if __name__ == "__main__":
    web.run_app(
        create_upstream(()), host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None
    )
