"""Lua of the ledger. Every sum is an integer of micro-dollars; every time is the store's own.

Keys, all behind `<agent>:ledger`:

- the hash itself: `epoch` (random id), `seq` (rises with each change), `before` (epochs that this one replaced),
  `lost` (set by who noticed that data are missing; only a seed clears it)
- `:clock:<process>`: the sequence of this process's last change. It is older, or gone, in a store that lost changes
  which this process was told of, even if others have moved the sequence on since.
- `:holds`: ids of holds by the end of their lease
- `:hold:<id>`: "h <micro> <tokens> <day>" while held, "s" once settled
- `:day:<day>`: hash of what was spent on a day: `a` by the agent, `c:<revision>` by a canary; `r` is what of `a` was
  restored after a loss: a pod that knows of more adds the difference, so that all of them together add it once
- `:user:<day>:<user>`: what a user spent on a day
- `:run:<run>`: hash of what a run took: `m` micro-dollars, `t` tokens

A hold counts as spent from its beginning; settling it corrects the sums. So a hold whose lease ends is charged in full
by leaving it alone: sweeping only takes it off the list.
"""

from __future__ import annotations

DAY_KEY_SECONDS = 3 * 86_400
CLOCK_KEY_SECONDS = 3 * 86_400
LEDGER_KEY_SECONDS = 30 * 86_400
"""The ledger's own key is renewed by every living pod; it goes a month after the last one."""

RUN_KEY_SECONDS = 86_400
SETTLED_KEY_SECONDS = 300
"""How long a settled id is known, so that settling it again changes nothing."""

LATE_SECONDS = 3600
"""How long after its lease a hold can still be corrected to the truth."""

SWEPT_AT_ONCE = 20

OK = 1
LOST = 2
OVER = 3
CLOCK = 4
GONE = 5
"""First item of each answer; then come epoch, sequence, sequence of the change that the script made or 0, and how many
holds were found whose lease is over. GONE: the reservation was given up before it arrived."""

