"""Lua of the task store: each script is one atomic change of one task.

Keys of a task, all in the namespace's hash slot; the scripts derive them from the base `<...>:task`:

    <base>:<id>             hash: state, fence, request, progress, result ...
    <base>:<id>:step        hash, emptied at each answer of the model: s:<call> began, by this rule, r:<call> result,
                            e:<event>:<call> shown
    <base>:<id>:decisions   hash: what a person decided about calls of this step
    <base>:<id>:audit       list: decisions of earlier steps
    <base>:<id>:events      stream; its ids are 1-0, 2-0, ... so that a gap is seen

Sets of an agent: ready (by creation), leases (by end of the lease), open (by the end of a task's age, until it ended),
workers (by when they were last seen). What open is for all, `<...>:tasks:of:<user>` is for one user. All times are the
store's own, in milliseconds.

The fence is a number that rises whenever a task changes hands: who writes with an old one is refused.
"""

from __future__ import annotations

_PRELUDE = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

local function keep(key, task)
  redis.call('PEXPIREAT', key, redis.call('HGET', task, 'gone'))
end

local function emit(task, document, most)
  local number = redis.call('HINCRBY', task, 'events', 1)
  redis.call('XADD', task .. ':events', 'MAXLEN', '~', most, number .. '-0', 'e', document)
  keep(task .. ':events', task)
end

local function held(task, fence)
  local state = redis.call('HMGET', task, 'state', 'fence')
  return state[1] == 'Running' and state[2] == fence
end

local function open_of(base, user)
  return base .. 's:of:' .. user
end

local function finish(base, sets, id, state, field, document, event, retention, most)
  local task = base .. ':' .. id
  redis.call('HSET', task, 'state', state, 'ended', now, 'gone', now + retention, field, document)
  redis.call('HDEL', task, 'waiting', 'progress')
  redis.call('HINCRBY', task, 'fence', 1)
  emit(task, event, most)
  redis.call('DEL', task .. ':step')
  for _, suffix in ipairs({'', ':decisions', ':audit'}) do keep(task .. suffix, task) end
  redis.call('ZREM', sets.ready, id)
  redis.call('ZREM', sets.leases, id)
  redis.call('ZREM', sets.open, id)
  redis.call('ZREM', open_of(base, redis.call('HGET', task, 'user')), id)
end

local function queue(base, sets, id)
  local task = base .. ':' .. id
  redis.call('HSET', task, 'state', 'Queued', 'since', now)
  redis.call('HDEL', task, 'pod')
  redis.call('HINCRBY', task, 'fence', 1)
  redis.call('ZREM', sets.leases, id)
  redis.call('ZADD', sets.ready, redis.call('HGET', task, 'created'), id)
end

local sets = {ready = KEYS[1], leases = KEYS[2], open = KEYS[3]}
local base = ARGV[1]
"""

CREATE = (
    _PRELUDE
    + """
-- KEYS[4]: the idempotency key, if there is one. ARGV: base, id, user, body hash, max queue, max of the user or -1,
-- max age, retention, max events, queued event, waiting calls or '', count of their events, these events ...,
-- fields ...
local id, mine, hash, task = ARGV[2], open_of(base, ARGV[3]), ARGV[4], base .. ':' .. ARGV[2]
if KEYS[4] then
  local known = redis.call('HMGET', KEYS[4], 'id', 'hash')
  if known[1] then
    local state = redis.call('HGET', base .. ':' .. known[1], 'state')
    if state and known[2] ~= hash then return {'conflict', known[1], state} end
    if state then return {'known', known[1], state} end
  end
end
local queued = redis.call('ZCARD', sets.open) - redis.call('ZCARD', sets.leases)
if queued >= tonumber(ARGV[5]) then return {'full', '', ''} end
local share = tonumber(ARGV[6])
-- By time: one whose record was lost counts no longer than it could have run.
if share >= 0 and redis.call('ZCOUNT', mine, now, '+inf') >= share then return {'share', '', ''} end
local deadline = now + tonumber(ARGV[7])
local gone = deadline + tonumber(ARGV[8])
local most = ARGV[9]
local waiting = ARGV[11] ~= ''
local first = 13 + tonumber(ARGV[12])
redis.call('HSET', task, unpack(ARGV, first))
redis.call('HSET', task, 'created', now, 'since', now, 'deadline', deadline, 'gone', gone, 'fence', 0, 'attempt', 0,
  'lost', 0, 'state', waiting and 'WaitingForApproval' or 'Queued')
