"""`make bench`: all benchmarks, one after the other. Each says what it measures and against what."""

from __future__ import annotations

import sys

from benchmarks import (
    audit_trail,
    effects,
    long_files,
    read_and_validate,
    sensor_to_finish,
    validate_and_create,
)

if __name__ == "__main__":
    sys.argv = sys.argv[:1]
    read_and_validate.main()
    validate_and_create.main()
    long_files.main()
    effects.main([])
    audit_trail.main()
    sensor_to_finish.main()
