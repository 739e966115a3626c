-- Sessions: this table is the truth; Redis, where there is one, holds copies for quick reading.
create table if not exists banyan.session (
    -- SHA-256 of the cookie's value: who reads this cannot log in with it.
    id bytea primary key,
    -- Who is logged in, for "log out everywhere".
    owner text,
    -- JSON.
    data text not null,
    version bigint not null default 1,
    created_at timestamptz not null default now(),
    idle_until timestamptz not null,
    absolute_until timestamptz not null
);
create index if not exists session_owner on banyan.session (owner) where owner is not null;
create index if not exists session_end on banyan.session (least(idle_until, absolute_until));

-- What copies are to follow, written by the statement that changes a session: applied to Redis within about half a second
-- if whoever made the change could not do it. An ended session's version is 9007199254740991.
create table if not exists banyan.session_change (
    id bigint generated always as identity primary key,
    session bytea not null,
    version bigint not null
);

-- One row: who is there. Copies are read only while no instance without Redis is about.
create table if not exists banyan.session_place (
    one boolean primary key default true check (one),
    -- Part of the copies' keys: another number, and none of the old ones is ever read again.
    epoch bigint not null default 0,
    -- Of the Redis that holds them.
    run_id text not null default '',
    -- When an instance with Redis, and one without, were last seen.
    redis_at timestamptz not null default '-infinity',
    plain_at timestamptz not null default '-infinity',
    plain boolean not null default false
);
insert into banyan.session_place default values on conflict do nothing;
