-- Shared by every transition; put in front of each script when it is loaded.
--
-- ARGV[1] namespace          every key begins with it, followed by ':'
-- ARGV[2] retention_seconds  how long a record lives after its last change
-- Each script documents its own arguments, from ARGV[3] on, and its reply.
--
-- Keys are built here from the namespace, because one transition touches records that only the record
-- itself names. So all keys of a namespace live on one Redis (no cluster slots).
-- Time is Redis's own: one clock for publishers and workers, whatever theirs say.

local NS = ARGV[1] .. ':'
local RETENTION = tonumber(ARGV[2])
local AUDIT_MAX_EVENTS = 100000

local OPEN = { waiting = true, claimed = true, sending = true }

local function record_key(id) return NS .. 'record:' .. id end
local WAITING, IN_FLIGHT, UNKNOWN = NS .. 'waiting', NS .. 'in_flight', NS .. 'unknown'
local AUDIT = NS .. 'audit'

local function read_clock_ms()
  local now = redis.call('TIME')
  return tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
end
local NOW = read_clock_ms()

-- Lua would print a large number as 1.7e+12.
local function int(number) return string.format('%d', number) end

local function keep(key) redis.call('EXPIRE', key, RETENTION) end

local function add_to(index, id, score)
  redis.call('ZADD', index, int(score), id)
  keep(index)
end

local function get(id, ...) return redis.call('HMGET', record_key(id), ...) end

-- Append one line to the audit outbox, in the same step as the change that it tells of.
-- `data` is a JSON object with what only this line has.
local function audit(id, event, data)
  local r = get(id, 'call_id', 'key', 'hop', 'attempt', 'labels')
  redis.call('XADD', AUDIT, 'MAXLEN', '~', AUDIT_MAX_EVENTS, '*',
    'event', event, 'at_ms', int(NOW), 'transfer_id', id, 'call_id', r[1] or '', 'key', r[2] or '',
    'hop', r[3] or '', 'attempt', r[4] or '0', 'labels', r[5] or '{}', 'data', data)
  keep(AUDIT)
end

-- The outcome as the JSON that handles read, built from the record.
local function outcome_json(id)
  local r = get(id, 'call_id', 'state', 'reason', 'attempt', 'hop', 'source', 'http_status', 'detail', 'ended_ms')
  return cjson.encode({
    transfer_id = id, call_id = r[1], state = r[2], reason = r[3], attempts = tonumber(r[4]) or 0,
    hop = tonumber(r[5]) or 1, source = r[6], http_status = tonumber(r[7]) or cjson.null,
    detail = r[8] or '', ended_at_ms = tonumber(r[9]) or 0,
  })
end

local function wake(id)
  local channels = get(id, 'reply_to')[1]
  if not channels then return end
  local outcome = outcome_json(id)
  for channel in string.gmatch(channels, '%S+') do redis.call('PUBLISH', channel, outcome) end
end

-- Write an ending: record, indexes, audit line, wake-up; all or nothing.
-- `event` is 'transfer.finished', or 'transfer.resolved' where an unknown gets its truth.
local function finish(id, event, ending)
  local r = get(id, 'accepted_ms', 'state')
  redis.call('HSET', record_key(id), 'state', ending.state, 'reason', ending.reason, 'source', ending.source,
    'http_status', ending.http_status or '', 'detail', ending.detail or '', 'ended_ms', int(NOW))
  redis.call('HDEL', record_key(id), 'message')
  redis.call('ZREM', WAITING, id)
  redis.call('ZREM', IN_FLIGHT, id)
  if ending.state == 'unknown' then add_to(UNKNOWN, id, NOW) else redis.call('ZREM', UNKNOWN, id) end
  keep(record_key(id))
  local data = ending.data or {}
  data.state, data.reason, data.source = ending.state, ending.reason, ending.source
  data.http_status = tonumber(ending.http_status) or nil
  if ending.detail and ending.detail ~= '' then data.detail = ending.detail end
  data.waited_ms = NOW - (tonumber(r[1]) or NOW)
  if event == 'transfer.resolved' then data.previous_state = r[2] end
  audit(id, event, cjson.encode(data))
  wake(id)
  return outcome_json(id)
end

-- What a deadline makes of an open transfer: nothing was sent, or the last proven refusal stands.
local function finish_late(id, source)
  local r = get(id, 'attempt', 'last_reason', 'last_http_status', 'last_detail')
  if (tonumber(r[1]) or 0) == 0 then
    return finish(id, 'transfer.finished', { state = 'expired', reason = 'deadline_passed', source = source })
  end
  return finish(id, 'transfer.finished',
    { state = 'failed', reason = r[2], http_status = r[3], detail = r[4], source = source })
end

local function text_or_nil(text) if text == '' then return nil end return text end
