-- A call in doubt is looked up where it was made, and a key is remembered where it was sent: a batch goes on with the services
-- that it began with, or waits for a person.

alter table bulk_orders.batches
    add column payment_service      text,
    add column notification_service text;
comment on column bulk_orders.batches.payment_service is 'Where its payments are made, by name; null: not begun, or begun before this was noted.';
comment on column bulk_orders.batches.notification_service is 'Where its mails are sent from, by name; null as above.';
