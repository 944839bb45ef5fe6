-- A database that was restored from a backup does not know what happened after it. What it would do next may be done
-- already: nothing of before is sent until it was looked up, and nothing new is paid until a person said so.

create table bulk_orders.restorations (
    number         integer primary key check (number >= 1),
    backup_at      timestamptz not null,
    restored_at    timestamptz not null default clock_timestamp(),
    last_order_id  integer not null,
    settles_at     timestamptz not null,
    last_anchor    bigint not null,
    lost_anchors_to bigint not null,
    lost_batches   text[] not null,
    statement      text not null,
    signature      bytea not null,
    reconciled_at  timestamptz,
    reconciled_by  text,
    note           text check (length(note) between 1 and 200),
    constraint restorations_lose_forward check (lost_anchors_to >= last_anchor),
    constraint restorations_reconciled_by_somebody check
        ((reconciled_at is null) = (reconciled_by is null) and (reconciled_at is null) = (note is null))
);
comment on table bulk_orders.restorations is 'Each time this database was restored from a backup, and what may have happened between.';
comment on column bulk_orders.restorations.backup_at is 'What the backup knows ends here.';
comment on column bulk_orders.restorations.last_order_id is 'Orders up to this one are from before; ids after it are skipped far enough that no lost order had one.';
comment on column bulk_orders.restorations.settles_at is 'When calls of before can no longer arrive: an absence means something from then on.';
comment on column bulk_orders.restorations.lost_anchors_to is 'Anchors after last_anchor, up to this one, tell of the history that was lost.';
comment on column bulk_orders.restorations.lost_batches is 'Batches that those anchors or the archive know and this database does not.';

alter table payments add column recheck boolean not null default false;
alter table bulk_orders.notifications add column recheck boolean not null default false;
comment on column bulk_orders.notifications.recheck is 'What became of it after the backup is not known: it is looked up before anything is sent.';

insert into bulk_orders.state_transitions values
    ('effect', 'planned', 'unknown'), ('effect', 'retry_wait', 'unknown'),
    ('effect', 'rejected', 'unknown'), ('effect', 'review', 'unknown')
on conflict do nothing;

-- Whoever would try an effect of before the restoration again (a redrive, a person who decides about a review) puts it in
-- doubt instead. And should anything ever try to send one: refused here, at the last moment.
create function bulk_orders.recheck_first() returns trigger language plpgsql as $$
declare
    last bulk_orders.restorations;
begin
    if new.state = 'sending' then
        raise exception 'an effect of before a restoration is looked up before it is sent' using errcode = 'BO004';
    end if;
    select * into last from bulk_orders.restorations r order by r.number desc limit 1;
    new.state := 'unknown';
    new.looks := 0;
    new.absent_looks := 0;
    new.not_before := clock_timestamp();
    new.settles_at := last.settles_at;
    new.first_sent_at := coalesce(new.first_sent_at, last.backup_at);
    -- Whoever works on the batch now looks it up.
    new.lease_epoch := (select b.lease_epoch from bulk_orders.batches b where b.batch_id = new.batch_id);
    return new;
end $$;
create function bulk_orders.rechecked() returns trigger language plpgsql as $$
begin
    new.recheck := false;
    return new;
end $$;

-- Named so that it comes before the check of the transition.
create trigger after_restore before update of state on payments for each row
    when (old.recheck and old.state <> 'unknown' and new.state in ('retry_wait', 'sending'))
    execute function bulk_orders.recheck_first();
create trigger after_restore before update of state on bulk_orders.notifications for each row
    when (old.recheck and old.state <> 'unknown' and new.state in ('retry_wait', 'sending'))
    execute function bulk_orders.recheck_first();
create trigger after_restore_known before update of state on payments for each row
    when (old.recheck and old.state = 'unknown' and new.state <> 'unknown') execute function bulk_orders.rechecked();
create trigger after_restore_known before update of state on bulk_orders.notifications for each row
    when (old.recheck and old.state = 'unknown' and new.state <> 'unknown') execute function bulk_orders.rechecked();

-- A mail that is planned only now, for an order of before, may have been planned and sent before too.
drop trigger notifications_first_state on bulk_orders.notifications;
create trigger notifications_first_state before insert on bulk_orders.notifications
    for each row when (new.state <> 'planned' and not (new.state = 'unknown' and new.recheck))
    execute function bulk_orders.check_first_state('effect', 'planned');

create table bulk_orders.backups (
    backup_id   bigint generated always as identity primary key,
    snapshot_at timestamptz not null,
    finished_at timestamptz not null default clock_timestamp(),
    bytes       bigint not null check (bytes >= 0),
    manifest    bytea not null check (length(manifest) = 32)
);
comment on table bulk_orders.backups is 'Backups that were made: of which moment, how large, and the digest of what was signed about each.';

-- -- events ----------------------------------------------------------------------------------------------------------

create function bulk_orders.audit_restorations() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append('system', 'restoration:' || case tg_op when 'INSERT' then 'made' else 'reconciled' end,
        'restoration-' || new.number, array[]::integer[], null,
        bulk_orders.audit_facts(case tg_op when 'INSERT' then new.statement else bulk_orders.framed(new.note) end));
    return null;
end $$;
create trigger audit after insert on bulk_orders.restorations
    for each row execute function bulk_orders.audit_restorations();
create trigger audit_changes after update on bulk_orders.restorations
    for each row execute function bulk_orders.audit_restorations();

create function bulk_orders.audit_backups() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append('system', 'backup:made', 'backup-' || new.backup_id, array[]::integer[], null, new.manifest);
    return null;
end $$;
create trigger audit after insert on bulk_orders.backups
    for each row execute function bulk_orders.audit_backups();
create trigger append_only before update or delete or truncate on bulk_orders.backups
    for each statement execute function bulk_orders.refuse_change();

create function bulk_orders.refuse_restoration_change() returns trigger language plpgsql as $$
begin
    if tg_op = 'UPDATE' and old.reconciled_at is null and new.reconciled_at is not null
       and to_jsonb(old) - array['reconciled_at', 'reconciled_by', 'note']
           = to_jsonb(new) - array['reconciled_at', 'reconciled_by', 'note'] then
        return new;
    end if;
    raise exception 'a restoration does not change: % refused', tg_op using errcode = 'BO003';
end $$;
create trigger append_only before update or delete on bulk_orders.restorations
    for each row execute function bulk_orders.refuse_restoration_change();
create trigger no_truncate before truncate on bulk_orders.restorations
    for each statement execute function bulk_orders.refuse_change();

do $$
declare
    found_ record;
begin
    for found_ in
        select t.tgrelid::regclass as relation, t.tgname as name
        from pg_trigger t join pg_proc p on p.oid = t.tgfoid join pg_namespace n on n.oid = p.pronamespace
        where n.nspname = 'bulk_orders' and not t.tgisinternal
              and (t.tgrelid in ('bulk_orders.restorations'::regclass, 'bulk_orders.backups'::regclass) or p.proname in ('recheck_first', 'rechecked'))
    loop
        execute format('alter table %s enable always trigger %I', found_.relation, found_.name);
    end loop;
end $$;
revoke update, delete, truncate on bulk_orders.backups from current_user, public;
revoke delete, truncate on bulk_orders.restorations from current_user, public;
