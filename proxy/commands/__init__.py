"""The subcommands, one module each; a module ``<name>.py`` exposes ``command``."""
