#!/bin/sh
# A sample file with a few faulty rows goes through the real pipeline. Ends with 0 although rows were rejected: in a
# demonstration that is what should happen.
set -eu

home=${BULK_ORDERS_HOME:-.bulk-orders}

# Sample orders reach no real system: where the shell names one, none of its settings count and the home is another.
if [ -n "${DATABASE_URL-}${PAYMENT_SERVICE_URL-}${NOTIFICATION_SERVICE_URL-}" ]; then
    echo '見本の注文には、設定されている実際のデータベースとサービスを使いません。'
    echo 'The sample orders do not use the real database and services that are set.'
    ours='(BULK_ORDERS|PAYMENT|NOTIFICATION)_[A-Z_]+|DATABASE_URL|IMPORT_DIR'
    for name in $(env | sed -nE "s/^($ours)=.*/\1/p"); do
        [ "$name" = BULK_ORDERS_LANGUAGE ] || unset "$name"
    done
    home=$home/demo/home
    export BULK_ORDERS_HOME="$home"
fi

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