redis.call('PEXPIREAT', task, gone)
emit(task, ARGV[10], most)
if waiting then
  redis.call('HSET', task, 'waiting', ARGV[11])
  for i = 13, first - 1 do emit(task, ARGV[i], most) end
else
  redis.call('ZADD', sets.ready, now, id)
end
redis.call('ZADD', sets.open, deadline, id)
redis.call('ZADD', mine, deadline, id)
redis.call('ZREMRANGEBYSCORE', mine, '-inf', now)
redis.call('PEXPIREAT', mine, gone)
if KEYS[4] then
  redis.call('HSET', KEYS[4], 'id', id, 'hash', hash)
  redis.call('PEXPIREAT', KEYS[4], gone)
end
return {'created', id, waiting and 'WaitingForApproval' or 'Queued'}
"""
)

PULSE = (
    _PRELUDE
    + """
-- ARGV: base, worker, lease, then id and fence of each held task. Answers ok, cancel or lost for each.
redis.call('ZADD', KEYS[4], now, ARGV[2])
local answers = {}
for i = 4, #ARGV, 2 do
  local task = base .. ':' .. ARGV[i]
  if not held(task, ARGV[i + 1]) then
    table.insert(answers, 'lost')
  else
    redis.call('ZADD', sets.leases, now + tonumber(ARGV[3]), ARGV[i])
    table.insert(answers, redis.call('HGET', task, 'cancel') and 'cancel' or 'ok')
  end
end
return answers
"""
)

SWEEP = (
    _PRELUDE
    + """
-- ARGV: base, retention, max events, max lost leases, then problem and event of: approval-timeout, too old, abandoned;
-- then the event of a cancellation.
local retention, most, changed = tonumber(ARGV[2]), ARGV[3], 0
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now - 3600000)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', sets.open, '-inf', now, 'LIMIT', 0, 20)) do
  local state = redis.call('HGET', base .. ':' .. id, 'state')
  local first = state == 'WaitingForApproval' and 5 or 7
  if state then
    finish(base, sets, id, 'Failed', 'problem', ARGV[first], ARGV[first + 1], retention, most)
  else
    redis.call('ZREM', sets.open, id)
    redis.call('ZREM', sets.ready, id)
    redis.call('ZREM', sets.leases, id)
  end
  changed = changed + 1
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', sets.leases, '-inf', now, 'LIMIT', 0, 20)) do
  local task = base .. ':' .. id
  if redis.call('HGET', task, 'state') ~= 'Running' then
    redis.call('ZREM', sets.leases, id)
  elseif redis.call('HGET', task, 'cancel') then
    finish(base, sets, id, 'Cancelled', 'cancelled', now, ARGV[11], retention, most)
  elseif redis.call('HINCRBY', task, 'lost', 1) > tonumber(ARGV[4]) then
    finish(base, sets, id, 'Failed', 'problem', ARGV[9], ARGV[10], retention, most)
  else
    queue(base, sets, id)
  end
  changed = changed + 1
end
return changed
"""
)

CLAIM = (
    _PRELUDE
    + """
-- ARGV: base, revision, pod, lease, adoption time or -1, max events. Answers nothing or the task and its step.
local adoption = tonumber(ARGV[5])
local seen
local function served(revision)
  if not seen then
    seen = {}
    for _, worker in ipairs(redis.call('ZRANGEBYSCORE', KEYS[4], now - adoption, '+inf')) do
      seen[string.match(worker, '^(%S+)')] = true
    end
  end
  return seen[revision]
