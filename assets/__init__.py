"""What is made: one package per stage, the short Dagster function and the work beside it."""
