-- The check of an event moves the head itself: looking for the head, moving it and looking for the event once more took
-- a fifth of the trail's time. Each was done in a statement of its own, for every event.

-- The three belong together: with one of them new no event could be written, not even that of the change of the next.
create temporary table silenced on commit drop as
    select evtname from pg_event_trigger where evtname like 'bulk\_orders\_audit\_%' and evtenabled <> 'D';
do $$
declare
    name_ text;
begin
    for name_ in select evtname from silenced loop
        execute format('alter event trigger %I disable', name_);
    end loop;
end $$;

create or replace function bulk_orders.audit_append(
    chain_ text, event_ text, reason_ text, subjects_ integer[], amount_jpy_ bigint, facts_ bytea default null
) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    head bulk_orders.audit_heads;
begin
    select * into head from bulk_orders.audit_heads h where h.chain = chain_ for update;
    if not found then
        insert into bulk_orders.audit_heads values (chain_, 0, decode(repeat('00', 32), 'hex')) on conflict do nothing;
        select * into head from bulk_orders.audit_heads h where h.chain = chain_ for update;
    end if;
    insert into bulk_orders.audit_events (chain, seq, at, actor, run_id, code_version, event, reason, subjects, amount_jpy,
                                          prev_hash, facts)
    values (chain_, head.seq + 1, greatest(bulk_orders.moment(), head.at),
            coalesce(nullif(current_setting('bulk_orders.actor', true), ''), 'database:' || session_user),
            nullif(current_setting('bulk_orders.run_id', true), ''),
            nullif(current_setting('bulk_orders.code_version', true), ''),
            event_, reason_, subjects_, amount_jpy_, head.hash, facts_);
end $$;

-- Whatever is inserted follows from the head as it stands, however it came, and is the head from then on.
create or replace function bulk_orders.audit_check() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    hash_ bytea := bulk_orders.audit_hash(new.chain, new.seq, new.at, new.actor, new.run_id, new.code_version, new.event,
                                          new.reason, new.subjects, new.amount_jpy, new.prev_hash, new.facts);
begin
    if coalesce(new.hash, hash_) = hash_ then
        update bulk_orders.audit_heads h set seq = new.seq, hash = hash_, at = new.at
        where h.chain = new.chain and h.seq = new.seq - 1 and h.hash = new.prev_hash and h.at <= new.at;
        if found then
            new.hash := hash_;
            return new;
        end if;
    end if;
    raise exception 'an event that does not follow from those before it' using errcode = 'BO002';
end $$;

-- A head only ever moves forward: with the event that moves it, or to one that stands there.
create or replace function bulk_orders.audit_guard_head() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'INSERT' then
        if new.seq = 0 and new.hash = decode(repeat('00', 32), 'hex') then
            return new;
        end if;
    elsif new.chain = old.chain and new.seq > old.seq and new.at >= old.at then
        if pg_trigger_depth() > 1 and new.seq = old.seq + 1 then
            return new;  -- by the check: the event is about to stand there, or nothing of this happens
        elsif exists (select from bulk_orders.audit_events e
                      where e.chain = new.chain and e.seq = new.seq and e.at >= new.at and e.hash = new.hash) then
            return new;  -- moved by hand
        end if;
    end if;
    raise exception 'the head of a chain follows its events: % refused', tg_op using errcode = 'BO002';
end $$;

do $$
declare
    name_ text;
begin
    for name_ in select evtname from silenced loop
        execute format('alter event trigger %I enable', name_);
    end loop;
    if exists (select from silenced) then
        perform bulk_orders.audit_append('system', 'schema:create-function', 'audit_append audit_check audit_guard_head',
                                         array[]::integer[], null);
    end if;
end $$;
