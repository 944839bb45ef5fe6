-- What a chain is made of. An event may hold the digest of facts that stay out of the trail themselves (amounts, numbers
-- of the file, remote ids, a person's words): whoever has the facts proves them, the trail tells nothing about them.

alter table bulk_orders.audit_events add column facts bytea;
comment on column bulk_orders.audit_events.facts is 'SHA-256 of what was true of the subjects then, as 0010_subjects.sql spells it.';

drop function bulk_orders.audit_hash(text, bigint, timestamptz, text, text, text, text, text, integer[], bigint, bytea);
drop function bulk_orders.audit_append(text, text, text, integer[], bigint);

-- One field: its length in bytes, a colon, itself; nothing at all is a hyphen.
create function bulk_orders.framed(field text) returns text language sql immutable parallel safe as $$
    select coalesce(octet_length(field) || ':' || field, '-')
$$;

-- Facts come last and only where there are some: an event without them hashes as it always did. In plpgsql, as one plain
-- expression: as a function in SQL, which cannot be put in place of its call, it took twenty times as long.
create function bulk_orders.audit_hash(
    chain text, seq bigint, at timestamptz, actor text, run_id text, code_version text, event text, reason text,
    subjects integer[], amount_jpy bigint, prev_hash bytea, facts bytea default null
) returns bytea language plpgsql immutable parallel safe as $$
declare
    place   text := seq::text;
    moment  text := (date_part('epoch', at) * 1000000)::bigint::text;  -- exact until 2106
    about   text := array_to_string(subjects, ' ');
    jpy     text := amount_jpy::text;
begin
    return sha256(prev_hash || convert_to(
        octet_length(chain) || ':' || chain || ',' || octet_length(place) || ':' || place || ',' ||
        octet_length(moment) || ':' || moment || ',' || octet_length(actor) || ':' || actor || ',' ||
        coalesce(octet_length(run_id) || ':' || run_id, '-') || ',' ||
        coalesce(octet_length(code_version) || ':' || code_version, '-') || ',' ||
        octet_length(event) || ':' || event || ',' || coalesce(octet_length(reason) || ':' || reason, '-') || ',' ||
        coalesce(octet_length(about) || ':' || about, '-') || ',' || coalesce(octet_length(jpy) || ':' || jpy, '-') ||
        coalesce(',64:' || encode(facts, 'hex'), ''), 'UTF8'));
end $$;

create function bulk_orders.audit_facts(told text) returns bytea language sql immutable parallel safe as $$
    select sha256(convert_to(told, 'UTF8'))
$$;

-- Runs as the owner: a role that may change a batch need not be able to write into the trail by itself.
create function bulk_orders.audit_append(
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
    at_ := clock_timestamp();
    insert into bulk_orders.audit_events (chain, seq, at, actor, run_id, code_version, event, reason, subjects, amount_jpy,
                                          prev_hash, facts)
    values (chain_, head.seq + 1, at_, actor_, run_, code_, event_, reason_, subjects_, amount_jpy_, head.hash, facts_)
    returning hash into hash_;
    update bulk_orders.audit_heads h set seq = head.seq + 1, hash = hash_ where h.chain = chain_;
end $$;

-- Whatever is inserted follows from the head as it stands, however it came: so one event at a time. Its hash is made here,
-- and whoever brings one must bring this one.
create function bulk_orders.audit_check() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
declare
    hash_ bytea := bulk_orders.audit_hash(new.chain, new.seq, new.at, new.actor, new.run_id, new.code_version, new.event,
                                          new.reason, new.subjects, new.amount_jpy, new.prev_hash, new.facts);
begin
    if coalesce(new.hash, hash_) = hash_ and exists (
            select from bulk_orders.audit_heads h
            where h.chain = new.chain and h.seq = new.seq - 1 and h.hash = new.prev_hash) then
        new.hash := hash_;
        return new;
    end if;
    raise exception 'an event that does not follow from those before it' using errcode = 'BO002';
end $$;
create trigger audit_check before insert on bulk_orders.audit_events
    for each row execute function bulk_orders.audit_check();
-- What these said is said by the check and by the guard of the heads; read and compiled anew with every statement, they
-- took a fifth of its time.
alter table bulk_orders.audit_events drop constraint audit_events_seq_check, drop constraint audit_events_hash_check,
    drop constraint audit_events_prev_hash_check;
alter table bulk_orders.audit_heads drop constraint audit_heads_hash_check;

-- A head only ever moves forward, to an event that stands there.
create function bulk_orders.audit_guard_head() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'INSERT' then
        if new.seq = 0 and new.hash = decode(repeat('00', 32), 'hex') then
            return new;
        end if;
    elsif new.chain = old.chain and new.seq > old.seq and exists (
            select from bulk_orders.audit_events e where e.chain = new.chain and e.seq = new.seq and e.hash = new.hash) then
        return new;
    end if;
    raise exception 'the head of a chain follows its events: % refused', tg_op using errcode = 'BO002';
end $$;
create trigger audit_guard before insert or update on bulk_orders.audit_heads
    for each row execute function bulk_orders.audit_guard_head();
create trigger audit_no_delete before delete on bulk_orders.audit_heads
    for each row execute function bulk_orders.refuse_change();
create trigger audit_no_truncate before truncate on bulk_orders.audit_heads
    for each statement execute function bulk_orders.refuse_change();

-- The names of columns that differ between two versions of a row, sorted; null when none does.
create function bulk_orders.changed_columns(before jsonb, after jsonb) returns text language sql immutable parallel safe as $$
    select string_agg(a.key, ' ' order by a.key) from jsonb_each(after) a where a.value is distinct from before -> a.key
$$;
