-- The batch beside the single order. `orders` and `payments` keep their place and their rows; everything new is nullable
-- for a single order (R-39). They are named without a schema: they are where the customer has them.

create table bulk_orders.batches (
    batch_id          text primary key,
    file_sha256       bytea not null check (length(file_sha256) = 32),
    source_name       text not null,
    client            text not null,
    bulk_import_group text,
    source_columns    text[],
    declared_rows     integer check (declared_rows >= 0),
    declared_jpy      bigint check (declared_jpy >= 0),
    file_rows         integer check (file_rows >= 0),
    file_jpy          bigint check (file_jpy >= 0),
    accepted_rows     integer check (accepted_rows >= 0),
    accepted_jpy      bigint check (accepted_jpy >= 0),
    state             text not null default 'received'
        check (state in ('received', 'refused', 'validated', 'ordered', 'paused', 'done', 'partial')),
    reason            text,
    reason_facts      jsonb not null default '{}',
    resume_at         timestamptz,
    lease_epoch       bigint not null default 0,
    run_id            text,
    code_version      text not null,
    started_by        text not null,
    created_at        timestamptz not null default clock_timestamp(),
    paying_since      timestamptz,
    finished_at       timestamptz,
    constraint batches_rows_add_up check (accepted_rows <= file_rows),
    constraint batches_pause_has_reason check (state not in ('paused', 'refused') or reason is not null)
);
comment on table bulk_orders.batches is 'One file of a client. The id is the partition key in Dagster.';
-- The same bytes never become a second batch, under whatever name and from whichever folder they come.
create unique index batches_one_per_file on bulk_orders.batches (file_sha256);
create index batches_unfinished on bulk_orders.batches (state) where state not in ('done', 'partial', 'refused');

create table bulk_orders.import_rows (
    batch_id          text not null,
    import_row_number integer not null check (import_row_number >= 1),
    line_number       integer not null check (line_number >= 1),
    state             text not null check (state in ('accepted', 'rejected')),
    order_number      text,
    item_code         text,
    item_name         text,
    quantity          integer,
    amount            integer check (amount between 100 and 1000000),
    ordered_on        date,
    cells             bytea not null,
    issues            jsonb,
    primary key (batch_id, import_row_number),
    constraint import_rows_accepted_is_complete
        check (state <> 'accepted' or (order_number is not null and amount is not null and issues is null)),
    -- coalesce: a check whose result is null passes.
    constraint import_rows_rejected_has_issue check (state <> 'rejected' or coalesce(jsonb_array_length(issues), 0) > 0)
);
comment on column bulk_orders.import_rows.cells is 'The row as it came, all its cells, encrypted (AES-256-GCM). The one place with personal data.';
comment on column bulk_orders.import_rows.issues is 'Codes and column names, never a value.';

alter table orders alter column amount type integer;
alter table orders
    add column batch_id          text,
    add column csv_source        text,
    add column bulk_import_group text,
    add column import_row_number integer,
    add column client            text,
    add column order_number      text,
    add column item_code         text,
    add column ordered_on        date,
    add column status_reason     text,
    add column paid_at           timestamptz,
    alter column customer_name drop not null,
    alter column customer_email drop not null,
    -- A single order is as strict as before; a batch order keeps the person in import_rows, encrypted.
    add constraint orders_single_has_customer
        check (batch_id is not null or (customer_name is not null and customer_email is not null)),
    add constraint orders_batch_is_complete
        check (batch_id is null
               or (import_row_number is not null and csv_source is not null and client is not null and order_number is not null
                   and amount between 100 and 1000000 and currency = 'JPY'));
-- The identity of a row: whatever runs twice finds the same order (LIM-001).
create unique index orders_one_per_row on orders (batch_id, import_row_number) where batch_id is not null;
-- A client's order number is used once, over all its batches.
create unique index orders_one_per_number on orders (client, order_number) where batch_id is not null;

