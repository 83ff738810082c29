"""Write config.example.toml from the table of configuration keys."""

from __future__ import annotations

from pathlib import Path

from proxy.config.table import example

if __name__ == "__main__":
    Path(__file__).resolve().parent.parent.joinpath("config.example.toml").write_text(example())
