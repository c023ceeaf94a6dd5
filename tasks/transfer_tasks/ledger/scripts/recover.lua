-- recover: the sweep. Every worker runs it, and it is safe for all to run: one a time interval acts.
--
--   last heartbeat     lease over           next sweep          POST by the successor
--      |<--- lease_ms --->|<--- interval_ms --->|<-- milliseconds -->|
--
-- Where no sweep ran for longer than a lease, Redis or all workers were away, and every lease is over, whoever
-- lives. So nobody is judged until the living have had time for a heartbeat:
--
--   last sweep ... Redis away ...  first sweep |<--- grace_ms --->| deaths are judged again
--
-- Arguments:
--   interval_ms       at most one sweep in this time
--   lease_ms          how long a heartbeat counts
--   queue             the Celery queue
--   attempt_bound_ms  the longest an attempt may take, its settling included
--   limit             how many transfers of each kind one sweep looks at
--   grace_ms          see above
--   audit_group       who writes the audit lines
--   audit_kept        lines that stay in the outbox for people who watch, though they are written
--   audit_bound       how many lines the outbox holds at most, written or not
--   notification      a message with places for what a record says: "\0id", "\0intent", "\0signature", as JSON
--
-- Reply: {requeued, given_up, expired, gone_workers, lost_lines}

local interval_ms, lease_ms, queue, attempt_bound_ms, limit, grace_ms, audit_group, audit_kept,
  audit_bound, notification = unpack(ARGV, 3)
interval_ms, lease_ms, limit = tonumber(interval_ms), tonumber(lease_ms), tonumber(limit)
attempt_bound_ms, grace_ms = tonumber(attempt_bound_ms), tonumber(grace_ms)
audit_kept, audit_bound = tonumber(audit_kept), tonumber(audit_bound)
local requeued, given_up, expired, gone_workers, lost_lines = 0, 0, 0, 0, 0

local SWEEP = NS .. 'sweep'
local UNACKED, UNACKED_INDEX = NS .. 'unacked', NS .. 'unacked_index'
local past = redis.call('HMGET', SWEEP, 'last_ms', 'resumed_ms', 'priorities_empty_ms')
local last, resumed = tonumber(past[1]) or 0, tonumber(past[2]) or NOW
if NOW >= last and NOW - last < interval_ms then return { 0, 0, 0, 0, 0 } end
-- A clock that was set back is an outage, too.
if NOW < last or NOW - last > lease_ms then resumed = NOW end
write('HSET', SWEEP, 'last_ms', int(NOW), 'resumed_ms', int(resumed))
keep(SWEEP)

-- Producers that only have Celery may give a priority; kombu then writes to a list of its own, which nobody reads
-- here. First in, first out is all that there is. Behind this move a message's place says nothing of its age, so
-- what is known of it is noted here.
local function take_in_priorities(empty_ms)
  local lists = {}
  for priority = 1, 9 do lists[priority] = queue .. '\6\22' .. priority end
  if redis.call('EXISTS', unpack(lists)) == 0 then
    write('HSET', SWEEP, 'priorities_empty_ms', int(NOW))
    return
  end
  for _, list in ipairs(lists) do
    local messages = redis.pcall('LRANGE', list, -limit, -1)
    for at = #messages, 1, -1 do
      local message = messages[at]
      write('RPOP', list)
      local read = read_object(message)
      local id = read and type(read.headers) == 'table' and read.headers.id
      if empty_ms and type(id) == 'string' and string.match(id, '^[%x-]+$') and #id == 36 then
        write('SET', NS .. 'sight:' .. string.lower(id), empty_ms, 'NX', 'EX', RETENTION)
      end
      write('LPUSH', queue, message)
    end
  end
end
take_in_priorities(past[3])

local may_judge = NOW - resumed >= grace_ms
local function is_alive(worker)
  return not may_judge or redis.call('EXISTS', NS .. 'worker:' .. worker) == 1
end

local ending = endings()
local function expire(id)
  ending.finish_late(id, 'recovery')
  expired = expired + 1
end

-- Whose message to put back. Collected first: the oldest must be pushed last, to be taken first.
local redeliveries, is_collected = {}, {}
local function requeue(id, why, worker)
  if is_collected[id] then return end
  is_collected[id] = true
  table.insert(redeliveries, { id = id, why = why, worker = worker, accepted = tonumber(get(id, 'accepted_ms')[1]) })
end

-- The message of a transfer. The record has it from its publisher only if that was an older version.
local function write_message(id)
  local r = get(id, 'message', 'intent', 'signature')
  if r[1] and r[1] ~= '' then return r[1] end
  local said = { id = id, intent = demand(r[2], id), signature = r[3] or '' }
  return (string.gsub(notification, '"\\u0000(%a+)"', function(name) return cjson.encode(said[name]) end))
end

