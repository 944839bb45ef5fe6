-- Repaired files: which row of which batch a row repairs. A row is repaired once, whoever sends it and from whichever file.

alter table bulk_orders.batches add column parent_batch_id text references bulk_orders.batches (batch_id),
    add constraint batches_not_their_own_parent check (parent_batch_id <> batch_id);
comment on column bulk_orders.batches.parent_batch_id is 'The batch whose repair file this is. Null: a file of the client''s own.';
create index batches_of_parent on bulk_orders.batches (parent_batch_id) where parent_batch_id is not null;

create table bulk_orders.repairs (
    batch_id          text not null,
    import_row_number integer not null,
    parent_batch_id   text not null,
    parent_row_number integer not null,
    root_batch_id     text not null,
    root_row_number   integer not null,
    changed           text[] not null,
    taken             boolean not null,
    primary key (batch_id, import_row_number)
);
comment on table bulk_orders.repairs is 'Rows that came back mended, with the row they were made of. Names and numbers, never a value.';
comment on column bulk_orders.repairs.root_batch_id is 'The client''s own file, at the beginning of the line of repairs.';
comment on column bulk_orders.repairs.changed is 'Names of the columns whose cells a person changed.';
comment on column bulk_orders.repairs.taken is 'Whether the row is accepted; follows import_rows.state.';
-- Of all files that mend one row, one is taken: two at once, one twice, a repaired repair.
create unique index repairs_one_per_row on bulk_orders.repairs (root_batch_id, root_row_number) where taken;

-- Nothing that succeeded is repaired.
create function bulk_orders.check_repaired_rows() returns trigger language plpgsql as $$
begin
    if exists (select from new_rows n
               left join bulk_orders.import_rows r on r.batch_id = n.batch_id and r.import_row_number = n.import_row_number
               left join bulk_orders.import_rows p
                    on p.batch_id = n.parent_batch_id and p.import_row_number = n.parent_row_number
               left join bulk_orders.import_rows t on t.batch_id = n.root_batch_id and t.import_row_number = n.root_row_number
               where r.batch_id is null or p.state is distinct from 'rejected' or t.state is distinct from 'rejected') then
        raise exception 'a repair of no rejected row'
            using errcode = 'foreign_key_violation', constraint = 'repairs_of_rejected_row';
    end if;
    return null;
end $$;
create trigger repairs_of_rejected_row after insert on bulk_orders.repairs
    referencing new table as new_rows for each statement execute function bulk_orders.check_repaired_rows();

-- A row that is rejected after all may be repaired again; one that is accepted later must be the only one.
create function bulk_orders.follow_repaired_row() returns trigger language plpgsql as $$
begin
    update bulk_orders.repairs r set taken = (n.state = 'accepted')
    from new_rows n join old_rows o using (batch_id, import_row_number)
    where n.state <> o.state and r.batch_id = n.batch_id and r.import_row_number = n.import_row_number
      and r.taken <> (n.state = 'accepted');
    return null;
end $$;
create trigger repairs_follow_state after update on bulk_orders.import_rows
    referencing old table as old_rows new table as new_rows
    for each statement execute function bulk_orders.follow_repaired_row();

create function bulk_orders.refuse_other_repair() returns trigger language plpgsql as $$
begin
    raise exception 'what a row repairs does not change' using errcode = 'BO003';
end $$;
create trigger same_repair before update on bulk_orders.repairs
    for each row when ((old.batch_id, old.import_row_number, old.parent_batch_id, old.parent_row_number, old.root_batch_id,
                        old.root_row_number, old.changed) is distinct from
                       (new.batch_id, new.import_row_number, new.parent_batch_id, new.parent_row_number, new.root_batch_id,
                        new.root_row_number, new.changed))
    execute function bulk_orders.refuse_other_repair();
create trigger no_delete before delete or truncate on bulk_orders.repairs
    for each statement execute function bulk_orders.refuse_delete();
create trigger same_parent before update of parent_batch_id on bulk_orders.batches
    for each row when (old.parent_batch_id is not null and old.parent_batch_id is distinct from new.parent_batch_id)
    execute function bulk_orders.refuse_other_repair();

-- Both chains tell of it: the repaired file's which rows came back and of which batch they are, the client's own which of
-- its rows were taken, and with which batch.
create function bulk_orders.audit_repairs() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append(n.batch_id, 'row:repairs', n.parent_batch_id,
                                     array_agg(n.import_row_number order by n.import_row_number), null)
    from new_rows n group by n.batch_id, n.parent_batch_id;
    perform bulk_orders.audit_append(n.root_batch_id, 'row:repaired', n.batch_id,
                                     array_agg(n.root_row_number order by n.root_row_number), null)
    from new_rows n where n.taken group by n.root_batch_id, n.batch_id;
    return null;
end $$;
create trigger audit after insert on bulk_orders.repairs
    referencing new table as new_rows for each statement execute function bulk_orders.audit_repairs();

create function bulk_orders.audit_repair_changes() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append(n.root_batch_id, 'row:' || case when n.taken then 'repaired' else 'unrepaired' end,
                                     n.batch_id, array_agg(n.root_row_number order by n.root_row_number), null)
    from new_rows n join old_rows o using (batch_id, import_row_number)
    where n.taken <> o.taken group by n.root_batch_id, n.batch_id, n.taken;
    return null;
end $$;
create trigger audit_taken after update on bulk_orders.repairs
    referencing old table as old_rows new table as new_rows
    for each statement execute function bulk_orders.audit_repair_changes();

-- A repair file that lay in another client's folder was refused; given again in its own, the same bytes are that client's.
create function bulk_orders.check_client() returns trigger language plpgsql as $$
begin
    if old.state <> 'refused' or old.reason is distinct from 'FILE-REPAIR-CLIENT' then
        raise exception 'the client of a batch does not change' using errcode = 'BO003';
    end if;
    perform bulk_orders.audit_append(new.batch_id, 'client:changed', new.client, array[]::integer[], null);
    return new;
end $$;
create trigger same_client before update of client on bulk_orders.batches
    for each row when (old.client <> new.client) execute function bulk_orders.check_client();
