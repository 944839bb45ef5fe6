-- The system's own chain, `system`: settings, profiles, keys, breakers, rules, the schema itself, anchors. And what a run
-- began with: who launched it, by which configuration.

create table bulk_orders.installation (
    one             boolean primary key default true check (one),
    installation_id uuid not null default gen_random_uuid(),
    since           timestamptz not null default clock_timestamp()
);
comment on table bulk_orders.installation is 'Whose trail this is: an anchor of another installation is a foreign one.';
insert into bulk_orders.installation default values;

create table bulk_orders.settings_in_force (
    variable text primary key,
    value    text,
    since    timestamptz not null default clock_timestamp()
);
comment on table bulk_orders.settings_in_force is 'The settings that the last run began with. Secrets as `set`, addresses without their passwords.';

create table bulk_orders.configurations (
    sha256     bytea primary key check (length(sha256) = 32),
    settings   text not null,
    first_seen timestamptz not null default clock_timestamp(),
    constraint configurations_named_by_content check (sha256 = sha256(convert_to(settings, 'UTF8')))
);
comment on table bulk_orders.configurations is 'Every set of settings that a run began with, as canonical JSON, secrets masked.';

create table bulk_orders.batch_runs (
    run_id        text not null,
    batch_id      text not null references bulk_orders.batches (batch_id),
    job           text not null,
    launched_by   text not null,
    run_config    text not null,
    configuration bytea not null references bulk_orders.configurations (sha256),
    code_version  text not null,
    started_at    timestamptz not null default clock_timestamp(),
    primary key (run_id, batch_id)
);
comment on table bulk_orders.batch_runs is 'Who launched a run of Dagster on a batch, with which configuration: from runs to batches and back.';
create index batch_runs_of_batch on bulk_orders.batch_runs (batch_id, started_at);

create table bulk_orders.client_profiles (
    profile_id bigint generated always as identity primary key,
    client     text not null,
    version    text,
    content    jsonb not null,
    since      timestamptz not null default clock_timestamp()
);
comment on table bulk_orders.client_profiles is 'By which profile the files of a client were read, from when on. Version null: none.';
create index client_profiles_of_client on bulk_orders.client_profiles (client, profile_id desc);

create table bulk_orders.audit_anchors (
    number    bigint primary key check (number >= 1),
    body      text not null,
    signature bytea not null,
    heads     jsonb not null,
    made_at   timestamptz not null default clock_timestamp()
);
comment on table bulk_orders.audit_anchors is 'A copy of each anchor; the ones that count are files outside this database.';

-- -- events ----------------------------------------------------------------------------------------------------------

create function bulk_orders.audit_settings() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append('system', 'setting:changed', r.variable, array[]::integer[], null,
                                     bulk_orders.audit_facts(bulk_orders.framed(r.variable) || ' ' || bulk_orders.framed(r.value)))
    from new_rows r order by r.variable;
    return null;
end $$;
create trigger audit after insert on bulk_orders.settings_in_force
    referencing new table as new_rows for each statement execute function bulk_orders.audit_settings();
create trigger audit_changes after update on bulk_orders.settings_in_force
    referencing new table as new_rows for each statement execute function bulk_orders.audit_settings();

create function bulk_orders.audit_runs() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append(new.batch_id, 'run:started', new.job, array[]::integer[], null,
        bulk_orders.audit_facts(concat_ws(' ', bulk_orders.framed(new.run_id), bulk_orders.framed(new.job),
            bulk_orders.framed(new.launched_by), encode(new.configuration, 'hex'), bulk_orders.framed(new.run_config))));
    return null;
end $$;
create trigger audit after insert on bulk_orders.batch_runs
    for each row execute function bulk_orders.audit_runs();

-- A file read by another profile than the client's file before: noticed in the transaction that stores its rows.
create function bulk_orders.audit_profile_used() returns trigger language plpgsql as $$
declare
    last bulk_orders.client_profiles;
begin
    perform pg_advisory_xact_lock(hashtextextended('profile:' || new.client, 0));
    select * into last from bulk_orders.client_profiles p where p.client = new.client order by p.profile_id desc limit 1;
    if last.version is distinct from new.reading ->> 'profile_version' then
        insert into bulk_orders.client_profiles (client, version, content)
        values (new.client, new.reading ->> 'profile_version', coalesce(new.reading -> 'profile', '{}'));
    end if;
    return null;
end $$;
create trigger profile_used after update of reading on bulk_orders.batches
    for each row when (new.reading is not null and old.reading is distinct from new.reading)
    execute function bulk_orders.audit_profile_used();

