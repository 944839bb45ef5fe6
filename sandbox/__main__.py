"""``python -m sandbox``."""

import sys

from sandbox.arguments import main

if __name__ == "__main__":
    sys.exit(main())
