"""JSON logs without personal data: path templates, roles, statuses, durations, request ids.

Only loggers below ``proxy`` speak in words, and those words are constants; what a library says is
reduced to its name and level, because its messages may quote what passed through it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO

import orjson
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from proxy.engine.messages import Facts
from proxy.shell.keys import TRACE

access_log = logging.getLogger("proxy.access")

# What a record may carry beside its constant message.
FIELDS = (
    "request_id",
    "method",
    "path",
    "role",
    "status",
    "duration_ms",
    "fault",
    "hits",
    "address",
    "worker",
)

# Path templates by FHIR interaction; `{type}` is a known resource type, `{operation}` a known
# operation. A Call that was never understood has no template.
TEMPLATES: Mapping[str, str] = {
    "capabilities": "/metadata",
    "smart-configuration": "/.well-known/smart-configuration",
    "read": "/{type}/[id]",
    "vread": "/{type}/[id]/_history/[vid]",
    "history-instance": "/{type}/[id]/_history",
    "history-type": "/{type}/_history",
    "history-system": "/_history",
    "search-type": "/{type}",
    "batch": "/",
    "transaction": "/",
    "operation": "/{type}/[id]/{operation}",
    "page": "/[page]",
}


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        own = record.name == "proxy" or record.name.startswith("proxy.")
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if own:
            line["message"] = record.msg if isinstance(record.msg, str) else "?"
            for name in FIELDS:
                value = getattr(record, name, None)
                if value is not None and value != "":
                    line[name] = value
        return orjson.dumps(line).decode()


class AccessLog(AbstractAccessLogger):
    """One line an answer, parser errors among them."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        trace = request.get(TRACE)
        if trace is None:
            self.logger.info("answered", extra={"status": response.status})
            return
        self.logger.info(
            "answered",
            extra={
                "request_id": trace.request_id,
                "method": trace.method,
                "path": trace.place or template(trace.facts),
                "role": trace.role,
                "status": response.status,
                "duration_ms": round(time * 1000, 2),
            },
        )


def template(facts: Facts) -> str:
    """The path of an exchange as a template, ``-`` if it was never understood."""
    path = TEMPLATES.get(facts.interaction, "-").replace("{type}", facts.type or "[type]")
    return path.replace("{operation}", facts.operation)


def configure(stream: IO[str] | None = None, level: int = logging.INFO) -> None:
    """Send every logger of this process through one JSON handler (default: standard error)."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("proxy").setLevel(level)
    # Warnings go through the same door.
    logging.captureWarnings(True)
