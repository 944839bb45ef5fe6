-- Who watches, what was alerted to, and what was told to whom: kept here so that a restart doubles and loses nothing.

-- -- what is watched ---------------------------------------------------------------------------------------------------

create table bulk_orders.watchers (
    watcher text primary key,
    since   timestamptz not null default clock_timestamp(),
    seen_at timestamptz not null default clock_timestamp()
);
comment on table bulk_orders.watchers is 'When each watcher last looked; `round` is the last look of any. An orderly stop takes its rows away.';

create table bulk_orders.watch_days (
    day             date primary key,
    watched_seconds double precision not null default 0 check (watched_seconds >= 0),
    away_seconds    double precision not null default 0 check (away_seconds >= 0)
);
comment on table bulk_orders.watch_days is 'How long the system was there, and how long nobody came to look although nothing had been stopped (R-49).';

create table bulk_orders.webhook_answers (
    slot     bigint not null,
    up_to_ms integer not null check (up_to_ms > 0),
    answers  integer not null check (answers >= 0),
    primary key (slot, up_to_ms)
);
comment on table bulk_orders.webhook_answers is 'How long our endpoint took to answer, counted per minute and step; old slots go with the next count.';

create table bulk_orders.trail_verifications (
    verification_id bigint generated always as identity primary key,
    verified_at     timestamptz not null default clock_timestamp(),
    chains          integer not null check (chains >= 0),
    events          bigint not null check (events >= 0),
    anchors         integer not null check (anchors >= 0),
    seconds         double precision not null check (seconds >= 0),
    faults          integer not null check (faults >= 0),
    first_fault     text,
    constraint trail_verifications_name_the_fault check ((faults = 0) = (first_fault is null))
);
comment on table bulk_orders.trail_verifications is 'Each verification of the whole trail by the clock, and what it found.';

create function bulk_orders.audit_verifications() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append('system', 'trail:' || case new.faults when 0 then 'verified' else 'not-whole' end,
        concat_ws(' ', new.events || ' events', new.first_fault), array[]::integer[], null);
    return null;
end $$;
create trigger audit after insert on bulk_orders.trail_verifications
    for each row execute function bulk_orders.audit_verifications();
create trigger append_only before update or delete or truncate on bulk_orders.trail_verifications
    for each statement execute function bulk_orders.refuse_change();

-- -- alerts ------------------------------------------------------------------------------------------------------------

create table bulk_orders.alerts (
    alert_id     bigint generated always as identity primary key,
    code         text not null,
    about        text not null default '-',
    facts        jsonb not null default '{}',
    opened_at    timestamptz not null default clock_timestamp(),
    last_seen_at timestamptz not null default clock_timestamp(),
    recovered_at timestamptz
);
comment on table bulk_orders.alerts is 'What was not as it should be, from when to when. Codes, ids and figures only.';
-- One occurrence is one alert, whoever of the watchers sees it first.
create unique index alerts_one_open on bulk_orders.alerts (code, about) where recovered_at is null;
create index alerts_newest on bulk_orders.alerts (opened_at desc);

create table bulk_orders.alert_deliveries (
    delivery_id bigint generated always as identity primary key,
    alert_id    bigint not null references bulk_orders.alerts (alert_id),
    channel     text not null check (channel in ('webhook', 'mail')),
    occasion    text not null check (occasion in ('opened', 'reminder', 'recovered')),
    number      integer not null default 0 check (number >= 0),
    facts       jsonb not null default '{}',
    state       text not null default 'due' check (state in ('due', 'sending', 'sent', 'given_up')),
    attempts    integer not null default 0 check (attempts >= 0),
    not_before  timestamptz not null default clock_timestamp(),
    created_at  timestamptz not null default clock_timestamp(),
    ended_at    timestamptz,
    failure     text,
    -- Nobody is told twice of one occasion.
    constraint alert_deliveries_once unique (alert_id, channel, occasion, number),
    constraint alert_deliveries_end check ((state in ('sent', 'given_up')) = (ended_at is not null))
);
comment on table bulk_orders.alert_deliveries is 'The outbox of alerts: what is to be told on which channel, and how often that was tried.';
create index alert_deliveries_open on bulk_orders.alert_deliveries (not_before) where state in ('due', 'sending');

create function bulk_orders.audit_alerts() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append('system', 'alert:' || case tg_op when 'INSERT' then 'opened' else 'recovered' end,
        concat_ws(' ', new.code, new.about, 'alert-' || new.alert_id), array[]::integer[], null);
    return null;
