-- The transitions of domain/states.py, held by the database too: what is not listed is refused (errcode BO001).

create table bulk_orders.state_transitions (
    subject    text not null check (subject in ('batch', 'effect')),
    from_state text not null,
    to_state   text not null,
    primary key (subject, from_state, to_state)
);
insert into bulk_orders.state_transitions values
    ('batch', 'received', 'validated'), ('batch', 'received', 'refused'),
    ('batch', 'refused', 'received'), ('batch', 'validated', 'ordered'),
    ('batch', 'ordered', 'paused'), ('batch', 'paused', 'ordered'),
    ('batch', 'ordered', 'done'), ('batch', 'ordered', 'partial'),
    ('effect', 'planned', 'sending'), ('effect', 'sending', 'done'), ('effect', 'sending', 'rejected'),
    ('effect', 'sending', 'retry_wait'), ('effect', 'sending', 'unknown'), ('effect', 'retry_wait', 'sending'),
    ('effect', 'unknown', 'done'), ('effect', 'unknown', 'retry_wait'), ('effect', 'unknown', 'review');

create function bulk_orders.check_transition() returns trigger language plpgsql as $$
declare
    subject_ text := tg_argv[0];
begin
    if not exists (select from bulk_orders.state_transitions t
                   where t.subject = subject_ and t.from_state = old.state and t.to_state = new.state) then
        raise exception 'transition refused: % % -> %', subject_, old.state, new.state using errcode = 'BO001';
    end if;
    return new;
end $$;

create function bulk_orders.check_first_state() returns trigger language plpgsql as $$
begin
    raise exception 'a new % begins as %', tg_argv[0], tg_argv[1] using errcode = 'BO001';
end $$;

create trigger batches_transition before update of state on bulk_orders.batches
    for each row when (old.state is distinct from new.state) execute function bulk_orders.check_transition('batch');
create trigger batches_first_state before insert on bulk_orders.batches
    for each row when (new.state <> 'received') execute function bulk_orders.check_first_state('batch', 'received');

create trigger payments_transition before update of state on payments
    for each row when (old.state is distinct from new.state) execute function bulk_orders.check_transition('effect');
create trigger payments_first_state before insert on payments
    for each row when (new.state <> 'planned') execute function bulk_orders.check_first_state('effect', 'planned');

create trigger notifications_transition before update of state on bulk_orders.notifications
    for each row when (old.state is distinct from new.state) execute function bulk_orders.check_transition('effect');
create trigger notifications_first_state before insert on bulk_orders.notifications
    for each row when (new.state <> 'planned') execute function bulk_orders.check_first_state('effect', 'planned');

-- The legacy status column follows the state, so that the single-order screens show a batch payment as they always did.
create function bulk_orders.follow_state() returns trigger language plpgsql as $$
begin
    new.status := case new.state when 'done' then 'COMPLETED' when 'rejected' then 'FAILED' else 'PENDING' end;
    return new;
end $$;
create trigger payments_status_follows_state before insert or update of state on payments
    for each row when (new.state is not null) execute function bulk_orders.follow_state();
