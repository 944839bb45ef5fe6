-- Batches, rows, orders, payments, notifications, calls, decisions: each change of one leaves its event. A change of a
-- state is told as before; any other change as `<subject>:changed`, with the names of the columns that are different.
-- Facts are spelt one subject a line: its numbers as they are and its texts framed by their length, with spaces between;
-- a hyphen for nothing. resources/database/trail_books.py spells them again to compare, and so does the script in a pack.

-- -- batches ---------------------------------------------------------------------------------------------------------

-- What a batch was registered as and what was counted of it: the last event that holds this digest proves the row.
create function bulk_orders.audit_batch_facts(b bulk_orders.batches) returns bytea language sql stable as $$
    select bulk_orders.audit_facts(concat_ws(' ', encode(b.file_sha256, 'hex'), bulk_orders.framed(b.client),
        bulk_orders.framed(b.source_name), bulk_orders.framed(b.bulk_import_group), bulk_orders.framed(b.started_by),
        bulk_orders.framed(b.parent_batch_id), coalesce(b.file_rows::text, '-'), coalesce(b.file_jpy::text, '-'),
        coalesce(b.accepted_rows::text, '-'), coalesce(b.accepted_jpy::text, '-')))
$$;

create or replace function bulk_orders.audit_batches() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append(new.batch_id,
        case tg_op when 'INSERT' then 'batch:' || new.state else 'batch:' || old.state || ':' || new.state end,
        new.reason, array[]::integer[], new.accepted_jpy, bulk_orders.audit_batch_facts(new));
    return null;
end $$;

-- The epoch and the run that holds the batch change with every hold, and when it is to be taken up again with every
-- pause: none of them says anything about the batch. Who begins a run is an event of its own, and so is another client.
-- What a change of state or reason brings along is told by that event.
create function bulk_orders.audit_batch_changes() returns trigger language plpgsql as $$
declare
    told    text[] := array['state', 'reason', 'pause_requested_by', 'cancel_requested', 'sends_up_to_row', 'lease_epoch',
                            'run_id', 'resume_at', 'continued_at', 'client'];
    columns text;
begin
    if old.state <> new.state or old.reason is distinct from new.reason then
        told := told || array['reason_facts', 'waits_for_person', 'paying_since', 'finished_at'];
    end if;
    columns := bulk_orders.changed_columns(to_jsonb(old) - told, to_jsonb(new) - told);
    if columns is not null then
        perform bulk_orders.audit_append(new.batch_id, 'batch:changed', columns, array[]::integer[], new.accepted_jpy,
                                         bulk_orders.audit_batch_facts(new));
    end if;
    return null;
end $$;
create trigger audit_changes after update on bulk_orders.batches
    for each row when (old.* is distinct from new.*) execute function bulk_orders.audit_batch_changes();

-- The client of a batch changes in one case only (0006_repair.sql); its event names the new one.
create or replace function bulk_orders.check_client() returns trigger language plpgsql as $$
begin
    if old.state <> 'refused' or old.reason is distinct from 'FILE-REPAIR-CLIENT' then
        raise exception 'the client of a batch does not change' using errcode = 'BO003';
    end if;
    perform bulk_orders.audit_append(new.batch_id, 'client:changed', new.client, array[]::integer[], null,
                                     bulk_orders.audit_batch_facts(new));
    return new;
end $$;

-- -- rows ------------------------------------------------------------------------------------------------------------

-- Row by row number: line, yen, order number, and of a further line of an order the row of its first. Cells are not in it:
-- whoever may erase a person must be able to. The file that they came from is in the facts of the batch.
create or replace function bulk_orders.audit_rows() returns trigger language plpgsql as $$
declare
    kind record;
begin
    -- Kind by kind, over rows in order: with `group by`, and `order by` in the aggregates, it takes twice as long.
    for kind in select distinct batch_id, state from new_rows order by 1, 2 loop
        perform bulk_orders.audit_append(kind.batch_id, 'row:' || kind.state, null, r.numbers, r.amount,
                                         sha256(convert_to(r.told, 'UTF8')))
        from (select array_agg(import_row_number) as numbers, sum(amount) filter (where state = 'accepted') as amount,
                     string_agg(import_row_number || ' ' || line_number || ' ' || coalesce(amount::text, '-') || ' ' ||
                                coalesce(octet_length(order_number) || ':' || order_number, '-') || ' ' ||
                                coalesce(order_row::text, '-'), E'\n') as told
              from (select import_row_number, line_number, amount, order_number, order_row, state from new_rows n
                    where n.batch_id = kind.batch_id and n.state = kind.state order by import_row_number) sorted) r;
    end loop;
    return null;
