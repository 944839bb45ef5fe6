#!/bin/sh
# Dagster's own checks of the code location. They load the definitions without any server: addresses are stand-ins.
set -eu

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
export DAGSTER_HOME="$home" BULK_ORDERS_HOME="$home/bulk-orders"
export DATABASE_URL=${DATABASE_URL:-postgresql://nobody@127.0.0.1:1/none}
export PATH="$PWD/.venv/bin:$PATH" VIRTUAL_ENV="$PWD/.venv"
printf 'telemetry: {enabled: false}\n' > "$home/dagster.yaml"

# -w: with a [tool.dg] block in pyproject.toml the workspace file would be ignored silently.
python -m dagster definitions validate -w workspace.yaml
dg check defs
