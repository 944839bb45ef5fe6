-- Personal data: keys of comparisons that outlive a master key, and persons that were erased.

alter table bulk_orders.encryption_keys add column index_keys bytea;
comment on column bulk_orders.encryption_keys.index_keys is 'The keys of tags and likeness, sealed under this key. Null: derived from it.';

-- The one way by which a key is forgotten; as the owner, so that the application can forget none by itself.
create function bulk_orders.retire_key(key_id_ text) returns boolean language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('key:' || key_id_, 0));  -- whoever is sealing with it is waited for
    if not exists (select from bulk_orders.encryption_keys k where k.key_id <> key_id_) then
        raise exception 'the last key stays' using errcode = 'BO003';
    end if;
    delete from bulk_orders.encryption_keys k where k.key_id = key_id_;
    return found;
end $$;

create table bulk_orders.erasures (
    erasure_id  bigint primary key check (erasure_id >= 1),
    client      text not null,
    note        text not null,
    decided_by  text not null default coalesce(nullif(current_setting('bulk_orders.actor', true), ''), 'database:' || session_user),
    decided_at  timestamptz not null default clock_timestamp(),
    finished_at timestamptz
);
comment on table bulk_orders.erasures is 'Persons that were erased: who decided it and why, never whom. Finished: every key is destroyed, every copy redacted.';

create table bulk_orders.erased_rows (
    batch_id          text not null,
    import_row_number integer not null,
    erasure_id        bigint not null references bulk_orders.erasures (erasure_id),
    primary key (batch_id, import_row_number)
);
comment on table bulk_orders.erased_rows is 'Rows of erased persons: they stay accounted for, with order, payment and mail; nobody reads their cells again.';
create index erased_rows_of_erasure on bulk_orders.erased_rows (erasure_id);

create function bulk_orders.audit_erasures() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append('system', case when new.finished_at is null then 'person:erasing' else 'person:erased' end,
        'erasure-' || new.erasure_id, array[]::integer[], null,
        bulk_orders.audit_facts(concat_ws(' ', new.erasure_id, bulk_orders.framed(new.client), bulk_orders.framed(new.note),
            bulk_orders.framed(new.decided_by))));
    return null;
end $$;
create trigger audit after insert or update on bulk_orders.erasures
    for each row execute function bulk_orders.audit_erasures();

-- In the chain of each batch: of which rows nobody reads the cells any more.
create function bulk_orders.audit_erased_rows() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append(n.batch_id, 'cells:erased', 'erasure-' || n.erasure_id,
                                     array_agg(n.import_row_number order by n.import_row_number), null)
    from new_rows n group by n.batch_id, n.erasure_id order by n.batch_id, n.erasure_id;
    return null;
end $$;
create trigger audit after insert on bulk_orders.erased_rows
    referencing new table as new_rows for each statement execute function bulk_orders.audit_erased_rows();

-- An erasure is finished once, and nothing of it is ever taken back.
create function bulk_orders.refuse_other_erasure() returns trigger language plpgsql as $$
begin
    raise exception 'what was decided about an erasure does not change' using errcode = 'BO003';
end $$;
create trigger same_erasure before update on bulk_orders.erasures
    for each row when (old.finished_at is not null or new.finished_at is null
                       or (old.erasure_id, old.client, old.note, old.decided_by, old.decided_at)
                          is distinct from (new.erasure_id, new.client, new.note, new.decided_by, new.decided_at))
    execute function bulk_orders.refuse_other_erasure();
create trigger append_only before delete or truncate on bulk_orders.erasures
    for each statement execute function bulk_orders.refuse_change();
create trigger append_only before update or delete or truncate on bulk_orders.erased_rows
    for each statement execute function bulk_orders.refuse_change();

do $$
declare
    found_ record;
begin
    for found_ in select t.tgrelid::regclass as relation, t.tgname as name from pg_trigger t
        where not t.tgisinternal and t.tgrelid in ('bulk_orders.erasures'::regclass, 'bulk_orders.erased_rows'::regclass)
    loop
        execute format('alter table %s enable always trigger %I', found_.relation, found_.name);
    end loop;
end $$;
revoke delete, truncate on bulk_orders.erasures from current_user, public;
revoke update, delete, truncate on bulk_orders.erased_rows from current_user, public;
