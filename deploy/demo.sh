#!/bin/sh
# A sample file with a few faulty rows goes through the real pipeline. Ends with 0 although rows were rejected: in a
# demonstration that is what should happen.
set -eu

home=${BULK_ORDERS_HOME:-.bulk-orders}
mkdir -p "$home/demo"
file="$home/demo/orders-$(date +%Y%m%d-%H%M%S).csv"

run() { .venv/bin/python -m orchestration.cli.main "$@"; }

# Another seed each time: the same bytes twice would be the same batch, and rightly do nothing.
run sample --rows 200 --bad 0.05 --seed "$(date +%s)" -o "$file"
status=0
run import "$file" --client demo || status=$?
case $status in
    0 | 1) exit 0 ;;
    *) exit "$status" ;;
esac
