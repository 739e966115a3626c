-- GCRA, as gcra.rs has it, for all limits of one request. KEYS: one per limit, in order. ARGV, per limit, in microseconds:
-- between two requests at the steady rate, and how far a whole allowance reaches. A key holds when its allowance is whole.
-- Answers, per limit, in microseconds: until a request passes (0: this one does), and until the allowance is whole. Ends
-- with the first that refuses; what passed before it is counted.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local told = {}
for n, key in ipairs(KEYS) do
  local each, reach = tonumber(ARGV[2 * n - 1]), tonumber(ARGV[2 * n])
  local whole = math.max(tonumber(redis.call('GET', key) or now), now)
  local wait = math.max(whole + each - now - reach, 0)
  if wait == 0 then
    whole = whole + each
    redis.call('SET', key, string.format('%.0f', whole), 'PX', string.format('%.0f', math.ceil((whole - now) / 1000)))
  end
  told[2 * n - 1], told[2 * n] = wait, whole - now
  if wait > 0 then break end
end
return told
