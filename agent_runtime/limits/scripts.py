"""Lua of the request limits. Times are the store's own.

Keys: `:rate:agent` and `:rate:user:<user>` are hashes of runs by part of a minute, `:slots` is a set of running runs by
the end of their lease.
"""

from __future__ import annotations

PART_SECONDS = 2
"""Length of the parts in which a minute is counted: whole parts leave the window, so never too many are admitted."""

WINDOW_SECONDS = 60

ADMIT = f"""
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local run, lease = ARGV[1], tonumber(ARGV[2])
local part = math.floor(now / {PART_SECONDS})
local oldest = part - {WINDOW_SECONDS // PART_SECONDS}

-- Seconds until one more fits; 0 if it fits now.
local function wait(key, limit)
  local parts, total = {{}}, 0
  local fields = redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    local number, count = tonumber(fields[i]), tonumber(fields[i + 1])
    if number < oldest then
      redis.call('HDEL', key, fields[i])
    else
      parts[#parts + 1] = {{number, count}}
      total = total + count
    end
  end
  if total < limit then return 0 end
  table.sort(parts, function(a, b) return a[1] < b[1] end)
  for _, entry in ipairs(parts) do
    total = total - entry[2]
    if total < limit then return (entry[1] + 1) * {PART_SECONDS} + {WINDOW_SECONDS} - now end
  end
  return {WINDOW_SECONDS}
end

local function count(key)
  redis.call('HINCRBY', key, part, 1)
  redis.call('EXPIRE', key, {WINDOW_SECONDS + 2 * PART_SECONDS})
end

if redis.call('ZSCORE', KEYS[3], run) then return {{'', '0'}} end
local agent, user, slots = ARGV[3], ARGV[4], ARGV[5]
if agent ~= '' then
  local left = wait(KEYS[1], tonumber(agent))
  if left > 0 then return {{'agent', tostring(left)}} end
end
if user ~= '' then
  local left = wait(KEYS[2], tonumber(user))
  if left > 0 then return {{'user', tostring(left)}} end
end
if slots ~= '' then
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
  if redis.call('ZCARD', KEYS[3]) >= tonumber(slots) then return {{'concurrency', '1'}} end
  redis.call('ZADD', KEYS[3], now + lease, run)
  if redis.call('TTL', KEYS[3]) < lease then redis.call('EXPIRE', KEYS[3], math.ceil(lease)) end
end
if agent ~= '' then count(KEYS[1]) end
if user ~= '' then count(KEYS[2]) end
return {{'', '0'}}
"""
"""Admit a run by all limits, or by none and count nothing; answers the scope that refuses it and for how many seconds.

KEYS: 1 rate of the agent, 2 rate of the user, 3 slots. ARGV: 1 run, 2 seconds of its lease, 3 to 5 limits of agent and
user a minute and of runs at a time, '' for none
"""
