"""ecr-proxy: a role-based view of a live FHIR R4 server that holds electronic case reports."""

__version__ = "0.1.0"
