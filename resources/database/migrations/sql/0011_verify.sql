-- The database's own verification over months that went to cold storage, and over anchors of a history that was lost.
-- A chain goes on after the last event that was dropped; what anchors knew before that, the signed manifests answer for.

create or replace function bulk_orders.audit_verify_all(only_chain text default null)
returns table (chain text, seq bigint, fault text) language sql stable as $$
    with starts as materialized (
        select * from bulk_orders.chain_starts s where only_chain is null or s.chain = only_chain
    ), events as (
        select e.*, coalesce(s.seq, 0) + row_number() over w as place,
               lag(e.hash, 1, coalesce(s.hash, decode(repeat('00', 32), 'hex'))) over w as link
        from bulk_orders.audit_events e left join starts s on s.chain = e.chain
        where only_chain is null or e.chain = only_chain
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
        full join (select distinct on (e.chain) e.chain, e.seq, e.hash
                   from (select k.chain, k.seq, k.hash from events k union all select * from starts) e
                   order by e.chain, e.seq desc) last
            on last.chain = h.chain
        where (only_chain is null or coalesce(h.chain, last.chain) = only_chain)
          and (h.seq, h.hash) is distinct from (last.seq, last.hash)
        union all
        select k.head ->> 0, (k.head ->> 1)::bigint, 'anchor'
        from bulk_orders.audit_anchors a cross join jsonb_array_elements(a.heads) k (head)
        left join starts s on s.chain = k.head ->> 0
        where (only_chain is null or k.head ->> 0 = only_chain) and (k.head ->> 1)::bigint > coalesce(s.seq, 0)
          and not exists (select from bulk_orders.restorations r
                          where a.number > r.last_anchor and a.number <= r.lost_anchors_to)
          and not exists
            (select from bulk_orders.audit_events e
             where e.chain = k.head ->> 0 and e.seq = (k.head ->> 1)::bigint and e.hash = decode(k.head ->> 2, 'hex'))
    )
    select distinct on (f.chain) f.chain, f.seq, f.fault from faults f where f.fault is not null
    order by f.chain, f.seq
$$;

create or replace function bulk_orders.audit_verify(chain_ text)
returns table (seq bigint, fault text) language sql stable as $$
    with start as materialized (
        select coalesce(max(s.seq), 0) as seq, coalesce((array_agg(s.hash))[1], decode(repeat('00', 32), 'hex')) as hash
        from bulk_orders.chain_starts s where s.chain = chain_
    ), events as (
        select e.*, s.seq + row_number() over (order by e.seq) as place, lag(e.hash, 1, s.hash) over (order by e.seq) as link
        from bulk_orders.audit_events e cross join start s where e.chain = chain_
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
          and not exists (select from start s where s.seq = h.seq and s.hash = h.hash)
    )
    select f.seq, f.fault from faults f where f.fault is not null order by f.seq limit 1
$$;
