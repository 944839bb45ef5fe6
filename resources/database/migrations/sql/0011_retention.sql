-- What may go, when, and what may not (R-47). Nothing is dropped whose signed export does not stand here; nothing is
-- destroyed without an event before and after it; a hold keeps everything it names where it is.

create table bulk_orders.legal_holds (
    hold_id   bigint generated always as identity primary key,
    scope     text not null check (scope in ('batch', 'client', 'category')),
    subject   text not null check (length(subject) between 1 and 128),
    note      text not null check (length(note) between 1 and 200),
    set_by    text not null
        default coalesce(nullif(current_setting('bulk_orders.actor', true), ''), 'database:' || session_user),
    set_at    timestamptz not null default clock_timestamp(),
    lifted_by text,
    lifted_at timestamptz,
    constraint legal_holds_lifted_by_somebody check ((lifted_by is null) = (lifted_at is null))
);
comment on table bulk_orders.legal_holds is 'What must not go, whatever its age: a batch, all of a client, a whole category. Lifted, never deleted.';
create unique index legal_holds_in_force on bulk_orders.legal_holds (scope, subject) where lifted_at is null;

create table bulk_orders.exports (
    partition    text primary key,
    category     text not null check (category in ('trail', 'attempts')),
    month        date not null,
    rows         bigint not null check (rows >= 0),
    manifest     text not null,
    signature    bytea not null,
    exported_at  timestamptz not null default clock_timestamp(),
    dropped_at   timestamptz,
    destroying_at timestamptz,
    destroyed_at timestamptz,
    constraint exports_one_per_month unique (category, month),
    constraint exports_go_step_by_step check
        ((destroying_at is null or dropped_at is not null) and (destroyed_at is null or destroying_at is not null))
);
comment on table bulk_orders.exports is 'Months that stand in cold storage, each with its signed manifest; what was dropped here, and what was destroyed there.';
comment on column bulk_orders.exports.destroying_at is 'When its destruction began; from then on nobody misses the file.';

create table bulk_orders.exported_chains (
    chain      text not null,
    partition  text not null references bulk_orders.exports (partition),
    first_seq  bigint not null check (first_seq >= 1),
    first_prev bytea not null check (length(first_prev) = 32),
    last_seq   bigint not null check (last_seq >= first_seq),
    last_hash  bytea not null check (length(last_hash) = 32),
    primary key (chain, partition)
);
comment on table bulk_orders.exported_chains is 'Where each chain enters and leaves an exported month: what its later events are held against.';

create table bulk_orders.emptied_batches (
    batch_id  text not null references bulk_orders.batches (batch_id),
    category  text not null check (category in ('personal', 'files')),
    began_at  timestamptz not null default clock_timestamp(),
    ended_at  timestamptz,
    primary key (batch_id, category)
);
comment on table bulk_orders.emptied_batches is 'Batches whose personal data, or whose files, were destroyed when their time was over.';

-- Where a chain goes on here: after the last event of it that was dropped.
create view bulk_orders.chain_starts as
    select distinct on (c.chain) c.chain, c.last_seq as seq, c.last_hash as hash
    from bulk_orders.exported_chains c join bulk_orders.exports x using (partition)
    where x.dropped_at is not null order by c.chain, c.last_seq desc;

-- -- dropping --------------------------------------------------------------------------------------------------------

-- The one way by which events leave the database: a whole month, exported, that holds what was exported. In one
-- transaction with its event: there is no moment at which it is detached and unguarded. It waits for nobody long.
create function bulk_orders.drop_exported(partition_ text) returns void language plpgsql security definer
set search_path = pg_catalog, pg_temp set lock_timeout = '500ms' as $$
declare
    export_ bulk_orders.exports;
    rows_   bigint;
    parent_ text;
begin
    select * into export_ from bulk_orders.exports x where x.partition = partition_ for update;
    if not found then
        raise exception 'not exported: %', partition_ using errcode = 'BO003';
    end if;
    if export_.dropped_at is not null then
        return;
    end if;
    parent_ := case export_.category when 'trail' then 'audit_events' else 'effect_attempts' end;
    if partition_ <> parent_ || to_char(export_.month, '"_"YYYY"_"MM')
       or export_.month + interval '3 months' > bulk_orders.moment() at time zone 'UTC' then
        raise exception 'not a month that is over: %', partition_ using errcode = 'BO003';
    end if;
    -- In the order in which an event takes them: the end of the chain that will tell of it, then the table.
    perform from bulk_orders.audit_heads h where h.chain = 'system' for update;
    execute format('lock table bulk_orders.%I in access exclusive mode', parent_);
    execute format('select count(*) from bulk_orders.%I', partition_) into rows_;
    if rows_ <> export_.rows then
        raise exception '% does not hold what was exported', partition_ using errcode = 'BO003';
    end if;
    execute format('drop table bulk_orders.%I', partition_);
    update bulk_orders.exports x set dropped_at = clock_timestamp() where x.partition = partition_;
