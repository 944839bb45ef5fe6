#!/bin/sh
# Makes or brings up to date the Python environment in .venv from a lock file with hashes.
#   sh deploy/environment.sh runtime|dev
# Nothing outside .venv is touched, no path is absolute. Done already: returns at once. A half-made environment is
# completed by the next run: the mark of being done is a copy of the lock file, written last.
set -eu

kind=$1
case $kind in
    runtime) lock=requirements.lock ;;
    dev) lock=requirements-dev.lock ;;
    *) echo "usage: environment.sh runtime|dev" >&2; exit 2 ;;
esac

works() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1
}

# The environment for development holds everything that running needs.
if works .venv/bin/python; then
    if cmp -s "$lock" ".venv/.done-$kind"; then exit 0; fi
    if [ "$kind" = runtime ] && cmp -s requirements-dev.lock .venv/.done-dev; then exit 0; fi
else
    python=
    for candidate in "${PYTHON:-python3}" python3.13 python3.12 python3.11 python3; do
        if works "$candidate"; then python=$candidate; break; fi
    done
    if [ -z "$python" ]; then
        echo "Python 3.11, 3.12 or 3.13 is needed, and was not found. Name one with: make PYTHON=/path/to/python3.12" >&2
        exit 2
    fi
    if ! "$python" -m venv --clear .venv; then
        echo "The virtual environment could not be made. On Debian and Ubuntu: apt install python3-venv" >&2
        exit 2
    fi
fi

# What is there is neither of the two from here on, whatever becomes of this.
rm -f .venv/.done-*
echo "Installing the locked dependencies ($lock) into .venv ..."
# --no-deps: the lock is complete; without it pip refuses extras that carry no hash. --no-compile: what is used is
# compiled when it is first imported, which is a fraction of everything. Indexes, mirrors and certificates are those of
# the person's own pip configuration.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
    --no-deps --require-hashes --no-compile -r "$lock"

cat > .venv/bin/bulk-orders <<'END'
#!/bin/sh
# The command line of this checkout, from any working directory.
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
PYTHONPATH="$here/../..${PYTHONPATH:+:$PYTHONPATH}" exec "$here/python" -m orchestration.cli.main "$@"
END
chmod +x .venv/bin/bulk-orders
cp "$lock" ".venv/.done-$kind"
