"""Lua of the shared breakers: one hash for each endpoint, with times of the store.

Fields: `open` (until when nothing is let through; absent while closed), `probe` (until when a probe is waited for),
`c:<n>` and `f:<n>` (calls and failures of the n-th part of a window). Answers are seconds as text: how long nothing is
let through, negative while closed, and how long a probe is still waited for.
"""

from __future__ import annotations

from agent_runtime.core.breaker import BUCKETS

KEEP_SECONDS = 3600

_BEGIN = f"""
local key = KEYS[1]
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local open, probe = unpack(redis.call('HMGET', key, 'open', 'probe'))
open, probe = open and tonumber(open), probe and tonumber(probe)

local function reopen(wait)
  open = math.max(open or 0, now + wait)
  redis.call('DEL', key)
  redis.call('HSET', key, 'open', string.format('%.6f', open))
  redis.call('EXPIRE', key, math.ceil(open - now) + {KEEP_SECONDS})
  probe = nil
end

local function state()
  if not open then return '-1', '0' end
  return tostring(math.max(0, open - now)), tostring(math.max(0, (probe or 0) - now))
end
"""

SHARE = f"""{_BEGIN}
local calls, failures, wait = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local threshold, percent, length, recovery = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
if wait > 0 then
  reopen(wait)
elseif not open and calls > 0 then
  local number = math.floor(now / length)
  redis.call('HINCRBY', key, 'c:' .. number, calls)
  redis.call('HINCRBY', key, 'f:' .. number, failures)
  redis.call('EXPIRE', key, math.ceil(length * {BUCKETS}) + {KEEP_SECONDS})
  local sums, fields = {{c = 0, f = 0}}, redis.call('HGETALL', key)
  for i = 1, #fields, 2 do
    local kind, part = string.match(fields[i], '^([cf]):(%d+)$')
    if kind and tonumber(part) <= number - {BUCKETS} then
      redis.call('HDEL', key, fields[i])
    elseif kind then
      sums[kind] = sums[kind] + tonumber(fields[i + 1])
    end
  end
  if failures > 0 and sums.f >= threshold and sums.f * 100 >= percent * sums.c then reopen(recovery) end
end
return {{state()}}
"""
"""Add what a pod saw. ARGV: calls, failures, seconds for which the pod has opened it by itself, threshold, percent,
seconds of a part of the window, seconds of recovery"""

PROBE = f"""{_BEGIN}
if open and (now < open or (probe and now < probe)) then return {{0, state()}} end
if open then
  probe = now + tonumber(ARGV[1])
  redis.call('HSET', key, 'probe', string.format('%.6f', probe))
end
return {{1, state()}}
"""
"""Ask for the one probe; answers 1 if it is granted. ARGV: seconds after which another may be"""

PROBED = f"""{_BEGIN}
if ARGV[1] == 'ok' then
  redis.call('DEL', key)
elseif ARGV[1] == 'failed' then
  reopen(tonumber(ARGV[2]))
else
  redis.call('HDEL', key, 'probe')
end
return 1
"""
"""Tell what the probe found. ARGV: ok, failed or none; seconds to stay open"""
