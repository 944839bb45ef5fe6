-- Several lines of a file that are one order: each keeps its row, the first gives the order its number and its payment.

alter table bulk_orders.import_rows
    add column order_row    integer,
    add column order_amount integer check (order_amount between 100 and 1000000),
    add column items        jsonb,
    add column likeness     bigint,
    drop constraint import_rows_amount_check,
    -- One of several lines may add nothing, or less than the smallest payment; their order may not.
    add constraint import_rows_amount_check check
        (amount between 100 and 1000000
         or amount between 0 and 99 and (order_row is not null or order_amount is not null)),
    add constraint import_rows_further_line_follows
        check (order_row is null or (order_row >= 1 and order_row < import_row_number
                                     and order_amount is null and items is null and likeness is null)),
    add constraint import_rows_order_of_lines_is_complete check ((order_amount is null) = (items is null));
comment on column bulk_orders.import_rows.amount is 'Yen that the row adds to its order: all of it, unless several rows make one.';
comment on column bulk_orders.import_rows.order_row is 'Of a further line of an order: the row number of the first. Null: the order is this row''s own.';
comment on column bulk_orders.import_rows.order_amount is 'Of the first of several lines: the yen of the order.';
comment on column bulk_orders.import_rows.items is 'Of the first of several lines: code, name, quantity and yen of each.';
comment on column bulk_orders.import_rows.likeness is
    'HMAC of client, customer, amount and items, cut to 64 bits: equal for alike orders of one client. Without the key it tells nothing.';

alter table orders
    add column items    jsonb,
    add column likeness bigint;
-- Has an alike order been made lately? One look into the index per row, however many orders there are.
create index orders_alike on orders (likeness, order_id) where likeness is not null;

-- An order is made of the first of its lines, and of no other.
create or replace function bulk_orders.check_row_exists() returns trigger language plpgsql as $$
declare
    batch_ text;
begin
    -- Batch by batch, with `is not true` around `in`: the accepted rows of a batch are hashed once, where a join would look up
    -- each order by index (12 ms instead of 39 per 10,000); an order without a row number is refused too.
    for batch_ in select distinct batch_id from new_rows where batch_id is not null loop
        if exists (select from new_rows n where n.batch_id = batch_ and (n.import_row_number in (
                select r.import_row_number from bulk_orders.import_rows r
                where r.batch_id = batch_ and r.state = 'accepted' and r.order_row is null)) is not true) then
            raise exception 'an order of no accepted row'
                using errcode = 'foreign_key_violation', constraint = 'orders_of_row';
        end if;
    end loop;
    return null;
end $$;

create table bulk_orders.near_duplicates (
    order_id          integer primary key references orders (order_id),
    batch_id          text not null,
    import_row_number integer not null,
    alike_order_id    integer not null references orders (order_id),
    days_apart        integer not null check (days_apart >= 0),
    found_at          timestamptz not null default clock_timestamp(),
    constraint near_duplicates_of_an_earlier_order check (alike_order_id < order_id)
);
comment on table bulk_orders.near_duplicates is
    'Orders that resemble an earlier one of their client: same customer, amount and items, few days apart. Their payment waits for a person.';
create index near_duplicates_of_batch on bulk_orders.near_duplicates (batch_id, import_row_number);
create trigger append_only before update or delete on bulk_orders.near_duplicates
    for each row execute function bulk_orders.refuse_change();
create trigger no_truncate before truncate on bulk_orders.near_duplicates
    for each statement execute function bulk_orders.refuse_change();
alter table bulk_orders.near_duplicates enable always trigger append_only;
alter table bulk_orders.near_duplicates enable always trigger no_truncate;

create function bulk_orders.audit_near_duplicates() returns trigger language plpgsql as $$
begin
    perform bulk_orders.audit_append(batch_id, 'order:resembles', null, array_agg(order_id order by order_id), null)
    from new_rows group by batch_id;
    return null;
end $$;
create trigger audit after insert on bulk_orders.near_duplicates
    referencing new table as new_rows for each statement execute function bulk_orders.audit_near_duplicates();

-- A person's word about an order that resembles another: it was meant twice, and is paid.
alter table bulk_orders.decisions
    drop constraint decisions_decision_check,
    add constraint decisions_decision_check check
        (decision in ('redrive', 'pause', 'continue', 'cancel', 'approve', 'done', 'send-again', 'rejected', 'accept')),
    drop constraint decisions_about_a_row_name_it,
    add constraint decisions_about_a_row_name_it check
        ((decision in ('done', 'send-again', 'rejected', 'accept'))
         = (kind is not null and order_id is not null and note is not null));
