"""One exchange: a call is decided, rewritten, asked, revealed and answered. Nothing here awaits."""
