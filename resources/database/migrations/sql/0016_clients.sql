-- A file that lay in another client's folder was refused, by that client's profile perhaps; given again in its own, the same
-- bytes are that client's. A refused batch has neither row nor order.
create or replace function bulk_orders.check_client() returns trigger language plpgsql as $$
begin
    if old.state <> 'refused' then
        raise exception 'the client of a batch does not change' using errcode = 'BO003';
    end if;
    perform bulk_orders.audit_append(new.batch_id, 'client:changed', new.client, array[]::integer[], null,
                                     bulk_orders.audit_batch_facts(new));
    return new;
end $$;
