"""The proof of exactly-once: faults and kills without end, and a checker that shares no code with the engine."""