end $$;

-- A month onto cheaper disks, its indexes too. Nobody waits for it long, and whoever reads it meanwhile waits for it.
create function bulk_orders.warm_partition(partition_ text, tablespace_ text) returns void language plpgsql security definer
set search_path = pg_catalog, pg_temp set lock_timeout = '500ms' as $$
declare
    index_ text;
begin
    if not exists (select from pg_inherits i where i.inhrelid = to_regclass('bulk_orders.' || partition_)
                   and i.inhparent in ('bulk_orders.audit_events'::regclass, 'bulk_orders.effect_attempts'::regclass)) then
        raise exception 'no such partition' using errcode = 'invalid_parameter_value';
    end if;
    perform from bulk_orders.audit_heads h where h.chain = 'system' for update;
    execute format('alter table bulk_orders.%I set tablespace %I', partition_, tablespace_);
    for index_ in select i.indexrelid::regclass::text from pg_index i
                  where i.indrelid = to_regclass('bulk_orders.' || partition_) loop
        execute format('alter index %s set tablespace %I', index_, tablespace_);
    end loop;
end $$;

-- -- events ----------------------------------------------------------------------------------------------------------

create function bulk_orders.audit_holds() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append('system', 'hold:' || case tg_op when 'INSERT' then 'set' else 'lifted' end,
        concat_ws(' ', 'hold-' || new.hold_id, new.scope, new.subject), array[]::integer[], null,
        bulk_orders.audit_facts(bulk_orders.framed(new.note)));
    return null;
end $$;
create trigger audit after insert or update on bulk_orders.legal_holds
    for each row execute function bulk_orders.audit_holds();

create function bulk_orders.audit_exports() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append('system', 'retention:' || case when tg_op = 'INSERT' then 'exported'
            when old.dropped_at is null and new.dropped_at is not null then 'dropped'
            when old.destroying_at is null and new.destroying_at is not null then 'destroying' else 'destroyed' end,
        new.partition, array[]::integer[], null, bulk_orders.audit_facts(new.manifest));
    return null;
end $$;
create trigger audit after insert or update on bulk_orders.exports
    for each row execute function bulk_orders.audit_exports();

create function bulk_orders.audit_emptied() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append(new.batch_id, 'retention:' || case tg_op when 'INSERT' then 'destroying' else 'destroyed' end,
                                     new.category, array[]::integer[], null);
    return null;
end $$;
create trigger audit after insert or update on bulk_orders.emptied_batches
    for each row execute function bulk_orders.audit_emptied();

-- -- what stays ------------------------------------------------------------------------------------------------------

create function bulk_orders.refuse_retention_change() returns trigger language plpgsql as $$
declare
    steps_ text[] := case tg_table_name when 'legal_holds' then array['lifted_by', 'lifted_at']
        when 'exports' then array['dropped_at', 'destroying_at', 'destroyed_at'] when 'emptied_batches' then array['ended_at']
        else array[]::text[] end;
    step_ text;
begin
    if tg_op = 'UPDATE' and to_jsonb(old) - steps_ = to_jsonb(new) - steps_ and old is distinct from new then
        foreach step_ in array steps_ loop  -- taken once, and not taken back
            if to_jsonb(old) ->> step_ is not null and to_jsonb(old) -> step_ <> to_jsonb(new) -> step_ then
                raise exception 'a step of retention was taken already' using errcode = 'BO003';
            end if;
        end loop;
        return new;
    end if;
    raise exception 'what retention knows does not change: % refused', tg_op using errcode = 'BO003';
end $$;
do $$
declare
    table_ text;
begin
    foreach table_ in array array['legal_holds', 'exports', 'exported_chains', 'emptied_batches'] loop
        execute format('create trigger step_by_step before update or delete on bulk_orders.%I
                        for each row execute function bulk_orders.refuse_retention_change()', table_);
        execute format('create trigger no_truncate before truncate on bulk_orders.%I
                        for each statement execute function bulk_orders.refuse_change()', table_);
        execute format('alter table bulk_orders.%I enable always trigger step_by_step, enable always trigger no_truncate', table_);
        execute format('revoke delete, truncate on bulk_orders.%I from current_user, public', table_);
        if table_ <> 'exported_chains' then
            execute format('alter table bulk_orders.%I enable always trigger audit', table_);
        end if;
    end loop;
end $$;
