-- Who is there, while a cache is added to a running system or taken away: see src/fellows.rs.
create table fellows (
    node      integer primary key,
    has_cache boolean not null,
    -- Reads come from the cache; only where has_cache.
    reads     boolean not null,
    seen_at   timestamptz not null default clock_timestamp()
);
