"""Policies: the language, its loader, and the compiled view."""
