-- Who may do what in the database, granted anew at the end of each upgrade. Whoever may not grant goes on without.
-- A table that is not listed is a mistake that a test finds; until then the application may use it and nobody else.

create temporary table wanted (relation text primary key, app text not null, auditor boolean not null, health boolean not null)
    on commit drop;
insert into wanted values
    -- The trail: written by triggers and by functions of the owner alone.
    ('audit_events',      'select',                 true,  false),
    ('audit_heads',       'select',                 true,  true),
    ('audit_anchors',     'select, insert',         true,  true),
    ('configurations',    'select, insert',         true,  false),
    ('batch_runs',        'select, insert',         true,  false),
    ('client_profiles',   'select, insert',         true,  false),
    ('decisions',         'select, insert',         true,  false),
    ('installation',      'select',                 true,  false),
    ('settings_in_force', 'select, insert, update', true,  false),
    ('state_transitions', 'select',                 true,  false),
    ('alembic_version',   'select',                 true,  true),
    -- Batches and what becomes of them: never deleted.
    ('batches',           'select, insert, update', true,  true),
    ('import_rows',       'select, insert, update', true,  false),
    ('orders',            'select, insert, update', true,  false),
    ('payments',          'select, insert, update', true,  true),
    ('notifications',     'select, insert, update', true,  true),
    ('effect_attempts',   'select, insert',         true,  true),
    ('near_duplicates',   'select, insert',         true,  false),
    ('repairs',           'select, insert, update', true,  false),
    ('webhook_inbox',     'select, insert, update', true,  true),
    ('encryption_keys',   'select, insert, update', true,  false),
    -- Backups and what is known after one was restored: written by the owner, but for a person's word.
    ('backups',           'select',                 true,  true),
    ('restorations',      'select, update',         true,  true),
    -- What may go, what may not, and what went: a month of the trail goes by a function of the owner alone.
    ('legal_holds',       'select, insert, update', true,  true),
    ('exports',           'select, insert, update', true,  true),
    ('exported_chains',   'select, insert',         true,  false),
    ('chain_starts',      'select',                 true,  true),
    ('emptied_batches',   'select, insert, update', true,  true),
    -- What processes share while they work.
    ('rate_permits',      'select, insert, update', false, true),
    ('breakers',          'select, insert, update', true,  true),
    ('breaker_windows',   'select, insert, update, delete', false, true),
    -- Erased persons.
    ('erasures',          'select, insert, update', true,  false),
    ('erased_rows',       'select, insert',         true,  false),
    -- The watch over the service levels.
    ('watchers',            'select, insert, update, delete', true, true),
    ('watch_days',          'select, insert, update, delete', true, true),
    ('webhook_answers',     'select, insert, update, delete', true, true),
    ('trail_verifications', 'select, insert',                 true, true),
    ('alerts',              'select, insert, update',         true, true),
    ('alert_deliveries',    'select, insert, update',         true, true),
    ('webhook_acknowledgements', 'select, insert',            true, true);

-- What nobody but the application reads: sealed cells, key material, the customers of single orders.
create temporary table hidden (relation text, column_ text) on commit drop;
insert into hidden values
    ('import_rows', 'cells'), ('encryption_keys', 'check_value'), ('encryption_keys', 'index_keys'),
    ('orders', 'customer_name'), ('orders', 'customer_email');

do $$
declare
    legacy_   text := (select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace
                       where c.oid = to_regclass('orders'));
    is_super_ boolean := (select rolsuper from pg_roles where rolname = current_user);
    one_      record;