_OPEN = f"""
local ledger = KEYS[1]
local clock_key, holds = ledger .. ':clock:' .. ARGV[1], ledger .. ':holds'
local known, known_seq, seen_seq = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local live, live_seq, seed = ARGV[5], tonumber(ARGV[6]), ARGV[7]
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local epoch, seq, own, before, swept = nil, 0, 0, '', 0

local function among(item)
  return item ~= '' and string.find(',' .. before .. ',', ',' .. item .. ',', 1, true) ~= nil
end

local function begin(name)
  redis.call('HSET', ledger, 'epoch', name, 'seq', seq, 'before', before)
  redis.call('HDEL', ledger, 'lost')
  redis.call('EXPIRE', ledger, {LEDGER_KEY_SECONDS})
  epoch = name
end

local function trusted()
  if live == epoch and seq < live_seq then return false end
  if known == '' then
    return live == '' or live == epoch or seed == epoch or among(live)
  elseif known == epoch then
    return seq >= seen_seq and tonumber(redis.call('GET', clock_key) or 0) >= known_seq
  end
  return epoch == live or epoch == seed or among(known)
end

local function sow()
  local chain, had = {{}}, {{}}
  for _, name in ipairs({{live, known, epoch or ''}}) do
    if name ~= '' and name ~= seed and not had[name] then
      had[name] = true
      chain[#chain + 1] = name
    end
  end
  for name in string.gmatch(before, '[^,]+') do
    if not had[name] and #chain < 16 then chain[#chain + 1] = name end
  end
  before = table.concat(chain, ',')
  seq = math.max(seq, live_seq) + 1
  begin(seed)
  local day = ledger .. ':day:' .. ARGV[8]
  local present = tonumber(redis.call('HGET', day, 'a') or 0)
  local restored = math.max(present, tonumber(ARGV[9]))
  redis.call('HSET', day, 'a', restored, 'r', restored)
  redis.call('EXPIRE', day, {DAY_KEY_SECONDS})
end

local function restore()
  local name, micro = string.match(ARGV[12], '(%S+) (%d+)')
  if not name then return end
  local day = ledger .. ':day:' .. name
  local sums = redis.call('HMGET', day, 'a', 'r')
  local missing = tonumber(micro) - tonumber(sums[2] or sums[1] or 0)
  if missing > 0 then
    redis.call('HINCRBY', day, 'a', missing)
    redis.call('HSET', day, 'r', micro)
    redis.call('EXPIRE', day, {DAY_KEY_SECONDS})
  end
end

local function open_ledger()
  local meta = redis.call('HMGET', ledger, 'epoch', 'seq', 'lost', 'before')
  epoch, seq, before = meta[1], tonumber(meta[2] or 0), meta[4] or ''
  if seed ~= '' and seed ~= live and seed ~= epoch and seed ~= known and not among(seed) then
    sow()
    restore()
    return true
  end
  if meta[3] then return false end
  if not epoch then
    if known == '' and live == '' then
      begin(ARGV[10])
      return true
    end
  elseif trusted() then
    if known ~= '' and known ~= epoch then restore() end
    return true
  end
  -- Also of a seed that was used: it must not make a ledger twice.
  if known ~= '' and not among(known) then before = known .. ',' .. before end
  redis.call('HSET', ledger, 'lost', 1, 'before', before)
  redis.call('EXPIRE', ledger, {LEDGER_KEY_SECONDS})
  return false
end

local function changed()
  seq = redis.call('HINCRBY', ledger, 'seq', 1)
  own = seq
  redis.call('SET', clock_key, seq, 'EX', {CLOCK_KEY_SECONDS})
end

local function sweep(most)
  local over = redis.call('ZRANGEBYSCORE', holds, '-inf', now, 'LIMIT', 0, most)
  swept = #over
  if swept > 0 then redis.call('ZREM', holds, unpack(over)) end
end

local function today()
  for name, first, last in string.gmatch(ARGV[11], '(%S+) (%d+) (%d+)') do
    if now >= tonumber(first) and now < tonumber(last) then return name, tonumber(last) - now end
  end
end

local function add(day, micro, tokens, user, canary, run)
  local day_key = ledger .. ':day:' .. day
  if micro ~= 0 then
    if redis.call('HINCRBY', day_key, 'a', micro) == micro then
      redis.call('EXPIRE', day_key, {DAY_KEY_SECONDS})
    end
    if canary ~= '' then redis.call('HINCRBY', day_key, 'c:' .. canary, micro) end
    local user_key = ledger .. ':user:' .. day .. ':' .. user
    if redis.call('INCRBY', user_key, micro) == micro then
      redis.call('EXPIRE', user_key, {DAY_KEY_SECONDS})
    end
  end
  if run ~= '' then
    local run_key = ledger .. ':run:' .. run
    redis.call('HINCRBY', run_key, 'm', micro)
    redis.call('HINCRBY', run_key, 't', tokens)
    redis.call('EXPIRE', run_key, {RUN_KEY_SECONDS})
  end
end

if not open_ledger() then return {{{LOST}, epoch or '', seq, 0, 0}} end
"""
"""What every script begins with: it finds out whether this is the ledger that the caller knows.

ARGV: 1 process, 2 known epoch, 3 sequence of the process's last change, 4 highest sequence seen, 5 epoch, 6 sequence,
7 seed, 8 day and 9 spent of the live document, 10 epoch of a new ledger, 11 days around now, 12 day and what was spent
on it as the caller was told last, or ''
"""