end
for _, id in ipairs(redis.call('ZRANGE', sets.ready, 0, -1)) do
  local task = base .. ':' .. id
  local facts = redis.call('HMGET', task, 'revision', 'since', 'state')
  if facts[3] ~= 'Queued' then
    redis.call('ZREM', sets.ready, id)
  elseif facts[1] == ARGV[2] or (adoption >= 0 and now - tonumber(facts[2]) >= adoption and not served(facts[1])) then
    local event = {type = 'task.started', revision = ARGV[2]}
    if facts[1] ~= ARGV[2] then
      redis.call('HSET', task, 'moved_from', facts[1], 'revision', ARGV[2])
      event.moved_from = facts[1]
    end
    event.attempt = redis.call('HINCRBY', task, 'attempt', 1)
    if event.attempt > 1 then event.type = 'task.resumed' end
    redis.call('HSET', task, 'state', 'Running', 'pod', ARGV[3])
    redis.call('HINCRBY', task, 'fence', 1)
    redis.call('ZREM', sets.ready, id)
    redis.call('ZADD', sets.leases, now + tonumber(ARGV[4]), id)
    emit(task, cjson.encode(event), ARGV[6])
    return {id, redis.call('HGETALL', task), redis.call('HGETALL', task .. ':step'),
      redis.call('HGETALL', task .. ':decisions'), tostring(now)}
  end
end
return nil
"""
)

ANSWERED = (
    _PRELUDE
    + """
-- ARGV: base, id, fence, progress, iterations.
local task = base .. ':' .. ARGV[2]
if not held(task, ARGV[3]) then return 0 end
redis.call('HSET', task, 'progress', ARGV[4], 'iterations', ARGV[5])
for _, decision in ipairs(redis.call('HVALS', task .. ':decisions')) do
  redis.call('RPUSH', task .. ':audit', decision)
  keep(task .. ':audit', task)
end
redis.call('DEL', task .. ':step', task .. ':decisions')
return 1
"""
)

MARK = (
    _PRELUDE
    + """
-- ARGV: base, id, fence, field, value: notes about a call of this step.
local task = base .. ':' .. ARGV[2]
if not held(task, ARGV[3]) then return 0 end
if redis.call('HSET', task .. ':step', ARGV[4], ARGV[5]) == 1 and string.sub(ARGV[4], 1, 2) == 'r:' then
  redis.call('HINCRBY', task, 'tool_calls', 1)
end
keep(task .. ':step', task)
return 1
"""
)

EMIT = (
    _PRELUDE
    + """
-- ARGV: base, id, fence, number of this batch, max events, then of each event its mark and document. A mark is '' or
-- the name of something that is shown once a step.
local task = base .. ':' .. ARGV[2]
if not held(task, ARGV[3]) then return 0 end
local batch = ARGV[3] .. ':' .. ARGV[4]
if redis.call('HGET', task, 'batch') == batch then return 1 end
redis.call('HSET', task, 'batch', batch)
for i = 6, #ARGV, 2 do
  local mark, fresh = ARGV[i], 1
  if mark == 'begun' then
    fresh = redis.call('HSETNX', task, 'begun', 1)
  elseif mark ~= '' then
    fresh = redis.call('HSETNX', task .. ':step', mark, 1)
    keep(task .. ':step', task)
  end
  if fresh == 1 then emit(task, ARGV[i + 1], ARGV[5]) end
end
return 1
"""
)

FINISH = (
    _PRELUDE
    + """
-- ARGV: base, id, fence, state, field, document, event, retention, max events.
local task = base .. ':' .. ARGV[2]
if not held(task, ARGV[3]) then return 0 end
finish(base, sets, ARGV[2], ARGV[4], ARGV[5], ARGV[6], ARGV[7], tonumber(ARGV[8]), ARGV[9])
return 1
"""
)

SUSPEND = (
    _PRELUDE
    + """
-- ARGV: base, id, fence, progress, waiting calls, cancelled event, retention, max events.
local task = base .. ':' .. ARGV[2]
if not held(task, ARGV[3]) then return 0 end
if redis.call('HGET', task, 'cancel') then
  finish(base, sets, ARGV[2], 'Cancelled', 'cancelled', now, ARGV[6], tonumber(ARGV[7]), ARGV[8])
  return 1
