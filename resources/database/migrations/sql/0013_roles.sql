-- Database roles, one for each kind of work, none of which can log in: logins are made members of them. What each may do
-- is granted at the end of every upgrade (grants.sql), so that a later migration's tables are granted too.
--   bulk_orders_owner    owns schema, tables and functions; nobody works as it
--   bulk_orders_app      what the pipeline, the command line and the webhook work as; cannot alter the trail
--   bulk_orders_auditor  reads everything but sealed cells and the single orders' customers
--   bulk_orders_health   reads states and counts
-- Roles belong to the server, not to the database: they may be there already. A login without the right to make them goes
-- on without; docs/access.md has the statements for whoever has that right.
do $$
declare
    role_ text;
begin
    if not (select rolsuper or rolcreaterole from pg_roles where rolname = current_user) then
        return;
    end if;
    foreach role_ in array array['bulk_orders_owner', 'bulk_orders_app', 'bulk_orders_auditor', 'bulk_orders_health'] loop
        begin
            if not exists (select from pg_roles where rolname = role_) then
                execute format('create role %I nologin', role_);
            end if;
        exception when duplicate_object or unique_violation then
            null;  -- another database of this server is being made at the same moment
        end;
    end loop;
end $$;
