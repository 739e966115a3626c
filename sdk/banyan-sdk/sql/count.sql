-- How far each counter that is kept in Redis (write-behind) has come: the windows up to this second are in the app's own table.
create table if not exists banyan.count_mark (
    name text primary key,
    second bigint not null
);
