-- Ends one attempt to sign in.
-- KEYS: as for admit.lua.
-- ARGV: the attempt, its outcome, the window in ms, the mark of account and address with which the attempt begins, how
-- long a known address is remembered in ms.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local attempt, outcome, window, mark = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

if outcome == 'succeeded' and KEYS[3] then
    for _, entry in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
        if string.sub(entry, 3, 2 + #mark) == mark then
            redis.call('ZREM', KEYS[1], entry)
        end
    end
    redis.call('DEL', KEYS[2])
    redis.call('SET', KEYS[3], 1, 'PX', ARGV[5])
    return 0
end

redis.call('ZREM', KEYS[1], 'p:' .. attempt)
local budget = KEYS[1]
if KEYS[3] then
    redis.call('ZREM', KEYS[2], 'p:' .. attempt)
    if redis.call('EXISTS', KEYS[3]) == 1 then
        budget = KEYS[2]
    end
end
if outcome == 'failed' then
    redis.call('ZADD', budget, now, 'f:' .. attempt)
    redis.call('PEXPIRE', budget, window)
end
return 0
