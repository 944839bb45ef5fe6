"""Stage 3: one payment per order. The engine is in assets/effects."""
