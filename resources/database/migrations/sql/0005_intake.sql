-- What a file was read as, so that every later stage reads a row the same way, whatever the profile says by then.

alter table bulk_orders.batches add column reading jsonb;
comment on column bulk_orders.batches.reading is
    'Encoding, sheet, positions of our columns and why, profile, counts of rules. Names and counts, never a cell.';

alter table bulk_orders.import_rows add column readings jsonb;
comment on column bulk_orders.import_rows.readings is
    'Cells read otherwise than written: column names and rules, never a value.';
