"""The configuration: one TOML file with overrides from the environment, read into frozen settings.

``config.example.toml`` is written from the same table (:mod:`proxy.config.table`) that this
package reads by.
"""

from proxy.config.load import ConfigErrors, load_settings, read_settings
from proxy.config.model import (
    AuditSettings,
    AuthSettings,
    KeySettings,
    LimitSettings,
    PolicySettings,
    ServerSettings,
    Settings,
    StaticToken,
    UpstreamSettings,
)

__all__ = [
    "AuditSettings",
    "AuthSettings",
    "ConfigErrors",
    "KeySettings",
    "LimitSettings",
    "PolicySettings",
    "ServerSettings",
    "Settings",
    "StaticToken",
    "UpstreamSettings",
    "load_settings",
    "read_settings",
]