alter table payments alter column amount type integer;
alter table payments
    add column batch_id          text,
    add column bulk_import_group text,
    add column import_row_number integer,
    add column state             text
        check (state in ('planned', 'sending', 'unknown', 'retry_wait', 'review', 'done', 'rejected')),
    add column idempotency_key   text,
    add column request_sha256    bytea check (length(request_sha256) = 32),
    add column attempts          integer not null default 0 check (attempts >= 0),
    add column looks             integer not null default 0 check (looks >= 0),
    add column absent_looks      integer not null default 0 check (absent_looks >= 0),
    add column lease_epoch       bigint not null default 0,
    add column not_before        timestamptz not null default '-infinity',
    add column first_sent_at     timestamptz,
    add column settles_at        timestamptz,
    add column remote_id         text,
    add column reason            text,
    add column settled_at        timestamptz,
    add constraint payments_batch_is_complete
        check (batch_id is null
               or (import_row_number is not null and state is not null and idempotency_key is not null
                   and request_sha256 is not null and amount between 100 and 1000000 and currency = 'JPY')),
    add constraint payments_done_has_remote_id check (state is null or (state = 'done') = (remote_id is not null));

create table bulk_orders.notifications (
    notification_id   bigint generated always as identity primary key,
    order_id          integer not null unique references orders (order_id),
    batch_id          text not null,
    bulk_import_group text,
    import_row_number integer not null,
    state             text not null
        check (state in ('planned', 'sending', 'unknown', 'retry_wait', 'review', 'done', 'rejected')),
    idempotency_key   text not null,
    request_sha256    bytea not null check (length(request_sha256) = 32),
    attempts          integer not null default 0 check (attempts >= 0),
    looks             integer not null default 0 check (looks >= 0),
    absent_looks      integer not null default 0 check (absent_looks >= 0),
    lease_epoch       bigint not null default 0,
    not_before        timestamptz not null default '-infinity',
    first_sent_at     timestamptz,
    settles_at        timestamptz,
    remote_id         text,
    reason            text,
    settled_at        timestamptz,
    created_at        timestamptz not null default clock_timestamp(),
    constraint notifications_done_has_remote_id check ((state = 'done') = (remote_id is not null))
);
comment on table bulk_orders.notifications is 'One mail per paid order, planned in the transaction that settles its payment.';

-- One effect per row for ever, not only while it is open.
create unique index payments_one_per_row on payments (batch_id, import_row_number) where batch_id is not null;
create unique index notifications_one_per_row on bulk_orders.notifications (batch_id, import_row_number);
create unique index payments_one_per_key on payments (idempotency_key) where idempotency_key is not null;
create unique index notifications_one_per_key on bulk_orders.notifications (idempotency_key);
-- Two rows can never claim one charge, nor one mail.
create unique index payments_one_per_charge on payments (remote_id) where remote_id is not null;
create unique index notifications_one_per_mail on bulk_orders.notifications (remote_id) where remote_id is not null;
-- What is still to do, in the order of the file.
create index payments_open on payments (batch_id, import_row_number)
    where state in ('planned', 'sending', 'unknown', 'retry_wait');
create index notifications_open on bulk_orders.notifications (batch_id, import_row_number)
    where state in ('planned', 'sending', 'unknown', 'retry_wait');

create table bulk_orders.effect_attempts (
    attempt_id         bigint generated always as identity primary key,
    kind               text not null check (kind in ('payments', 'notifications')),
    order_id           integer not null references orders (order_id),
    attempt            integer not null,
    purpose            text not null check (purpose in ('send', 'look_up')),
    lease_epoch        bigint not null,
    started_at         timestamptz not null,
    ended_at           timestamptz not null,
    outcome            text not null,
    reason             text,
    http_status        integer,
    service_request_id text
);
comment on table bulk_orders.effect_attempts is 'Every call that came back: when, what kind of answer. Never its content.';
create index effect_attempts_of_order on bulk_orders.effect_attempts (order_id);

create table bulk_orders.rate_permits (
    service text primary key,
    next_at timestamptz not null
);
comment on table bulk_orders.rate_permits is 'When the next call to a limited service may leave; shared by every process (R-23).';

create table bulk_orders.breakers (
    service   text primary key,
    state     text not null default 'closed' check (state in ('closed', 'open')),
    failures  integer not null default 0,
    reason    text,
    opened_at timestamptz,
    probe_at  timestamptz
);
comment on table bulk_orders.breakers is 'Whether a service is out of order as a whole; shared by every process (R-36).';

create table bulk_orders.encryption_keys (
    key_id      text primary key,
    check_value bytea not null,
    created_at  timestamptz not null default clock_timestamp()
);
comment on table bulk_orders.encryption_keys is 'Which keys wrote personal data, and a value that only the right key opens. No key is stored.';
