-- What a search for words looks at. `simple`: no language is guessed, and beginnings of words are found.
create index posts_words on posts using gin
    (to_tsvector('simple'::regconfig, title || ' ' || description || ' ' || body));

-- People by the beginning of their names.
create index users_name_beginning on users (lower(username) text_pattern_ops);
