-- KEYS[1]: count:{NAME}. The oldest window, if it ended two seconds ago: its second, then keys and amounts by turns.
local window = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
if not window or tonumber(window) + 2 > tonumber(redis.call('TIME')[1]) then return {} end
local all = redis.call('HGETALL', KEYS[1] .. ':' .. window)
table.insert(all, 1, window)
return all
