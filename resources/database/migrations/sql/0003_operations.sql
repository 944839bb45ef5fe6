-- What people do with a batch. Every hand leaves a decision, and every decision its event of the trail.

insert into bulk_orders.state_transitions values
    ('batch', 'partial', 'ordered'), ('batch', 'received', 'cancelled'), ('batch', 'validated', 'cancelled'),
    ('batch', 'ordered', 'cancelled'), ('batch', 'cancelled', 'ordered'),
    ('effect', 'review', 'done'), ('effect', 'review', 'rejected'), ('effect', 'review', 'retry_wait'),
    ('effect', 'rejected', 'retry_wait'), ('effect', 'planned', 'cancelled'), ('effect', 'retry_wait', 'cancelled'),
    ('effect', 'retry_wait', 'review'), ('effect', 'cancelled', 'review');

alter table bulk_orders.batches
    drop constraint batches_state_check,
    add constraint batches_state_check check
        (state in ('received', 'refused', 'validated', 'ordered', 'paused', 'done', 'partial', 'cancelled')),
    add column pause_requested_by text,
    add column cancel_requested   boolean not null default false,
    add column waits_for_person   boolean not null default false,
    add column continued_at       timestamptz,
    add column sends_up_to_row    integer,
    -- A batch that nobody would take up again: only while it is paused, and a pause always has a reason.
    add constraint batches_wait_only_when_paused check (state = 'paused' or not waits_for_person);
comment on column bulk_orders.batches.pause_requested_by is 'Who wants it paused; whoever works on it looks every second.';
comment on column bulk_orders.batches.cancel_requested is 'No payment is sent any more; ends as cancelled.';
comment on column bulk_orders.batches.waits_for_person is 'Paused until a person says so: not taken up by itself.';
comment on column bulk_orders.batches.sends_up_to_row is 'The canary: no payment beyond this row is sent. Null: all may.';
comment on column bulk_orders.batches.continued_at is 'When a person last said that it goes on; a run terminated before is followed then.';
drop index bulk_orders.batches_unfinished;
create index batches_unfinished on bulk_orders.batches (state)
    where state not in ('done', 'partial', 'refused', 'cancelled');

alter table payments
    drop constraint payments_state_check,
    add constraint payments_state_check check
        (state in ('planned', 'sending', 'unknown', 'retry_wait', 'review', 'done', 'rejected', 'cancelled'));
alter table bulk_orders.notifications
    drop constraint notifications_state_check,
    add constraint notifications_state_check check
        (state in ('planned', 'sending', 'unknown', 'retry_wait', 'review', 'done', 'rejected', 'cancelled'));
-- Rows that wait for a person, over all batches.
create index payments_review on payments (batch_id, import_row_number) where state = 'review';
create index notifications_review on bulk_orders.notifications (batch_id, import_row_number) where state = 'review';

create or replace function bulk_orders.follow_state() returns trigger language plpgsql as $$
begin
    new.status := case new.state when 'done' then 'COMPLETED' when 'rejected' then 'FAILED'
                                 when 'cancelled' then 'CANCELLED' else 'PENDING' end;
    return new;
end $$;

-- The number of an order that was cancelled before it was paid is free again: the corrected file may use it.
alter table orders add column cancelled_at timestamptz;
drop index orders_one_per_number;
create unique index orders_one_per_number on orders (client, order_number)
    where batch_id is not null and cancelled_at is null;

create table bulk_orders.decisions (
    decision_id bigint generated always as identity primary key,
    batch_id    text not null references bulk_orders.batches (batch_id),
    decision    text not null
        check (decision in ('redrive', 'pause', 'continue', 'cancel', 'approve', 'done', 'send-again', 'rejected')),
    kind        text check (kind in ('payments', 'notifications')),
    order_id    integer references orders (order_id),
    code        text,
    note        text check (length(note) between 1 and 200),
    amount_jpy  bigint,
    -- Named by the session, not by the statement: the same name as in the trail.
    decided_by  text not null
        default coalesce(nullif(current_setting('bulk_orders.actor', true), ''), 'database:' || session_user),
    decided_at  timestamptz not null default clock_timestamp(),
    constraint decisions_about_a_row_name_it check
        ((decision in ('done', 'send-again', 'rejected')) = (kind is not null and order_id is not null and note is not null))
);
comment on table bulk_orders.decisions is 'What a person decided about a batch or a row in review. Append-only.';
comment on column bulk_orders.decisions.code is 'What it was decided about: the reason of the pause, or of the review.';
comment on column bulk_orders.decisions.note is 'The person''s own words, short, checked against addresses and long numbers. Not in the trail.';
create index decisions_of_batch on bulk_orders.decisions (batch_id, decision_id);

create trigger append_only before update or delete on bulk_orders.decisions
    for each row execute function bulk_orders.refuse_change();
create trigger no_truncate before truncate on bulk_orders.decisions
    for each statement execute function bulk_orders.refuse_change();
alter table bulk_orders.decisions enable always trigger append_only;
alter table bulk_orders.decisions enable always trigger no_truncate;

-- The trail names the decision by its number; the words themselves, which a person typed, stay out of it.
create function bulk_orders.audit_decisions() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append(new.batch_id, 'decision:' || new.decision || coalesce(':' || new.kind, ''),
        concat_ws(' ', new.code, 'decision-' || new.decision_id),
        case when new.order_id is null then array[]::integer[] else array[new.order_id] end, new.amount_jpy);
    return null;
end $$;
create trigger audit after insert on bulk_orders.decisions
    for each row execute function bulk_orders.audit_decisions();

-- Requests, and a new reason of a pause, are changes without a change of state.
create function bulk_orders.audit_requests() returns trigger language plpgsql as $$
begin
    if old.pause_requested_by is distinct from new.pause_requested_by then
        perform bulk_orders.audit_append(new.batch_id, 'batch:pause:' ||
            case when new.pause_requested_by is null then 'answered' else 'requested' end, null, array[]::integer[], null);
    end if;
    if old.cancel_requested <> new.cancel_requested then
        perform bulk_orders.audit_append(new.batch_id, 'batch:cancel:requested', null, array[]::integer[], null);
    end if;
    if old.sends_up_to_row is distinct from new.sends_up_to_row then
        perform bulk_orders.audit_append(new.batch_id, 'batch:canary:' ||
            case when new.sends_up_to_row is null then 'over' else 'begun' end, null, array[]::integer[], null);
    end if;
    if old.state = new.state and old.reason is distinct from new.reason then
        perform bulk_orders.audit_append(new.batch_id, 'batch:' || new.state || ':reason', new.reason,
                                         array[]::integer[], null);
    end if;
    return null;
end $$;
create trigger audit_requests
    after update of pause_requested_by, cancel_requested, sends_up_to_row, reason on bulk_orders.batches
    for each row when ((old.pause_requested_by, old.cancel_requested, old.sends_up_to_row, old.reason) is distinct from
                       (new.pause_requested_by, new.cancel_requested, new.sends_up_to_row, new.reason))
    execute function bulk_orders.audit_requests();
