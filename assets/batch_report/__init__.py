"""Stage 5: the result files of a batch and the agreement of its books."""