begin
    if (select count(*) from pg_roles where rolname in
            ('bulk_orders_owner', 'bulk_orders_app', 'bulk_orders_auditor', 'bulk_orders_health')) < 4 then
        return;
    end if;

    -- What writes events runs as the owner: whoever changes an order, also the single-order system with a login of its own,
    -- needs no right on our tables for the event that this leaves. Not the checks of single rows: each call costs a little.
    for one_ in
        select p.oid::regprocedure as function_ from pg_proc p join pg_namespace n on n.oid = p.pronamespace
        where n.nspname = 'bulk_orders' and p.prorettype = 'trigger'::regtype and p.prosrc like '%audit_append%'
              and not (p.prosecdef and p.proconfig is not null)
    loop
        execute format('alter function %s security definer set search_path = bulk_orders, %I, pg_temp',
                       one_.function_, legacy_);
    end loop;

    -- Nobody has anything unless it is granted here.
    revoke all on schema bulk_orders from public;
    revoke all on all tables in schema bulk_orders from public, bulk_orders_app, bulk_orders_auditor, bulk_orders_health;
    revoke all on all functions in schema bulk_orders from public, bulk_orders_app, bulk_orders_auditor, bulk_orders_health;
    grant usage on schema bulk_orders to bulk_orders_app, bulk_orders_auditor, bulk_orders_health;
    grant execute on all functions in schema bulk_orders to bulk_orders_app;
    grant execute on all functions in schema bulk_orders to bulk_orders_auditor;
    revoke execute on function bulk_orders.audit_append(text, text, text, integer[], bigint, bytea) from bulk_orders_auditor;

    for one_ in
        select c.oid::regclass as relation, c.relname, c.relnamespace = to_regnamespace('bulk_orders') as ours,
               coalesce(w.app, 'select, insert, update, delete') as app, coalesce(w.auditor, false) as auditor,
               coalesce(w.health, false) as health,
               (select string_agg(quote_ident(a.attname), ', ' order by a.attnum) from pg_attribute a
                where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                      and not exists (select from hidden h where h.relation = c.relname and h.column_ = a.attname)) as columns_
        from pg_class c left join wanted w on w.relation = c.relname
        where c.relkind in ('r', 'p', 'v') and not c.relispartition
              and (c.relnamespace = to_regnamespace('bulk_orders') or c.oid in (to_regclass('orders'), to_regclass('payments')))
    loop
        execute format('grant %s on %s to bulk_orders_app', one_.app, one_.relation);
        if one_.auditor then
            execute format('grant select (%s) on %s to bulk_orders_auditor', one_.columns_, one_.relation);
        end if;
        if one_.health then
            execute format('grant select (%s) on %s to bulk_orders_health', one_.columns_, one_.relation);
        end if;
        -- The legacy tables stay whose they are.
        if is_super_ and one_.ours and one_.relname not in ('orders', 'payments') then
            execute format('alter table %s owner to bulk_orders_owner', one_.relation);
        end if;
    end loop;

    -- The numbers of new orders and payments; identity columns need nothing.
    for one_ in
        select c.oid::regclass as sequence from pg_class c join pg_depend d on d.objid = c.oid and d.deptype = 'a'
        where c.relkind = 'S' and d.refobjid in (to_regclass('orders'), to_regclass('payments'), to_regclass('bulk_orders.effect_attempts'))
    loop
        execute format('grant usage on sequence %s to bulk_orders_app', one_.sequence);
    end loop;

    if is_super_ then
        grant select on orders, payments to bulk_orders_owner;
        alter schema bulk_orders owner to bulk_orders_owner;
        for one_ in
            select p.oid::regprocedure as function_ from pg_proc p
            where p.pronamespace = to_regnamespace('bulk_orders') and not exists
                (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')
            -- Each of these changes is told by a function that runs as its owner: those last, after what they call.
            order by p.prosecdef, p.proname <> 'audit_append'
        loop
            execute format('alter function %s owner to bulk_orders_owner', one_.function_);
        end loop;
        for one_ in
            select c.oid::regclass as relation from pg_class c
            where c.relnamespace = to_regnamespace('bulk_orders') and c.relispartition
        loop
            execute format('alter table %s owner to bulk_orders_owner', one_.relation);
        end loop;
    end if;
end $$;

-- A single order that is deleted is looked for in the tables that point at it, in the name of their owner and with a lock,
-- which needs a right to update some column. The triggers of these tables refuse every update all the same.
do $$
declare
    one_ record;
begin
    for one_ in
        select c.conrelid::regclass as relation, r.relowner::regrole as owner, a.attname as column_
        from pg_constraint c join pg_class r on r.oid = c.conrelid
        join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
        where c.contype = 'f' and c.connamespace = to_regnamespace('bulk_orders') and not r.relispartition
              and not has_any_column_privilege(r.relowner, c.conrelid, 'update')
    loop
        execute format('grant update (%I) on %s to %s', one_.column_, one_.relation, one_.owner);
    end loop;
end $$;
