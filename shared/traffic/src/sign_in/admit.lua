-- Admits one attempt to sign in, or says when to come back.
-- KEYS: the budget; for an account also the budget of this very address, and the mark of an address its owner uses.
-- ARGV: the attempt, the most failures, the window in ms, how long an attempt may be under way in ms.
-- Gives {0 admitted | 1 refused | 2 all taken by attempts under way, ms to wait, 1 for an address that is known}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local limit, window, under_way = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

local budget, known = KEYS[1], 0
if KEYS[3] and redis.call('EXISTS', KEYS[3]) == 1 then
    budget, known = KEYS[2], 1
end

redis.call('ZREMRANGEBYSCORE', budget, '-inf', now - window)
local entries = redis.call('ZRANGE', budget, 0, -1, 'WITHSCORES')
if #entries / 2 < limit then
    redis.call('ZADD', budget, now, 'p:' .. ARGV[1])
    redis.call('PEXPIRE', budget, window)
    return {0, 0, known}
end
for i = 1, #entries, 2 do
    if string.sub(entries[i], 1, 2) == 'p:' and tonumber(entries[i + 1]) > now - under_way then
        return {2, 0, known}
    end
end
-- So many entries are left over by which the budget is exceeded, and one more has to go.
local last = #entries / 2 - limit
return {1, tonumber(entries[2 * last + 2]) + window - now, known}
