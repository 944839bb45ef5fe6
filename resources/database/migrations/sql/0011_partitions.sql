-- What grows with every call, month by month: the trail, and the calls themselves. Whole months can then go (R-47), the
-- table does not slow down with the years, and nothing else is cut: what makes an effect happen once (batches, rows,
-- orders, payments, notifications, events of the service) stays in one piece, unique for ever.

-- The one clock of what is kept by the month.
create function bulk_orders.moment() returns timestamptz language sql volatile as $$ select clock_timestamp() $$;

-- -- partitions ------------------------------------------------------------------------------------------------------

-- Whoever names a partition instead of its table goes past the triggers of the table. Through the table these triggers do
-- not fire: they are of statements, and a statement is about the table that it names.
create function bulk_orders.refuse_partition() returns trigger language plpgsql as $$
begin
    raise exception '% is reached through its table alone: % refused', tg_table_name, tg_op using errcode = 'BO002';
end $$;

-- The partition of a month (UTC) of one of the two tables; true: it was missing. Its name says what it holds.
create function bulk_orders.make_partition(parent_ text, month_ date) returns boolean language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    name_  text := parent_ || to_char(month_, '"_"YYYY"_"MM');
    owner_ name;
begin
    if parent_ not in ('audit_events', 'effect_attempts') or month_ <> date_trunc('month', month_) then
        raise exception 'no such partition' using errcode = 'invalid_parameter_value';
    end if;
    if to_regclass('bulk_orders.' || name_) is not null then
        return false;
    end if;
    execute format('create table bulk_orders.%I partition of bulk_orders.%I for values from (%L) to (%L)', name_, parent_,
                   month_::timestamp at time zone 'UTC', (month_ + interval '1 month') at time zone 'UTC');
    execute format('create trigger partition_guard before insert or update or delete or truncate on bulk_orders.%I
                    for each statement execute function bulk_orders.refuse_partition()', name_);
    execute format('alter table bulk_orders.%I enable always trigger partition_guard', name_);
    select r.rolname into owner_ from pg_class c join pg_roles r on r.oid = c.relowner
    where c.oid = ('bulk_orders.' || name_)::regclass;
    execute format('revoke insert, update, delete, truncate on bulk_orders.%I from public, %I', name_, owner_);
    return true;
end $$;

-- From the month of `from_` on, so many months beside it; how many were missing. It waits for nobody long: whoever works
-- on a batch goes first, and the next start or the next day makes what is missing.
create function bulk_orders.make_partitions(from_ timestamptz, months_ integer) returns integer language plpgsql
security definer set search_path = pg_catalog, pg_temp set lock_timeout = '500ms' as $$
declare
    first_ date := date_trunc('month', from_ at time zone 'UTC');
    made_  integer := 0;
    one_   record;
begin
    for one_ in
        select p.parent, (first_ + make_interval(months => m.n))::date as month
        from (values ('audit_events'), ('effect_attempts')) p (parent), generate_series(0, months_) m (n)
        where to_regclass('bulk_orders.' || p.parent || to_char(first_ + make_interval(months => m.n), '"_"YYYY"_"MM')) is null
        order by 2, 1
    loop
        perform pg_advisory_xact_lock(hashtextextended('partitions', 0));
        perform from bulk_orders.audit_heads h where h.chain = 'system' for update;
        made_ := made_ + bulk_orders.make_partition(one_.parent, one_.month)::integer;
    end loop;
    return made_;
end $$;

-- -- the two tables --------------------------------------------------------------------------------------------------

-- Where the trail tells of changes of the schema, it cannot do so while its own table is exchanged.
create temporary table told_by on commit drop as
    select evtname from pg_event_trigger where evtname like 'bulk\_orders\_audit\_%' and evtenabled <> 'D';
do $$
declare
    name_ text;
begin
    for name_ in select evtname from told_by loop
        execute format('alter event trigger %I disable', name_);
    end loop;
end $$;

-- In a chain, time never goes back: then a month holds whole stretches of chains, also when the clock was set back.
alter table bulk_orders.audit_heads add column at timestamptz not null default '-infinity';
comment on column bulk_orders.audit_heads.at is 'The moment of the last event; no later event of the chain has an earlier one.';

alter table bulk_orders.audit_events rename to audit_events_before;
alter index bulk_orders.audit_events_pkey rename to audit_events_before_pkey;
create table bulk_orders.audit_events (
    like bulk_orders.audit_events_before including constraints including comments,
    primary key (chain, seq, at)
) partition by range (at);
comment on table bulk_orders.audit_events is 'Append-only, by the month. One hash chain per batch: each event holds the hash of the one before.';

alter table bulk_orders.effect_attempts rename to effect_attempts_before;
alter index bulk_orders.effect_attempts_pkey rename to effect_attempts_before_pkey;
alter index bulk_orders.effect_attempts_of_order rename to effect_attempts_before_of_order;
-- A sequence of its own: PostgreSQL 16 knows no identity columns of partitioned tables. And a moment of its own, by the
-- database's clock: where a call is kept must not depend on the clock of whoever made it.
create sequence bulk_orders.effect_attempts_id_seq as bigint;
create table bulk_orders.effect_attempts (
    attempt_id         bigint not null default nextval('bulk_orders.effect_attempts_id_seq'),
    kind               text not null check (kind in ('payments', 'notifications')),
    order_id           integer not null references orders (order_id),
    attempt            integer not null,
    purpose            text not null check (purpose in ('send', 'look_up')),
    lease_epoch        bigint not null,
    started_at         timestamptz not null,
    ended_at           timestamptz not null,
    outcome            text not null,
    reason             text,
    http_status        integer,
    service_request_id text,
    recorded_at        timestamptz not null default bulk_orders.moment(),
    primary key (attempt_id, recorded_at)
) partition by range (recorded_at);
alter sequence bulk_orders.effect_attempts_id_seq owned by bulk_orders.effect_attempts.attempt_id;
comment on table bulk_orders.effect_attempts is 'Every call that came back, by the month: when, what kind of answer. Never its content.';
create index effect_attempts_of_order on bulk_orders.effect_attempts (order_id);

do $$
declare
    oldest_ timestamptz := least((select min(at) from bulk_orders.audit_events_before),
                                 (select min(ended_at) from bulk_orders.effect_attempts_before), bulk_orders.moment());
begin
    perform bulk_orders.make_partitions(oldest_, 3 + (extract(year from age(date_trunc('month', bulk_orders.moment()),
        date_trunc('month', oldest_))) * 12 + extract(month from age(date_trunc('month', bulk_orders.moment()),
        date_trunc('month', oldest_))))::integer);
end $$;
insert into bulk_orders.audit_events select * from bulk_orders.audit_events_before;
insert into bulk_orders.effect_attempts
    select attempt_id, kind, order_id, attempt, purpose, lease_epoch, started_at, ended_at, outcome, reason, http_status,
           service_request_id, ended_at from bulk_orders.effect_attempts_before;
select setval('bulk_orders.effect_attempts_id_seq', coalesce(max(attempt_id), 0) + 1, false) from bulk_orders.effect_attempts;
drop table bulk_orders.audit_events_before;
drop table bulk_orders.effect_attempts_before;

create trigger audit_append_only before update or delete on bulk_orders.audit_events
    for each row execute function bulk_orders.refuse_change();
create trigger audit_no_truncate before truncate on bulk_orders.audit_events
    for each statement execute function bulk_orders.refuse_change();
create trigger audit_check before insert on bulk_orders.audit_events
    for each row execute function bulk_orders.audit_check();
create trigger audit after insert on bulk_orders.effect_attempts
    referencing new table as new_rows for each statement execute function bulk_orders.audit_attempts();
create trigger append_only before update or delete or truncate on bulk_orders.effect_attempts
    for each statement execute function bulk_orders.refuse_change();
alter table bulk_orders.audit_events enable always trigger audit_append_only, enable always trigger audit_no_truncate,
    enable always trigger audit_check;
alter table bulk_orders.effect_attempts enable always trigger audit, enable always trigger append_only;
revoke update, delete, truncate on bulk_orders.audit_events, bulk_orders.effect_attempts from current_user, public;

-- -- the chain over months -------------------------------------------------------------------------------------------

-- As before (0010_chains.sql), but that a moment is never before the last one of its chain.
create or replace function bulk_orders.audit_append(
    chain_ text, event_ text, reason_ text, subjects_ integer[], amount_jpy_ bigint, facts_ bytea default null
) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    head   bulk_orders.audit_heads;
    at_    timestamptz;
    actor_ text := coalesce(nullif(current_setting('bulk_orders.actor', true), ''), 'database:' || session_user);
    run_   text := nullif(current_setting('bulk_orders.run_id', true), '');
    code_  text := nullif(current_setting('bulk_orders.code_version', true), '');
    hash_  bytea;
begin
    select * into head from bulk_orders.audit_heads h where h.chain = chain_ for update;
    if not found then
        insert into bulk_orders.audit_heads values (chain_, 0, decode(repeat('00', 32), 'hex')) on conflict do nothing;
        select * into head from bulk_orders.audit_heads h where h.chain = chain_ for update;
    end if;
    at_ := greatest(bulk_orders.moment(), head.at);
    insert into bulk_orders.audit_events (chain, seq, at, actor, run_id, code_version, event, reason, subjects, amount_jpy,
                                          prev_hash, facts)
    values (chain_, head.seq + 1, at_, actor_, run_, code_, event_, reason_, subjects_, amount_jpy_, head.hash, facts_)
    returning hash into hash_;
    update bulk_orders.audit_heads h set seq = head.seq + 1, hash = hash_, at = at_ where h.chain = chain_;
end $$;
create or replace function bulk_orders.audit_check() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    hash_ bytea := bulk_orders.audit_hash(new.chain, new.seq, new.at, new.actor, new.run_id, new.code_version, new.event,
                                          new.reason, new.subjects, new.amount_jpy, new.prev_hash, new.facts);
begin
    if coalesce(new.hash, hash_) = hash_ and exists (
            select from bulk_orders.audit_heads h
            where h.chain = new.chain and h.seq = new.seq - 1 and h.hash = new.prev_hash and h.at <= new.at) then
        new.hash := hash_;
        return new;
    end if;
    raise exception 'an event that does not follow from those before it' using errcode = 'BO002';
end $$;

-- A head only ever moves forward, to an event that stands there: looked for in its month alone.
create or replace function bulk_orders.audit_guard_head() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'INSERT' then
        if new.seq = 0 and new.hash = decode(repeat('00', 32), 'hex') then
            return new;
        end if;
    elsif new.chain = old.chain and new.seq > old.seq and new.at >= old.at then
        if exists (select from bulk_orders.audit_events e
                   where e.chain = new.chain and e.seq = new.seq and e.at = new.at and e.hash = new.hash) then
            return new;
        elsif exists (select from bulk_orders.audit_events e
                      where e.chain = new.chain and e.seq = new.seq and e.at >= new.at and e.hash = new.hash) then
            return new;  -- moved by hand, without its moment
        end if;
    end if;
    raise exception 'the head of a chain follows its events: % refused', tg_op using errcode = 'BO002';
end $$;

do $$
declare
    name_ text;
begin
    for name_ in select evtname from told_by loop
        execute format('alter event trigger %I enable', name_);
    end loop;
    if exists (select from bulk_orders.audit_events) then
        perform bulk_orders.audit_append('system', 'schema:partitioned', 'audit_events effect_attempts', array[]::integer[], null);
    end if;
end $$;
