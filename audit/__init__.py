"""WHETHER IT CAN BE PROVED: the trail verified and anchored, and the evidence of a batch packed for somebody else."""
