-- Tokens that are worth nothing any more, refresh tokens, and what one-time codes leave behind.

-- Rises with every denial, in its transaction: who sees another number reads the rest anew.
create table if not exists banyan.token_change (
    one boolean primary key default true check (one),
    number bigint not null default 0
);
insert into banyan.token_change default values on conflict do nothing;

create table if not exists banyan.token_denied (
    jti text primary key,
    until timestamptz not null
);
create index if not exists token_denied_until on banyan.token_denied (until);

-- Tokens of a user with a smaller number are denied.
create table if not exists banyan.token_epoch (
    owner text primary key,
    epoch bigint not null,
    changed_at timestamptz not null default now()
);
-- The jti of the one that made them so, and stays good.
alter table banyan.token_epoch add column if not exists kept text;

create table if not exists banyan.refresh_token (
    -- SHA-256 of the token.
    id bytea primary key,
    family uuid not null,
    owner text not null,
    scope text,
    until timestamptz not null,
    -- Each is good for once; used again, it was stolen, and its whole family ends.
    used boolean not null default false
);
create index if not exists refresh_token_family on banyan.refresh_token (family);
create index if not exists refresh_token_until on banyan.refresh_token (until);
create index if not exists refresh_token_owner on banyan.refresh_token (owner);

-- The last 30 seconds a user's code was good for (RFC 6238): it is not taken twice.
create table if not exists banyan.totp_used (
    owner text primary key,
    step bigint not null
);

create table if not exists banyan.one_time_code (
    purpose text not null,
    owner text not null,
    -- HMAC-SHA-256, by a key that is not in this database.
    mac bytea not null,
    tries integer not null default 0,
    until timestamptz not null,
    primary key (purpose, owner)
);