RESERVE = f"""{_OPEN}
local id, micro, tokens, lease = ARGV[13], tonumber(ARGV[14]), tonumber(ARGV[15]), tonumber(ARGV[16])
local user, canary, run = ARGV[17], ARGV[18], ARGV[19]
local run_micro, run_tokens = tonumber(ARGV[20]), tonumber(ARGV[21])
local most_micro, most_tokens, most_user, most_agent = unpack(ARGV, 22, 25)
local hold_key = ledger .. ':hold:' .. id

local function past(spent, wanted, most)
  return most ~= '' and spent + wanted > tonumber(most)
end

local held = redis.call('GET', hold_key)
if held == 's' then return {{{GONE}, epoch, seq, own, swept}} end
if held then return {{{OK}, epoch, seq, own, swept, string.match(held, '%S+$')}} end
local day, left = today()
if not day then return {{{CLOCK}, epoch, seq, own, swept}} end
sweep({SWEPT_AT_ONCE})
local function over(scope, spent, most, reset)
  return {{{OVER}, epoch, seq, own, swept, scope, spent, tonumber(most), math.ceil(reset)}}
end
if run ~= '' then
  local took = redis.call('HMGET', ledger .. ':run:' .. run, 'm', 't')
  run_micro = math.max(run_micro, tonumber(took[1] or 0))
  run_tokens = math.max(run_tokens, tonumber(took[2] or 0))
  if past(run_tokens, tokens, most_tokens) then return over('tokens', run_tokens, most_tokens, 0) end
  if past(run_micro, micro, most_micro) then return over('request', run_micro, most_micro, 0) end
end
if most_user ~= '' then
  local spent = tonumber(redis.call('GET', ledger .. ':user:' .. day .. ':' .. user) or 0)
  if past(spent, micro, most_user) then return over('user', spent, most_user, left) end
end
if most_agent ~= '' then
  local spent = tonumber(redis.call('HGET', ledger .. ':day:' .. day, 'a') or 0)
  if past(spent, micro, most_agent) then return over('agent', spent, most_agent, left) end
end
if run ~= '' then redis.call('HSET', ledger .. ':run:' .. run, 'm', run_micro, 't', run_tokens) end
add(day, micro, tokens, user, canary, run)
redis.call('SET', hold_key, 'h ' .. ARGV[14] .. ' ' .. ARGV[15] .. ' ' .. day, 'EX', math.ceil(lease) + {LATE_SECONDS})
redis.call('ZADD', holds, now + lease, id)
redis.call('EXPIRE', holds, {DAY_KEY_SECONDS})
changed()
return {{{OK}, epoch, seq, own, swept, day}}
"""
"""Hold the worst case of one call, in all scopes or in none; the same id again answers what it answered before.

ARGV: 13 id, 14 micro-dollars, 15 tokens, 16 seconds of the lease, 17 user, 18 canary revision or '', 19 run or '' if
it has no limit, 20 micro-dollars and 21 tokens that the run took as far as its process knows, 22 to 25 limits of the
run (micro-dollars, tokens), user and agent, '' for none
"""

SETTLE = f"""{_OPEN}
local id, micro, tokens = ARGV[13], tonumber(ARGV[14]), tonumber(ARGV[15])
local user, canary, run, day, of = ARGV[16], ARGV[17], ARGV[18], ARGV[19], ARGV[20]
local hold_key = ledger .. ':hold:' .. id
local held = redis.call('GET', hold_key)
redis.call('ZREM', holds, id)
sweep({SWEPT_AT_ONCE})
if held == 's' then return {{{OK}, epoch, seq, own, swept}} end
if held then
  local _, held_micro, held_tokens, held_day = string.match(held, '(%S+) (%S+) (%S+) (%S+)')
  add(held_day, micro - tonumber(held_micro), tokens - tonumber(held_tokens), user, canary, run)
elseif of ~= epoch then
  if day == '' then day = today() end
  if not day then return {{{CLOCK}, epoch, seq, own, swept}} end
  add(day, micro, tokens, user, canary, run)
end
redis.call('SET', hold_key, 's', 'EX', {SETTLED_KEY_SECONDS})
changed()
local present = today()
local spent = present and redis.call('HGET', ledger .. ':day:' .. present, 'a')
return {{{OK}, epoch, seq, own, swept, present or '', tonumber(spent or 0)}}
"""
"""Replace a hold by what the call took, exactly once; also after its lease.

Of an id that is not known, the reservation was lost with its ledger, or never made (`of` is ''): then the cost is
added. If it was of this very ledger, it was given up before it arrived, and the id is closed to it.
Answers also what the agent spent on the present day.

ARGV: 13 id, 14 micro-dollars, 15 tokens, 16 user, 17 canary revision or '', 18 run or '', 19 day of the reservation or
'' for today, 20 epoch of the reservation or ''
"""

LOOK = f"""{_OPEN}
local day = ARGV[13]
if day == '' then day = today() end
if not day then return {{{CLOCK}, epoch, seq, own, swept}} end
sweep(10 * {SWEPT_AT_ONCE})
redis.call('EXPIRE', ledger, {LEDGER_KEY_SECONDS})
redis.call('EXPIRE', clock_key, {CLOCK_KEY_SECONDS})
local spent = redis.call('HMGET', ledger .. ':day:' .. day, 'a', 'c:' .. ARGV[14])
return {{{OK}, epoch, seq, own, swept, day, tonumber(spent[1] or 0), tonumber(spent[2] or 0)}}
"""
"""What was spent on a day ('' for today), of it by a canary. ARGV: 13 day, 14 canary revision"""