end $$;
create trigger audit after insert on bulk_orders.alerts
    for each row execute function bulk_orders.audit_alerts();
create trigger audit_state after update on bulk_orders.alerts
    for each row when (old.recovered_at is null and new.recovered_at is not null) execute function bulk_orders.audit_alerts();

create function bulk_orders.audit_deliveries() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append('system', 'alert:' || replace(new.state, '_', '-'),
        concat_ws(' ', 'alert-' || new.alert_id, new.channel, new.occasion, nullif(new.number, 0)), array[]::integer[], null);
    return null;
end $$;
create trigger audit after insert on bulk_orders.alert_deliveries
    for each row execute function bulk_orders.audit_deliveries();
create trigger audit_state after update on bulk_orders.alert_deliveries
    for each row when (old.state <> new.state and new.state in ('sent', 'given_up'))
    execute function bulk_orders.audit_deliveries();

-- What was alerted to stays, and who was told.
create function bulk_orders.refuse_alert_change() returns trigger language plpgsql as $$
begin
    raise exception 'an alert stays as it was: % refused', tg_op using errcode = 'BO003';
end $$;
create trigger no_delete before delete or truncate on bulk_orders.alerts
    for each statement execute function bulk_orders.refuse_alert_change();
create trigger same_alert before update on bulk_orders.alerts
    for each row when (old.recovered_at is not null or (old.alert_id, old.code, old.about, old.opened_at)
                       is distinct from (new.alert_id, new.code, new.about, new.opened_at))
    execute function bulk_orders.refuse_alert_change();
create trigger no_delete before delete or truncate on bulk_orders.alert_deliveries
    for each statement execute function bulk_orders.refuse_alert_change();
create trigger same_delivery before update on bulk_orders.alert_deliveries
    for each row when (old.state in ('sent', 'given_up') or (old.delivery_id, old.alert_id, old.channel, old.occasion, old.number)
                       is distinct from (new.delivery_id, new.alert_id, new.channel, new.occasion, new.number))
    execute function bulk_orders.refuse_alert_change();

-- -- alarms of the webhook ---------------------------------------------------------------------------------------------

create table bulk_orders.webhook_acknowledgements (
    event_id        text primary key,
    finding         text not null check (finding in ('settled-at-service', 'our-record-is-right', 'not-ours')),
    acknowledged_by text not null default coalesce(nullif(current_setting('bulk_orders.actor', true), ''), session_user),
    acknowledged_at timestamptz not null default clock_timestamp()
);
comment on table bulk_orders.webhook_acknowledgements is 'Alarms of the webhook that a person has looked into, and what they found.';

create function bulk_orders.audit_acknowledgements() returns trigger language plpgsql as $$
declare
    alarm bulk_orders.webhook_inbox;
begin
    -- No foreign key: what the inbox itself refuses should be refused by it, not by a reference to it.
    select * into alarm from bulk_orders.webhook_inbox w
    where w.event_id = new.event_id and w.outcome in ('alarm', 'expired');
    if not found then
        raise exception 'there is no such alarm' using errcode = 'BO003';
    end if;
    perform bulk_orders.audit_append(coalesce(alarm.batch_id, 'system:webhooks'), 'alarm:acknowledged', new.finding,
        array[alarm.order_id], alarm.amount_jpy,
        bulk_orders.audit_facts(bulk_orders.framed(new.event_id) || ' ' || bulk_orders.framed(new.acknowledged_by)));
    return null;
end $$;
create trigger audit after insert on bulk_orders.webhook_acknowledgements
    for each row execute function bulk_orders.audit_acknowledgements();
create trigger append_only before update or delete or truncate on bulk_orders.webhook_acknowledgements
    for each statement execute function bulk_orders.refuse_change();

-- -- always on, as what migration 0010 protects --------------------------------------------------------------------------

do $$
declare
    found_ record;
begin
    for found_ in
        select t.tgrelid::regclass as relation, t.tgname as name
        from pg_trigger t join pg_proc p on p.oid = t.tgfoid join pg_namespace n on n.oid = p.pronamespace
        where n.nspname = 'bulk_orders' and not t.tgisinternal and t.tgenabled <> 'A'
              and (p.proname like 'audit%' or p.proname like 'refuse%')
    loop
        execute format('alter table %s enable always trigger %I', found_.relation, found_.name);
    end loop;
end $$;
