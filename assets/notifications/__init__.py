"""Stage 4: one mail per paid order. The engine is in assets/effects."""
