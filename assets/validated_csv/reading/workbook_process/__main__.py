"""Started as a program of its own, ``python -I -S __main__.py DESCRIPTOR ROOT LIBRARIES``.

Imported are these modules, the standard library and the library that reads workbooks; nothing else of ours. Said are
codes, counts and places; cells go to nobody but the parent.
"""

import sys

sys.path += sys.argv[2:]

from assets.validated_csv.reading.workbook_process.talk import main  # found by the path above

main(int(sys.argv[1]))