end
redis.call('HSET', task, 'state', 'WaitingForApproval', 'progress', ARGV[4], 'waiting', ARGV[5])
redis.call('HDEL', task, 'pod')
redis.call('HINCRBY', task, 'fence', 1)
redis.call('ZREM', sets.leases, ARGV[2])
return 1
"""
)

RELEASE = (
    _PRELUDE
    + """
-- ARGV: base, id, fence.
local task = base .. ':' .. ARGV[2]
if not held(task, ARGV[3]) then return 0 end
queue(base, sets, ARGV[2])
return 1
"""
)

LEAVE = _PRELUDE + "return redis.call('ZREM', KEYS[4], ARGV[2])"

CANCEL = (
    _PRELUDE
    + """
-- ARGV: base, id, u<user> or '', cancelled event, retention, max events. Answers the state, or nothing.
local task = base .. ':' .. ARGV[2]
local facts = redis.call('HMGET', task, 'state', 'user')
if not facts[1] or (ARGV[3] ~= '' and 'u' .. facts[2] ~= ARGV[3]) then return nil end
if facts[1] == 'Running' then
  redis.call('HSET', task, 'cancel', 1)
elseif facts[1] == 'Queued' or facts[1] == 'WaitingForApproval' then
  finish(base, sets, ARGV[2], 'Cancelled', 'cancelled', now, ARGV[4], tonumber(ARGV[5]), ARGV[6])
  return 'Cancelled'
end
return facts[1]
"""
)

DECIDE = (
    _PRELUDE
    + """
-- ARGV: base, id, u<user> or '', call, approved, who, reason, event, max events. Answers the outcome and the state.
local task = base .. ':' .. ARGV[2]
local facts = redis.call('HMGET', task, 'state', 'user', 'waiting')
if not facts[1] or (ARGV[3] ~= '' and 'u' .. facts[2] ~= ARGV[3]) then return {'unknown', ''} end
local before = redis.call('HGET', task .. ':decisions', ARGV[4])
if before then
  local same = cjson.decode(before).approved == (ARGV[5] == '1')
  return {same and 'same' or 'decided', facts[1]}
end
if facts[1] ~= 'WaitingForApproval' then return {'closed', facts[1]} end
local open, found = 0, false
for _, call in ipairs(cjson.decode(facts[3])) do
  if call.id == ARGV[4] then
    found = true
  elseif redis.call('HEXISTS', task .. ':decisions', call.id) == 0 then
    open = open + 1
  end
end
if not found then return {'no-call', facts[1]} end
local decision = {call = ARGV[4], approved = ARGV[5] == '1', who = ARGV[6], reason = ARGV[7], at = now}
redis.call('HSET', task .. ':decisions', ARGV[4], cjson.encode(decision))
keep(task .. ':decisions', task)
emit(task, ARGV[8], ARGV[9])
if open > 0 then return {'ok', facts[1]} end
redis.call('HDEL', task, 'waiting')
queue(base, sets, ARGV[2])
return {'ok', 'Queued'}
"""
)

VIEW = (
    _PRELUDE
    + """
-- ARGV: base, id, then fields. Answers them, the decisions of this step and the earlier ones.
local task = base .. ':' .. ARGV[2]
return {redis.call('HMGET', task, unpack(ARGV, 3)), redis.call('HVALS', task .. ':decisions'),
  redis.call('LRANGE', task .. ':audit', 0, -1)}
"""
)

OPEN = (
    _PRELUDE
    + """
-- ARGV: base, user, state or '', how many, how many to look at, then fields. Answers, of the user's tasks that have not
-- ended and are in this state, the newest first: id, the fields and the decisions of this step.
local found = {}
for _, id in ipairs(redis.call('ZREVRANGE', open_of(base, ARGV[2]), 0, ARGV[5] - 1)) do
  local task = base .. ':' .. id
  local state = redis.call('HGET', task, 'state')
  if state and (ARGV[3] == '' or state == ARGV[3]) then
    table.insert(found, {id, redis.call('HMGET', task, unpack(ARGV, 6)), redis.call('HVALS', task .. ':decisions')})
    if #found == tonumber(ARGV[4]) then break end
  end
end
return found
"""
)
