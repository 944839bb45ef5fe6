-- What a payment service tells us on its own account, each event once.

create table bulk_orders.webhook_inbox (
    event_id       text primary key check (length(event_id) between 1 and 128),
    type           text not null check (type in ('payment.completed', 'payment.failed')),
    order_id       integer not null check (order_id >= 1),
    payment_id     text not null check (length(payment_id) between 1 and 128),
    amount_jpy     bigint not null check (amount_jpy >= 0),
    currency       text not null check (length(currency) = 3),
    occurred_at    timestamptz not null,
    content_sha256 bytea not null check (length(content_sha256) = 32),
    received_at    timestamptz not null default clock_timestamp(),
    outcome        text not null
        check (outcome in ('applied', 'agreed', 'ignored', 'noted', 'review', 'alarm', 'parked', 'expired')),
    reason         text,
    batch_id       text,
    judged_at      timestamptz not null default clock_timestamp(),
    tries          integer not null default 1 check (tries >= 1),
    -- An alarm without a reason helps nobody.
    constraint webhook_inbox_alarm_has_reason check (outcome not in ('review', 'alarm', 'expired') or reason is not null)
);
comment on table bulk_orders.webhook_inbox is 'Every event once, by the id its sender gave it. Ids, codes and yen only.';
-- No foreign key to orders: an event may be about an order that does not exist yet.
create index webhook_inbox_parked on bulk_orders.webhook_inbox (received_at) where outcome = 'parked';
create index webhook_inbox_of_order on bulk_orders.webhook_inbox (order_id);
create index webhook_inbox_alarms on bulk_orders.webhook_inbox (judged_at) where outcome in ('alarm', 'expired');

-- Every judgement of an event stands in the trail, also one that changes nothing: with the batch, or with the system
-- when the order is of no batch.
create function bulk_orders.audit_webhooks() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append(coalesce(new.batch_id, 'system:webhooks'),
        'webhook:' || replace(new.type, '.', ':') || ':' || new.outcome, new.reason, array[new.order_id], new.amount_jpy);
    return null;
end $$;
create trigger audit after insert on bulk_orders.webhook_inbox
    for each row execute function bulk_orders.audit_webhooks();
create trigger audit_outcome after update of outcome on bulk_orders.webhook_inbox
    for each row when (old.outcome is distinct from new.outcome) execute function bulk_orders.audit_webhooks();

-- What is in the inbox stays, and only the judgement of a parked event changes.
create function bulk_orders.refuse_webhook_change() returns trigger language plpgsql as $$
begin
    raise exception 'an event of the inbox does not change: % refused', tg_op using errcode = 'BO003';
end $$;
create trigger no_delete before delete or truncate on bulk_orders.webhook_inbox
    for each statement execute function bulk_orders.refuse_webhook_change();
create trigger same_event before update on bulk_orders.webhook_inbox
    for each row when (old.outcome <> 'parked'
        or (old.event_id, old.type, old.order_id, old.payment_id, old.amount_jpy, old.currency, old.content_sha256)
           is distinct from
           (new.event_id, new.type, new.order_id, new.payment_id, new.amount_jpy, new.currency, new.content_sha256))
    execute function bulk_orders.refuse_webhook_change();

-- A signed word of the service settles what is in doubt or waiting; one that contradicts what we know needs a person.
-- `on conflict`: a person may take some of these steps too.
insert into bulk_orders.state_transitions values
    ('effect', 'retry_wait', 'done'), ('effect', 'review', 'done'),
    ('effect', 'planned', 'review'), ('effect', 'sending', 'review'), ('effect', 'retry_wait', 'review'),
    ('effect', 'rejected', 'review'), ('effect', 'cancelled', 'review')
on conflict do nothing;
