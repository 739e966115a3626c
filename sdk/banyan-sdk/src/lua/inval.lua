-- KEYS[1]: entry. Value and lease go; nothing stays.
return redis.call('UNLINK', KEYS[1])
