-- The trail verified where it stands, as sets: the second verifier, which shares no code with the first
-- (domain/trail.py). One row for each chain that does not hold, with its first place and what is wrong there:
-- `gap` a number is missing, `link` an event does not follow from the one before, `content` an event is not as it was
-- written, `head` the head is not the last event, `anchor` an anchor knew another event (or one that is gone).
create function bulk_orders.audit_verify_all(only_chain text default null)
returns table (chain text, seq bigint, fault text) language sql stable as $$
    with events as (
        select e.*, row_number() over w as place, lag(e.hash, 1, decode(repeat('00', 32), 'hex')) over w as link
        from bulk_orders.audit_events e where only_chain is null or e.chain = only_chain
        window w as (partition by e.chain order by e.seq)
    ), faults as (
        select e.chain, e.place as seq, case
            when e.seq <> e.place then 'gap'
            when e.prev_hash <> e.link then 'link'
            when e.hash <> bulk_orders.audit_hash(e.chain, e.seq, e.at, e.actor, e.run_id, e.code_version, e.event, e.reason,
                                                  e.subjects, e.amount_jpy, e.prev_hash, e.facts) then 'content' end as fault
        from events e
        union all
        select coalesce(h.chain, last.chain), least(h.seq, last.seq) + 1, 'head'
        from bulk_orders.audit_heads h
        full join (select distinct on (e.chain) e.chain, e.seq, e.hash from events e order by e.chain, e.seq desc) last
            on last.chain = h.chain
        where (only_chain is null or coalesce(h.chain, last.chain) = only_chain)
          and (h.seq, h.hash) is distinct from (last.seq, last.hash)
        union all
        select k.head ->> 0, (k.head ->> 1)::bigint, 'anchor'
        from bulk_orders.audit_anchors a cross join jsonb_array_elements(a.heads) k (head)
        where (only_chain is null or k.head ->> 0 = only_chain) and not exists
            (select from bulk_orders.audit_events e
             where e.chain = k.head ->> 0 and e.seq = (k.head ->> 1)::bigint and e.hash = decode(k.head ->> 2, 'hex'))
    )
    select distinct on (f.chain) f.chain, f.seq, f.fault from faults f where f.fault is not null
    order by f.chain, f.seq
$$;

create or replace function bulk_orders.audit_verify(chain_ text)
returns table (seq bigint, fault text) language sql stable as $$
    with events as (
        select e.*, row_number() over (order by e.seq) as place,
               lag(e.hash, 1, decode(repeat('00', 32), 'hex')) over (order by e.seq) as link
        from bulk_orders.audit_events e where e.chain = chain_
    ), faults as (
        select e.seq, case
            when e.seq <> e.place then 'gap'
            when e.prev_hash <> e.link then 'link'
            when e.hash <> bulk_orders.audit_hash(e.chain, e.seq, e.at, e.actor, e.run_id, e.code_version, e.event, e.reason,
                                                  e.subjects, e.amount_jpy, e.prev_hash, e.facts) then 'content' end as fault
        from events e
        union all
        select h.seq, 'head' from bulk_orders.audit_heads h
        where h.chain = chain_ and not exists
            (select from bulk_orders.audit_events e where e.chain = chain_ and e.seq = h.seq and e.hash = h.hash)
    )
    select f.seq, f.fault from faults f where f.fault is not null order by f.seq limit 1
$$;
