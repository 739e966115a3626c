-- What the cache must forget: written in the transaction that changes the data, applied again by whoever holds the lock.
-- An app in any language inserts (kind, key) and, after its commit, runs inval.lua itself.
create schema if not exists banyan;

create table if not exists banyan.invalidation (
    id bigint generated always as identity primary key,
    -- key: the entry's key in Redis; tag: a name mixed into keys; append: the entry is a list of numbers.
    kind text not null default 'key',
    key text not null check (octet_length(key) <= 1024),
    created_at timestamptz not null default now(),
    -- Null until applied. Rows go 10 minutes after it, never by their age: a long transaction's row is old when it appears.
    applied_at timestamptz
);
-- Of append: the number, and how many the list keeps.
alter table banyan.invalidation add column if not exists item bigint, add column if not exists keep integer;
alter table banyan.invalidation drop constraint if exists invalidation_kind_check;
alter table banyan.invalidation add constraint invalidation_kind_check
    check (kind in ('key', 'tag') or kind = 'append' and item >= 0 and keep > 0);
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

-- Writes a row for each key of a tracked table that a statement has changed, whoever sent it: the old and the new one, and of
-- inserts too (a cache may know that there was none).
create or replace function banyan.tracked() returns trigger language plpgsql as $$
declare
    changed text := case tg_op
        when 'INSERT' then 'select * from new_rows'
        when 'DELETE' then 'select * from old_rows'
        when 'UPDATE' then 'select * from old_rows union all select * from new_rows'
        else format('select * from %I.%I', tg_table_schema, tg_table_name)
    end;
begin
    execute format(
        'insert into banyan.invalidation (kind, key)
         select distinct ''key'', k from (select %s as k from (%s) as r) as keys where k is not null',
        tg_argv[0], changed);
    return null;
end
$$;

-- banyan.track('users', 'user:{id}'): entries user:7 are forgotten whenever the row of 7 changes. Again is harmless.
create or replace function banyan.track(tracked regclass, pattern text) returns void language plpgsql as $$
declare
    expression text := '';
    rest text := pattern;
    part text[];
    name text := 'banyan_track_' || substr(md5(pattern), 1, 8);
begin
    loop
        part := regexp_match(rest, '^([^{}]*)\{([^{}]+)\}(.*)$');
        exit when part is null;
        expression := expression || quote_literal(part[1]) || ' || r.' || quote_ident(part[2]) || '::text || ';
        rest := part[3];
    end loop;
    if expression = '' or rest ~ '[{}]' then
        raise exception 'banyan.track: % names no column of the key', quote_literal(pattern)
            using hint = 'write columns in braces: user:{id}';
    end if;
    expression := expression || quote_literal(rest);
    -- A column that is not there is told now.
    execute format('select %s from %s as r limit 0', expression, tracked);
    execute format('create or replace trigger %I after insert on %s referencing new table as new_rows
        for each statement execute function banyan.tracked(%L)', name || '_insert', tracked, expression);
    execute format('create or replace trigger %I after delete on %s referencing old table as old_rows
        for each statement execute function banyan.tracked(%L)', name || '_delete', tracked, expression);
    execute format('create or replace trigger %I after update on %s referencing old table as old_rows new table as new_rows
        for each statement execute function banyan.tracked(%L)', name || '_update', tracked, expression);
    execute format('create or replace trigger %I before truncate on %s
        for each statement execute function banyan.tracked(%L)', name || '_truncate', tracked, expression);
end
$$;

create or replace function banyan.untrack(tracked regclass, pattern text) returns void language plpgsql as $$
declare
    event text;
begin
    foreach event in array array['insert', 'delete', 'update', 'truncate'] loop
        execute format('drop trigger if exists %I on %s',
            'banyan_track_' || substr(md5(pattern), 1, 8) || '_' || event, tracked);
    end loop;
end
$$;