-- kombu keeps a fetched message in UNACKED under its delivery tag, which is the transfer's id: what lies
-- there now is ours to give to another worker.
local function redeliver(redelivery)
  local message = write_message(redelivery.id)
  write('HDEL', UNACKED, redelivery.id)
  write('ZREM', UNACKED_INDEX, redelivery.id)
  write('RPUSH', queue, message)
  set(redelivery.id, 'requeued_ms', int(NOW))
  audit(redelivery.id, 'transfer.requeued', cjson.encode({ why = redelivery.why, worker = redelivery.worker }))
  count('requeued|' .. redelivery.why)
  requeued = requeued + 1
end

local function give_up(id, reason, worker, reported)
  count_attempt(id, reason)
  if reported then
    ending.finish(id, 'transfer.finished', confirmation(reported, '; its answer: ' .. reason))
    return
  end
  count('given_up|' .. reason)
  ending.finish(id, 'transfer.finished', { state = 'unknown', reason = reason, source = 'recovery', data = { worker = worker } })
  given_up = given_up + 1
end

-- An older version lists what is open in two orders; both are taken over as they come.
local function take_over(index)
  for _, id in ipairs(redis.call('ZRANGE', index, 0, limit - 1)) do
    if not redis.call('ZSCORE', OPEN_IDS, id) then add_to(OPEN_IDS, id, -NOW) end
    write('ZREM', index, id)
  end
end

local function look_in_flight(id)
  local r = get(id, 'state', 'worker', 'expires_ms', 'begun_ms', 'token', 'accepted_ms', 'reported')
  local state, worker = r[1], r[2] or ''
  if not state and is_missing(id) then
    write('ZREM', OPEN_IDS, id)
  elseif state == 'sending' then
    -- It may have gone out; it has, where the platform has reported on it. Nobody sends it again; if its worker still
    -- lives, its answer corrects this.
    if not is_alive(worker) then give_up(id, 'worker_died', worker, r[7])
    elseif may_judge and NOW > tonumber(r[4]) + attempt_bound_ms then give_up(id, 'answer_lost', worker, r[7]) end
  elseif state == 'claimed' and not is_alive(worker) then
    if NOW >= tonumber(r[3]) then expire(id) else
      -- The token moves on here already, so that the old holder can do nothing before the successor has claimed.
      set(id, 'state', 'waiting', 'token', int(tonumber(r[5]) + 1))
      add_to(OPEN_IDS, id, tonumber(r[6]))
      requeue(id, 'worker_died', worker)
    end
  elseif state == 'claimed' and NOW >= tonumber(r[3]) + attempt_bound_ms then
    expire(id)
  elseif state == 'waiting' then
    add_to(OPEN_IDS, id, tonumber(r[6]))
  elseif state ~= 'claimed' then
    demand(ENDED[state], id)
    write('ZREM', OPEN_IDS, id)
  end
end
for _, index in ipairs({ NS .. 'waiting', NS .. 'in_flight' }) do take_over(index) end

