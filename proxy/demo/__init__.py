"""Fictional cases and a small in-memory FHIR server over them."""
