"""Lua of the conversation store: each script is one atomic change of one conversation, or of one user's.

KEYS: the turns (a list of "<number> <messages>"), what is known of them (a hash: last number, bytes), and the user's
index (the conversations by their expiry). All lie in the namespace's hash slot.
"""

from __future__ import annotations

_PRELUDE = """
local turns, about, index = KEYS[1], KEYS[2], KEYS[3]
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local function drop_first()
  redis.call('HINCRBY', about, 'bytes', -#redis.call('LPOP', turns))
end

local function number_of(turn)
  return tonumber(string.match(turn, '^%d+'))
end
"""

APPEND = (
    _PRELUDE
    + """
-- ARGV: name in the index, messages, time to live, most turns, most bytes.
local ttl = tonumber(ARGV[3])
local turn = redis.call('HINCRBY', about, 'last', 1) .. ' ' .. ARGV[2]
redis.call('RPUSH', turns, turn)
local bytes = redis.call('HINCRBY', about, 'bytes', #turn)
while redis.call('LLEN', turns) > tonumber(ARGV[4]) or bytes > tonumber(ARGV[5]) do
  drop_first()
  bytes = tonumber(redis.call('HGET', about, 'bytes'))
end
redis.call('PEXPIRE', turns, ttl)
redis.call('PEXPIRE', about, ttl)
redis.call('ZREMRANGEBYSCORE', index, '-inf', now)
redis.call('ZADD', index, now + ttl, ARGV[1])
redis.call('PEXPIRE', index, ttl)
return 1
"""
)

SUMMARISE = (
    _PRELUDE
    + """
-- ARGV: number of the last turn that the summary stands for, the summary's messages.
local through = tonumber(ARGV[1])
local first = redis.call('LINDEX', turns, 0)
if not first or number_of(first) > through then return 0 end
while first and number_of(first) <= through do
  drop_first()
  first = redis.call('LINDEX', turns, 0)
end
local summary = ARGV[1] .. ' ' .. ARGV[2]
redis.call('LPUSH', turns, summary)
redis.call('HINCRBY', about, 'bytes', #summary)
redis.call('PEXPIRE', turns, math.max(1, redis.call('PTTL', about)))
return 1
"""
)

CONTINUE = (
    _PRELUDE
    + """
-- KEYS[4]: turns of the other conversation. ARGV: name in the index, time to live, most bytes.
if redis.call('EXISTS', about) == 1 then return 0 end
local said = redis.call('LRANGE', KEYS[4], 0, -1)
local first, bytes, ttl = #said + 1, 0, tonumber(ARGV[2])
while first > 1 and bytes + #said[first - 1] <= tonumber(ARGV[3]) do
  first = first - 1
  bytes = bytes + #said[first]
end
if first > #said then return 0 end
for i = first, #said do redis.call('RPUSH', turns, said[i]) end
redis.call('HSET', about, 'last', number_of(said[#said]), 'bytes', bytes)
redis.call('PEXPIRE', turns, ttl)
redis.call('PEXPIRE', about, ttl)
redis.call('ZADD', index, now + ttl, ARGV[1])
if redis.call('PTTL', index) < ttl then redis.call('PEXPIRE', index, ttl) end
return 1
"""
)

DELETE = (
    _PRELUDE
    + """
-- ARGV: name in the index.
redis.call('ZREM', index, ARGV[1])
redis.call('DEL', about)
return redis.call('DEL', turns)
"""
)

DELETE_USER = """
-- KEYS: the user's index. ARGV: what comes before a conversation's name in its key, what comes after it in the second
-- key, how many at once. Answers how many were found and how many of these were there.
local names = redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[3]) - 1)
local deleted = 0
for _, name in ipairs(names) do
  deleted = deleted + redis.call('DEL', ARGV[1] .. name)
  redis.call('DEL', ARGV[1] .. name .. ARGV[2])
  redis.call('ZREM', KEYS[1], name)
end
return {#names, deleted}
"""