end $$;

create or replace function bulk_orders.audit_row_changes() returns trigger language plpgsql
set enable_nestloop = off as $$
begin
    perform bulk_orders.audit_append(r.batch_id, r.event, r.columns, r.numbers, r.amount)
    from (select n.batch_id, c.event, c.columns, sum(n.amount) as amount,
                 array_agg(n.import_row_number order by n.import_row_number) as numbers
          from new_rows n join old_rows o using (batch_id, import_row_number)
          cross join lateral (select
              case when n.state <> o.state then 'row:' || o.state || ':' || n.state else 'row:changed' end as event,
              case when n.state = o.state then bulk_orders.changed_columns(to_jsonb(o), to_jsonb(n)) end as columns) c
          where n is distinct from o group by n.batch_id, c.event, c.columns) r
    order by r.batch_id, r.event, r.columns;
    return null;
end $$;

-- -- orders ----------------------------------------------------------------------------------------------------------

create or replace function bulk_orders.audit_orders() returns trigger language plpgsql as $$
declare
    batch_ text;
begin
    for batch_ in select distinct batch_id from new_rows where batch_id is not null order by 1 loop
        perform bulk_orders.audit_append(batch_, 'order:created', null, r.ids, r.amount, sha256(convert_to(r.told, 'UTF8')))
        from (select array_agg(order_id) as ids, sum(amount) as amount,
                     string_agg(order_id || ' ' || import_row_number || ' ' || amount || ' ' ||
                                octet_length(order_number) || ':' || order_number, E'\n') as told
              from (select order_id, import_row_number, amount, order_number from new_rows n
                    where n.batch_id = batch_ order by order_id) sorted) r;
    end loop;
    return null;
end $$;

create or replace function bulk_orders.audit_order_changes() returns trigger language plpgsql
set enable_nestloop = off as $$
begin
    perform bulk_orders.audit_append(r.batch_id, r.event, r.reason, r.ids, r.amount)
    from (select n.batch_id, c.event, c.reason, sum(n.amount) as amount, array_agg(n.order_id order by n.order_id) as ids
          from new_rows n join old_rows o using (order_id)
          cross join lateral (select (n.status, n.status_reason) is distinct from (o.status, o.status_reason) as moved) m
          cross join lateral (select
              case when m.moved then 'order:' || o.status || ':' || n.status else 'order:changed' end as event,
              case when m.moved then n.status_reason
                   else bulk_orders.changed_columns(to_jsonb(o), to_jsonb(n)) end as reason) c
          where n.batch_id is not null and (m.moved or n is distinct from o) group by n.batch_id, c.event, c.reason) r
    order by r.batch_id, r.event, r.reason;
    return null;
end $$;

-- -- payments and notifications --------------------------------------------------------------------------------------

-- Planned: which request, by its digest, which holds the yen of a payment.
create or replace function bulk_orders.audit_effects() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append(r.batch_id, tg_argv[0] || ':' || r.state, null, r.ids, null,
                                     sha256(convert_to(r.told, 'UTF8')))
    from (select batch_id, state, array_agg(order_id) as ids,
                 string_agg(order_id || ' ' || encode(request_sha256, 'hex'), E'\n') as told
          from (select batch_id, state, order_id, request_sha256 from new_rows
                where batch_id is not null order by order_id) sorted
          group by batch_id, state) r
    order by r.batch_id, r.state;
    return null;
end $$;

-- Done: what the service calls it. Nested loops are off, here and wherever rows are compared with what they were: a plan
-- made for the first row would compare each of a hundred with each.
create or replace function bulk_orders.audit_effect_changes() returns trigger language plpgsql
set enable_nestloop = off as $$
begin
    perform bulk_orders.audit_append(r.batch_id, tg_argv[0] || ':' || r.event, r.reason, r.ids, null,
                                     sha256(convert_to(r.told, 'UTF8')))
    from (select batch_id, event, reason, array_agg(order_id) as ids,
                 string_agg(order_id || ' ' || octet_length(remote_id) || ':' || remote_id, E'\n')
                     filter (where state = 'done') as told
          from (select n.batch_id, n.order_id, n.state, n.remote_id,
                       case when n.state <> o.state then o.state || ':' || n.state else 'changed' end as event,
                       case when n.state <> o.state then n.reason
                            else bulk_orders.changed_columns(to_jsonb(o), to_jsonb(n)) end as reason
                from new_rows n join old_rows o using (order_id)
                where n.batch_id is not null and (n.state <> o.state or n is distinct from o)
                order by n.order_id) sorted
          group by batch_id, event, reason) r
    order by r.batch_id, r.event, r.reason;
    return null;
