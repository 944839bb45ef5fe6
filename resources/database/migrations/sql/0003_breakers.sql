-- What all processes saw of a service in the last minute, and whether one of them is probing it right now (R-36).

create table bulk_orders.breaker_windows (
    service  text not null,
    slot     bigint not null,
    calls    integer not null check (calls >= 0),
    failures integer not null check (failures >= 0),
    primary key (service, slot)
);
comment on table bulk_orders.breaker_windows is 'Calls and systemic failures of a service in slots of six seconds; old slots go with the next count.';

alter table bulk_orders.breakers add column probing_until timestamptz;
comment on column bulk_orders.breakers.probing_until is 'Somebody probes; should they die, the probe is free again then.';
