-- What rows and orders have to do with earlier ones: told already (0006, 0007), and from now on with its facts.

-- Which row of which batch each row repairs, where that began, and which columns a person changed.
create or replace function bulk_orders.audit_repairs() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append(r.batch_id, 'row:repairs', r.parent_batch_id, r.numbers, null,
                                     bulk_orders.audit_facts(r.told))
    from (select n.batch_id, n.parent_batch_id, array_agg(n.import_row_number order by n.import_row_number) as numbers,
                 string_agg(concat_ws(' ', n.import_row_number, n.parent_row_number, bulk_orders.framed(n.root_batch_id),
                                      n.root_row_number, bulk_orders.framed(nullif(array_to_string(n.changed, ' '), ''))), E'\n'
                            order by n.import_row_number) as told
          from new_rows n group by n.batch_id, n.parent_batch_id) r
    order by r.batch_id, r.parent_batch_id;
    perform bulk_orders.audit_append(r.root_batch_id, 'row:repaired', r.batch_id, r.numbers, null)
    from (select n.root_batch_id, n.batch_id, array_agg(n.root_row_number order by n.root_row_number) as numbers
          from new_rows n where n.taken group by n.root_batch_id, n.batch_id) r
    order by r.root_batch_id, r.batch_id;
    return null;
end $$;

-- Which earlier order each one resembles, and how many days lie between them.
create or replace function bulk_orders.audit_near_duplicates() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append(r.batch_id, 'order:resembles', null, r.ids, null, bulk_orders.audit_facts(r.told))
    from (select n.batch_id, array_agg(n.order_id order by n.order_id) as ids,
                 string_agg(concat_ws(' ', n.order_id, n.alike_order_id, n.days_apart), E'\n' order by n.order_id) as told
          from new_rows n group by n.batch_id) r
    order by r.batch_id;
    return null;
end $$;