end $$;

-- What belongs to a batch stays; a single order may be deleted as ever.
create function bulk_orders.refuse_batch_delete() returns trigger language plpgsql as $$
begin
    raise exception 'a batch keeps its records: delete of % refused', tg_table_name using errcode = 'BO003';
end $$;
create trigger no_delete before delete on orders
    for each row when (old.batch_id is not null) execute function bulk_orders.refuse_batch_delete();
create trigger no_delete before delete on payments
    for each row when (old.batch_id is not null) execute function bulk_orders.refuse_batch_delete();
create trigger no_delete before delete or truncate on bulk_orders.notifications
    for each statement execute function bulk_orders.refuse_batch_delete();

create function bulk_orders.refuse_batch_truncate() returns trigger language plpgsql as $$
declare
    found_one boolean;
begin
    execute format('select exists (select from %s where batch_id is not null)', tg_relid::regclass) into found_one;
    if found_one then
        raise exception 'a batch keeps its records: truncate of % refused', tg_table_name using errcode = 'BO003';
    end if;
    return null;
end $$;
create trigger no_truncate before truncate on orders for each statement execute function bulk_orders.refuse_batch_truncate();
create trigger no_truncate before truncate on payments for each statement execute function bulk_orders.refuse_batch_truncate();

-- -- calls -----------------------------------------------------------------------------------------------------------

create function bulk_orders.audit_attempts() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append(r.batch_id, 'call:' || r.kind, null, r.ids, null, sha256(convert_to(r.told, 'UTF8')))
    from (select n.batch_id, n.kind, array_agg(n.order_id order by n.attempt_id) as ids,
                 -- Framed in place: a call of a function for each took a tenth of the trail's time.
                 string_agg(concat_ws(' ', n.order_id, n.attempt, n.purpose, n.outcome,
                                      coalesce(octet_length(n.reason) || ':' || n.reason, '-'),
                                      coalesce(n.http_status::text, '-'),
                                      coalesce(octet_length(n.service_request_id) || ':' || n.service_request_id, '-'),
                                      (date_part('epoch', n.started_at) * 1000000)::bigint,
                                      (date_part('epoch', n.ended_at) * 1000000)::bigint), E'\n'
                            order by n.attempt_id) as told
          -- Looked up one by one: for a join, the planner reads all orders there ever were.
          from (select c.*, (select o.batch_id from orders o where o.order_id = c.order_id) as batch_id from new_rows c) n
          where n.batch_id is not null group by n.batch_id, n.kind) r;
    return null;
end $$;
create trigger audit after insert on bulk_orders.effect_attempts
    referencing new table as new_rows for each statement execute function bulk_orders.audit_attempts();
create trigger append_only before update or delete or truncate on bulk_orders.effect_attempts
    for each statement execute function bulk_orders.refuse_change();

-- -- decisions -------------------------------------------------------------------------------------------------------

-- The person's own words stay out of the trail, and are proved by it.
create or replace function bulk_orders.audit_decisions() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append(new.batch_id, 'decision:' || new.decision || coalesce(':' || new.kind, ''),
        concat_ws(' ', new.code, 'decision-' || new.decision_id),
        case when new.order_id is null then array[]::integer[] else array[new.order_id] end, new.amount_jpy,
        bulk_orders.audit_facts(concat_ws(' ', new.decision_id, new.decision, coalesce(new.kind, '-'),
            coalesce(new.order_id::text, '-'), bulk_orders.framed(new.code), bulk_orders.framed(new.note),
            coalesce(new.amount_jpy::text, '-'), bulk_orders.framed(new.decided_by))));
    return null;
end $$;

-- -- what the payment service tells ----------------------------------------------------------------------------------

create or replace function bulk_orders.audit_webhooks() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append(coalesce(new.batch_id, 'system:webhooks'),
        'webhook:' || replace(new.type, '.', ':') || ':' || new.outcome, new.reason, array[new.order_id], new.amount_jpy,
        bulk_orders.audit_facts(concat_ws(' ', bulk_orders.framed(new.event_id), bulk_orders.framed(new.payment_id),
            encode(new.content_sha256, 'hex'))));
    return null;
end $$;
create trigger audit_changes after update on bulk_orders.webhook_inbox
    for each row when (old.outcome = new.outcome and (old.reason, old.batch_id) is distinct from (new.reason, new.batch_id))
    execute function bulk_orders.audit_webhooks();
