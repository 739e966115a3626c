-- What the cache must forget: written in the transaction that changes the data, applied again by whoever holds the lock.
-- An app in any language inserts (kind, key) and, after its commit, runs inval.lua itself.
create schema if not exists banyan;

create table if not exists banyan.invalidation (
    id bigint generated always as identity primary key,
    -- key: the entry's key in Redis; tag: a name mixed into keys.
    kind text not null default 'key' check (kind in ('key', 'tag')),
    key text not null check (octet_length(key) <= 1024),
    created_at timestamptz not null default now(),
    -- Null until applied. Rows go 10 minutes after it, never by their age: a long transaction's row is old when it appears.
    applied_at timestamptz
);
create index if not exists invalidation_pending on banyan.invalidation (id) where applied_at is null;
create index if not exists invalidation_applied on banyan.invalidation (applied_at) where applied_at is not null;

-- One row: which Redis was seen last, and the beat it was given (milliseconds since 1970 by this database's clock).
create table if not exists banyan.cache_seen (
    one boolean primary key default true check (one),
    name uuid not null default gen_random_uuid(),
    run_id text not null default '',
    beat bigint not null default 0
);
insert into banyan.cache_seen default values on conflict do nothing;