create function bulk_orders.audit_profiles() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append('system', 'profile:changed', concat_ws(' ', new.client, coalesce(new.version, '-')),
                                     array[]::integer[], null);
    return null;
end $$;
create trigger audit after insert on bulk_orders.client_profiles
    for each row execute function bulk_orders.audit_profiles();

create function bulk_orders.audit_keys() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append('system', 'key:' || case tg_op when 'INSERT' then 'admitted' when 'UPDATE' then 'changed'
                                     else 'removed' end, coalesce(new.key_id, old.key_id), array[]::integer[], null);
    return null;
end $$;
create trigger audit after insert or update or delete on bulk_orders.encryption_keys
    for each row execute function bulk_orders.audit_keys();

create function bulk_orders.audit_breakers() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append('system', 'breaker:' || new.state, concat_ws(' ', new.service, new.reason),
                                     array[]::integer[], null);
    return null;
end $$;
create trigger audit after insert on bulk_orders.breakers
    for each row when (new.state <> 'closed') execute function bulk_orders.audit_breakers();
create trigger audit_state after update of state on bulk_orders.breakers
    for each row when (old.state <> new.state) execute function bulk_orders.audit_breakers();

create function bulk_orders.audit_rules() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append('system', 'rule:' || lower(tg_op), null, array[]::integer[], null);
    return null;
end $$;
create trigger audit after insert or update or delete or truncate on bulk_orders.state_transitions
    for each statement execute function bulk_orders.audit_rules();

create function bulk_orders.audit_anchored() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append('system', 'anchor:made', 'anchor-' || new.number, array[]::integer[], null,
                                     bulk_orders.audit_facts(new.body));
    return null;
end $$;
create trigger audit after insert on bulk_orders.audit_anchors
    for each row execute function bulk_orders.audit_anchored();

-- -- append-only -----------------------------------------------------------------------------------------------------

create trigger append_only before update or delete or truncate on bulk_orders.installation
    for each statement execute function bulk_orders.refuse_change();
create trigger append_only before update or delete or truncate on bulk_orders.configurations
    for each statement execute function bulk_orders.refuse_change();
create trigger append_only before update or delete or truncate on bulk_orders.batch_runs
    for each statement execute function bulk_orders.refuse_change();
create trigger append_only before update or delete or truncate on bulk_orders.client_profiles
    for each statement execute function bulk_orders.refuse_change();
create trigger append_only before update or delete or truncate on bulk_orders.audit_anchors
    for each statement execute function bulk_orders.refuse_change();
create trigger append_only before delete or truncate on bulk_orders.settings_in_force
    for each statement execute function bulk_orders.refuse_change();
create trigger no_delete before delete or truncate on bulk_orders.breakers
    for each statement execute function bulk_orders.refuse_change();
create trigger no_truncate before truncate on bulk_orders.encryption_keys
    for each statement execute function bulk_orders.refuse_change();

-- -- the schema itself -----------------------------------------------------------------------------------------------

-- A trigger that is switched off, a column that is added, a function that is replaced: what holds the trail up is in the
-- trail. Only a superuser can have PostgreSQL tell of such changes; where we are none, `audit verify` still says which
-- guard is missing or off.
create function bulk_orders.audit_schema() returns event_trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    change record;
begin
    if to_regclass('bulk_orders.audit_events') is null then
        return;
    end if;
    for change in
        select distinct lower(replace(c.command_tag, ' ', '-')) as tag, c.object_identity
        from pg_event_trigger_ddl_commands() c
        where c.schema_name = 'bulk_orders'
           or c.objid in (select t.tgrelid from pg_trigger t where t.tgname = 'audit')
        order by 1, 2
    loop
        perform bulk_orders.audit_append('system', 'schema:' || change.tag, change.object_identity, array[]::integer[], null);
    end loop;
end $$;
create function bulk_orders.audit_schema_drops() returns event_trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    change record;
begin
    if to_regclass('bulk_orders.audit_events') is null then
        return;
    end if;
    for change in
        select distinct replace(d.object_type, ' ', '-') as kind, d.object_identity
        from pg_event_trigger_dropped_objects() d
        where d.original and not d.is_temporary and (d.schema_name = 'bulk_orders' or d.object_identity like '% on %.payments'
              or d.object_identity like '% on %.orders')
        order by 1, 2
    loop
        perform bulk_orders.audit_append('system', 'schema:drop-' || change.kind, change.object_identity,
                                         array[]::integer[], null);
    end loop;
end $$;
