-- The order system as the customer has it. Made only where it is absent, so that a new machine has something to extend.
create table orders (
    order_id       serial primary key,
    customer_name  varchar(255) not null,
    customer_email varchar(255) not null,
    item_name      varchar(255),
    quantity       integer,
    amount         double precision not null,
    currency       varchar(3) not null default 'JPY',
    status         varchar(20) not null default 'PENDING',
    created_at     timestamptz not null default now(),
    updated_at     timestamptz not null default now()
);

create table payments (
    payment_id serial primary key,
    order_id   integer not null unique references orders (order_id),
    amount     double precision not null,
    currency   varchar(3) not null default 'JPY',
    status     varchar(20) not null default 'PENDING',
    created_at timestamptz not null default now()
);
