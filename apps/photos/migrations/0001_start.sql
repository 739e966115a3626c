-- One node number per process start, for ids minted in the process (see src/ids.rs).
create sequence node_numbers as integer minvalue 0 maxvalue 4095 cycle;

-- Every table's key begins with the user who owns the row (its shard key), so that rows can later be spread over
-- several databases by user without new keys or new URLs.

create table users (
    id            bigint primary key,
    username      text not null,
    email         text not null,
    password_hash text not null,
    bio           text,
    image         text,
    -- Tokens of an older epoch are refused, except the one that was presented at the last password change.
    token_epoch   integer not null default 0,
    kept_token    bigint,
    posts         bigint not null default 0,
    created_at    timestamptz not null default clock_timestamp(),
    updated_at    timestamptz not null default clock_timestamp()
);
create unique index users_username on users (lower(username));
create unique index users_email on users (lower(email));

-- The number of all posts, in slots (user id modulo 16) so that writers do not queue for one row.
create table post_counts (
    slot  smallint primary key,
    posts bigint not null default 0
);
insert into post_counts (slot) select generate_series(0, 15);

create table uploads (
    owner_id     bigint not null references users (id) on delete cascade,
    blob         text not null,
    content_type text not null,
    bytes        bigint not null,
    width        integer not null,
    height       integer not null,
    created_at   timestamptz not null default clock_timestamp(),
    primary key (owner_id, blob)
);

create table posts (
    author_id   bigint not null references users (id) on delete cascade,
    id          bigint not null,
    slug        text not null,
    title       text not null,
    description text not null,
    body        text not null,
    photo       text,
    likes       bigint not null default 0,
    created_at  timestamptz not null default clock_timestamp(),
    updated_at  timestamptz not null default clock_timestamp(),
    primary key (author_id, id)
) with (fillfactor = 90);
create index posts_newest on posts (created_at desc, id desc);
create index posts_newest_of_author on posts (author_id, created_at desc, id desc);

create table post_tags (
    author_id  bigint not null,
    post_id    bigint not null,
    position   smallint not null,
    tag        text not null,
    created_at timestamptz not null,
    primary key (author_id, post_id, position),
    foreign key (author_id, post_id) references posts (author_id, id) on delete cascade
);
create index post_tags_newest on post_tags (created_at desc) include (tag);
create index post_tags_newest_of_tag on post_tags (tag, created_at desc, post_id desc) include (author_id);

-- Comment ids stay below 2^53, the largest integer of JavaScript: 41 bits of milliseconds since 2025, 12 of a sequence.
create sequence comment_numbers as bigint cycle;
create function next_comment_id() returns bigint language sql volatile as $$
    select ((extract(epoch from clock_timestamp()) * 1000)::bigint - 1735689600000) << 12
         | (nextval('comment_numbers') & 4095)
$$;

create table comments (
    post_author_id bigint not null,
    post_id        bigint not null,
    id             bigint not null default next_comment_id(),
    author_id      bigint not null references users (id) on delete cascade,
    body           text not null,
    created_at     timestamptz not null default clock_timestamp(),
    updated_at     timestamptz not null default clock_timestamp(),
    primary key (post_author_id, post_id, id),
    foreign key (post_author_id, post_id) references posts (author_id, id) on delete cascade
);
create index comments_of_author on comments (author_id);

create table likes (
    post_author_id bigint not null,
    post_id        bigint not null,
    user_id        bigint not null references users (id) on delete cascade,
    created_at     timestamptz not null default clock_timestamp(),
    primary key (post_author_id, post_id, user_id),
    foreign key (post_author_id, post_id) references posts (author_id, id) on delete cascade
);
create index likes_of_user on likes (user_id, post_author_id, post_id);

create table follows (
    follower_id bigint not null references users (id) on delete cascade,
    followee_id bigint not null references users (id) on delete cascade,
    created_at  timestamptz not null default clock_timestamp(),
    primary key (follower_id, followee_id)
);
create index follows_of_followee on follows (followee_id);
