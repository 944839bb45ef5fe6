-- Last, so that what stands above leaves no events. The trail and what keeps records from going are on ALWAYS: also when a
-- session plays replica, which switches ordinary triggers off; and what the owner need not do with the trail, the owner may
-- not do.

do $$
declare
    found_ record;
begin
    for found_ in
        select t.tgrelid::regclass as relation, t.tgname as name
        from pg_trigger t join pg_proc p on p.oid = t.tgfoid join pg_namespace n on n.oid = p.pronamespace
        where n.nspname = 'bulk_orders' and not t.tgisinternal
              and (p.proname like 'audit%' or p.proname like 'refuse%' or p.proname = 'check_client')
    loop
        execute format('alter table %s enable always trigger %I', found_.relation, found_.name);
    end loop;
end $$;

revoke update, delete, truncate on bulk_orders.audit_events from current_user, public;
revoke delete, truncate on bulk_orders.audit_heads from current_user, public;
revoke update, delete, truncate on bulk_orders.decisions, bulk_orders.effect_attempts, bulk_orders.installation,
    bulk_orders.batch_runs, bulk_orders.client_profiles, bulk_orders.audit_anchors, bulk_orders.near_duplicates
    from current_user, public;

do $$
begin
    if (select rolsuper from pg_roles where rolname = current_user) then
        create event trigger bulk_orders_audit_schema on ddl_command_end execute function bulk_orders.audit_schema();
        create event trigger bulk_orders_audit_drops on sql_drop execute function bulk_orders.audit_schema_drops();
    end if;
end $$;
