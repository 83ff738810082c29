"""FHIR R4 facts and grammar, without opinions."""
