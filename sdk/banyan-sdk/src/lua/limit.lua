-- GCRA. KEYS[1]: who. ARGV: microseconds per request, how many may come at once. The key holds when the next one is due.
-- Answers whether it may, how many more may at once, and else in how many microseconds one may.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local each, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local due = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + each
local early = due - now - each * burst
if early > 0 then return { 0, 0, early } end
redis.call('SET', KEYS[1], due, 'PX', math.ceil((due - now) / 1000))
return { 1, math.floor(-early / each), 0 }
