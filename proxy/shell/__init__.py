"""Everything that awaits: HTTP in, HTTP out, identity, audit."""
