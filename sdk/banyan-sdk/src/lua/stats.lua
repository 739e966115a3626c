-- KEYS[1]: banyan:stats. ARGV: the instance, its counts as JSON. A minute after the last process they go.
redis.call('HSET', KEYS[1], ARGV[1], redis.call('TIME')[1] .. ' ' .. ARGV[2])
redis.call('EXPIRE', KEYS[1], 60)
