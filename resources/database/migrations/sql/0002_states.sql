-- The transitions of domain/states.py, held by the database too: what is not listed is refused (errcode BO001).

create table bulk_orders.state_transitions (
    subject    text not null check (subject in ('batch', 'effect')),
    from_state text not null,
    to_state   text not null,
    primary key (subject, from_state, to_state)
);
insert into bulk_orders.state_transitions values
    ('batch', 'received', 'validated'), ('batch', 'received', 'refused'),
    ('batch', 'refused', 'received'), ('batch', 'validated', 'ordered'),
    ('batch', 'ordered', 'paused'), ('batch', 'paused', 'ordered'),
    ('batch', 'ordered', 'done'), ('batch', 'ordered', 'partial'),
    ('effect', 'planned', 'sending'), ('effect', 'sending', 'done'), ('effect', 'sending', 'rejected'),
    ('effect', 'sending', 'retry_wait'), ('effect', 'sending', 'unknown'), ('effect', 'retry_wait', 'sending'),
    ('effect', 'unknown', 'done'), ('effect', 'unknown', 'rejected'), ('effect', 'unknown', 'retry_wait'), ('effect', 'unknown', 'review');

create function bulk_orders.check_transition() returns trigger language plpgsql as $$
declare
    subject_ text := tg_argv[0];
begin
    if not exists (select from bulk_orders.state_transitions t
                   where t.subject = subject_ and t.from_state = old.state and t.to_state = new.state) then
        raise exception 'transition refused: % % -> %', subject_, old.state, new.state using errcode = 'BO001';
    end if;
    return new;
end $$;

create function bulk_orders.check_first_state() returns trigger language plpgsql as $$
begin
    raise exception 'a new % begins as %', tg_argv[0], tg_argv[1] using errcode = 'BO001';
end $$;

create trigger batches_transition before update of state on bulk_orders.batches
    for each row when (old.state is distinct from new.state) execute function bulk_orders.check_transition('batch');
create trigger batches_first_state before insert on bulk_orders.batches
    for each row when (new.state <> 'received') execute function bulk_orders.check_first_state('batch', 'received');

create trigger payments_transition before update of state on payments
    for each row when (old.state is distinct from new.state) execute function bulk_orders.check_transition('effect');
create trigger payments_first_state before insert on payments
    for each row when (new.state <> 'planned') execute function bulk_orders.check_first_state('effect', 'planned');

create trigger notifications_transition before update of state on bulk_orders.notifications
    for each row when (old.state is distinct from new.state) execute function bulk_orders.check_transition('effect');
create trigger notifications_first_state before insert on bulk_orders.notifications
    for each row when (new.state <> 'planned') execute function bulk_orders.check_first_state('effect', 'planned');

-- A batch, its rows and the orders made of them point at each other for ever. Foreign keys would look up the parent once per
-- row (140 ms per 10,000 orders, half the time of making them); a statement looks once. Parents are never deleted.
create function bulk_orders.check_batch_exists() returns trigger language plpgsql as $$
begin
    -- Distinct first: 10,000 rows of one batch look once, not 10,000 times (5 ms instead of 18).
    if exists (select from (select distinct batch_id from new_rows) n
               where not exists (select from bulk_orders.batches b where b.batch_id = n.batch_id)) then
        raise exception 'a row of no batch' using errcode = 'foreign_key_violation', constraint = 'import_rows_of_batch';
    end if;
    return null;
end $$;
create trigger import_rows_of_batch after insert on bulk_orders.import_rows
    referencing new table as new_rows for each statement execute function bulk_orders.check_batch_exists();

create function bulk_orders.check_row_exists() returns trigger language plpgsql as $$
declare
    batch_ text;
begin
    -- Batch by batch, with `is not true` around `in`: the accepted rows of a batch are hashed once, where a join would look up
    -- each order by index (12 ms instead of 39 per 10,000); an order without a row number is refused too.
    for batch_ in select distinct batch_id from new_rows where batch_id is not null loop
        if exists (select from new_rows n where n.batch_id = batch_ and (n.import_row_number in (
                select r.import_row_number from bulk_orders.import_rows r
                where r.batch_id = batch_ and r.state = 'accepted')) is not true) then
            raise exception 'an order of no accepted row'
                using errcode = 'foreign_key_violation', constraint = 'orders_of_row';
        end if;
    end loop;
    return null;
end $$;
create trigger orders_of_row after insert on orders
    referencing new table as new_rows for each statement execute function bulk_orders.check_row_exists();

create function bulk_orders.refuse_delete() returns trigger language plpgsql as $$
begin
    raise exception 'a batch keeps its records: delete of % refused', tg_table_name using errcode = 'BO003';
end $$;
create trigger no_delete before delete or truncate on bulk_orders.batches
    for each statement execute function bulk_orders.refuse_delete();
create trigger no_delete before delete or truncate on bulk_orders.import_rows
    for each statement execute function bulk_orders.refuse_delete();
-- What names a row or an order of a batch never changes.
create function bulk_orders.refuse_new_identity() returns trigger language plpgsql as $$
begin
    raise exception 'the identity of a row of % does not change', tg_table_name using errcode = 'BO003';
end $$;
create trigger same_identity before update of batch_id, import_row_number on bulk_orders.import_rows
    for each row when ((old.batch_id, old.import_row_number) is distinct from (new.batch_id, new.import_row_number))
    execute function bulk_orders.refuse_new_identity();
create trigger same_identity before update of batch_id, import_row_number on orders
    for each row when (old.batch_id is not null
        and (old.batch_id, old.import_row_number) is distinct from (new.batch_id, new.import_row_number))
    execute function bulk_orders.refuse_new_identity();
create trigger same_identity before update of batch_id on bulk_orders.batches
    for each row when (old.batch_id <> new.batch_id) execute function bulk_orders.refuse_new_identity();

-- The legacy status column follows the state, so that the single-order screens show a batch payment as they always did.
create function bulk_orders.follow_state() returns trigger language plpgsql as $$
begin
    new.status := case new.state when 'done' then 'COMPLETED' when 'rejected' then 'FAILED' else 'PENDING' end;
    return new;
end $$;
create trigger payments_status_follows_state before insert or update of state on payments
    for each row when (new.state is not null) execute function bulk_orders.follow_state();
