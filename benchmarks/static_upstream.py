"""The upstream of the wire benchmark: finished bytes, as fast as aiohttp sends them.

``python -m benchmarks.static_upstream PORT FOLDER``: every file ``Type.id.json`` of the folder is
served as ``/fhir/Type/id``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from aiohttp import web

CONTENT_TYPE = "application/fhir+json;charset=utf-8"


def create_app(folder: Path) -> web.Application:
    held = {tuple(f.stem.split(".", 1)): f.read_bytes() for f in sorted(folder.glob("*.*.json"))}

    async def read(request: web.Request) -> web.Response:
        body = held.get((request.match_info["type"], request.match_info["id"]))
        if body is None:
            raise web.HTTPNotFound
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE, "ETag": 'W/"1"'})

    async def metadata(_: web.Request) -> web.Response:
        statement = '{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1"}'
        return web.Response(text=statement, headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/fhir/metadata", metadata)
    app.router.add_get("/fhir/{type}/{id}", read)
    return app


if __name__ == "__main__":
    web.run_app(
        create_app(Path(sys.argv[2])),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        print=None,
        access_log=None,
    )