local _, _, look_at = damage()
for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', OPEN_IDS, '(0', '-inf', 'LIMIT', 0, limit)) do look_at(id, look_in_flight) end

-- Who is gone is named for an hour, the last 50 of them.
local GONE, GONE_MS, MOST_GONE = NS .. 'gone', 3600000, 50
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', GONE, '-inf', int(NOW - GONE_MS))) do write('ZREM', GONE, worker) end
for _, worker in ipairs(redis.call('ZRANGE', GONE, 0, -MOST_GONE - 1)) do write('ZREM', GONE, worker) end
for _, worker in ipairs(redis.call('ZRANGEBYSCORE', NS .. 'workers', '-inf', int(NOW - lease_ms))) do
  if not is_alive(worker) then
    gone_workers = gone_workers + 1
    local last_ms = tonumber(redis.call('ZSCORE', NS .. 'workers', worker)) or 0
    if last_ms > 0 then add_to(GONE, worker, last_ms) end -- 0: it has stopped gracefully
    write('ZREM', NS .. 'workers', worker)
  end
end

-- Waiting transfers whose message is gone. It is in the queue, or fetched by a worker (UNACKED), or lost.
-- The queue is in the order of acceptance, so its oldest element tells what is still in it.
local function oldest_queued_at()
  local tail = redis.call('LINDEX', queue, -1)
  if not tail then return math.huge end
  local message = read_object(tail)
  if not message or type(message.headers) ~= 'table' then return nil end
  local is_read, record = pcall(get, tostring(message.headers.id), 'accepted_ms')
  return is_read and tonumber(record[1]) or nil
end

local queued_since = oldest_queued_at()
local function look_waiting(id)
  local r = get(id, 'accepted_ms', 'expires_ms', 'requeued_ms', 'state')
  if not r[4] and is_missing(id) then
    write('ZREM', OPEN_IDS, id)
  elseif r[4] ~= 'waiting' then
    demand(OPEN[r[4]] or ENDED[r[4]], id)
    if OPEN[r[4]] then add_to(OPEN_IDS, id, -NOW) else write('ZREM', OPEN_IDS, id) end
  elseif NOW >= tonumber(r[2]) then
    expire(id)
  else
    local accepted = tonumber(r[1])
    local notified_at = tonumber(r[3]) or accepted
    local is_fetched = redis.call('HEXISTS', UNACKED, id) == 1
    if is_fetched then
      if gone_workers > 0 then requeue(id, 'its_worker_has_gone') end
    elseif queued_since and accepted < queued_since and NOW - notified_at > lease_ms then
      requeue(id, 'message_lost')
    end
  end
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', OPEN_IDS, 0, '+inf', 'LIMIT', 0, limit)) do look_at(id, look_waiting) end

table.sort(redeliveries, function(one, other) return one.accepted > other.accepted end)
for _, redelivery in ipairs(redeliveries) do redeliver(redelivery) end

commit() -- an outbox that can't be trimmed holds nothing up
forget()

-- What is written goes first: when it is too much, or older than a record may be. Lines that nobody has written go only
-- where Redis would fill up: they are counted.
local OUTDATED = NOW - RETENTION * 1000
local OUTBOX_LIMIT = 2000 -- how many lines one sweep drops at most; their ids are handed to one command

local function last_read()
  local groups = redis.pcall('XINFO', 'GROUPS', AUDIT)
  for _, group in ipairs(groups.err and {} or groups) do
    local said = {}
    for at = 1, #group, 2 do said[group[at]] = group[at + 1] end
    if said.name == audit_group then return said['last-delivered-id'] end
  end
end

-- The id of the oldest line that may not be written yet.
local function find_unwritten(read_until)
  local pending = redis.call('XPENDING', AUDIT, audit_group)
  if pending[1] > 0 then return pending[2] end
  local ms, number = string.match(read_until, '^(%d+)-(%d+)$')
  return ms .. '-' .. int(tonumber(number) + 1)
end

-- How many lines an entry has: see `audit_entry`.
local function count_lines(entry)
  local ok, parts = pcall(cjson.decode, entry[2][1] == 'line' and entry[2][2] or '')
  return ok and type(parts) == 'table' and #parts > 9 and 1 + math.floor((#parts - 9) / 3) or 1
end

local function time_of(line_id) return tonumber(string.match(line_id, '^%d+')) end

local function trim_outbox()
  local length, oldest = redis.call('XLEN', AUDIT), redis.call('XRANGE', AUDIT, '-', '+', 'COUNT', 1)[1]
  local has_old = oldest and time_of(oldest[1]) < OUTDATED
  if length <= audit_kept and not has_old then return end
  local read_until = last_read()
  if read_until then
    local unwritten = find_unwritten(read_until)
    if has_old then
      redis.call('XTRIM', AUDIT, 'MINID', '=', time_of(unwritten) < OUTDATED and unwritten or int(OUTDATED))
      length = redis.call('XLEN', AUDIT)
    end
    if length <= audit_kept then return end
    redis.call('XTRIM', AUDIT, 'MINID', '~', unwritten, 'LIMIT', length - audit_kept)
    length = redis.call('XLEN', AUDIT)
  end
  if length <= audit_bound then return end
  local doomed = redis.call('XRANGE', AUDIT, '-', '+', 'COUNT', math.min(length - audit_bound, OUTBOX_LIMIT))
  local newest = doomed[#doomed][1]
  if read_until then
    local lines, held = {}, {}
    for _, entry in ipairs(doomed) do lines[entry[1]] = count_lines(entry) end
    for _, entry in ipairs(redis.call('XRANGE', AUDIT, '(' .. read_until, newest, 'COUNT', #doomed)) do
      lost_lines = lost_lines + count_lines(entry)
    end
    for _, entry in ipairs(redis.call('XPENDING', AUDIT, audit_group, '-', newest, #doomed)) do
      table.insert(held, entry[1])
      lost_lines = lost_lines + (lines[entry[1]] or 0)
    end
    if #held > 0 then redis.call('XACK', AUDIT, audit_group, unpack(held)) end
  else
    for _, entry in ipairs(doomed) do lost_lines = lost_lines + count_lines(entry) end
  end
  redis.call('XTRIM', AUDIT, 'MAXLEN', '=', length - #doomed)
  if lost_lines > 0 then count_in_both('audit_lines_lost', lost_lines) end
end
trim_outbox()

-- Dead letters have one time to live together, and each new one renews it. So the sweep looks at the oldest ones.
local function trim_quarantine()
  local QUARANTINE, LOOKED_AT = NS .. 'quarantine', 20
  local function read_time(entry)
    local said = read_object(entry)
    return said and tonumber(said.at_ms) or nil
  end
  local oldest = redis.pcall('LRANGE', QUARANTINE, -1, -1)[1]
  if not oldest or (read_time(oldest) or 0) >= OUTDATED then return end
  local last = redis.call('LRANGE', QUARANTINE, -LOOKED_AT, -1)
  for at, entry in ipairs(last) do
    -- One whose time can't be read goes with the next that is old.
    if (read_time(entry) or NOW) < OUTDATED then
      redis.call('LTRIM', QUARANTINE, 0, at - #last - 2)
      return
    end
  end
end
trim_quarantine()

compact_what_is_old()

return { requeued, given_up, expired, gone_workers, lost_lines }
