-- What has been made here; the number rises when any of it changes.
create table if not exists banyan.installed (
    one boolean primary key default true check (one),
    version integer not null
);
insert into banyan.installed (version) values (6)
    on conflict (one) do update set version = greatest(installed.version, excluded.version);
