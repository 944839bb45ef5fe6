"""Stage 2: one order per accepted row."""
