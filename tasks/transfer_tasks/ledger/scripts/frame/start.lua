-- In front of every script: what all of them are about, and what a step needs in any case.
--
-- ARGV[1] namespace          every key begins with it, followed by ':'
-- ARGV[2] retention_seconds  how long a record lives after its last change
-- Each script documents its own arguments and its reply. Its first statement names the arguments in their order,
-- and nothing else does: whoever calls it gives them by these names (transfer_tasks/ledger/commands.py).
--
-- Keys are built here from the namespace, because one transition touches records that only the record
-- itself names. So all keys of a namespace live on one Redis (no cluster slots).
-- Time is Redis's own: one clock for publishers and workers, whatever theirs say.

local NS = ARGV[1] .. ':'
local RETENTION = tonumber(ARGV[2])

local function record_key(id) return NS .. 'record:' .. id end
local UNKNOWN = NS .. 'unknown'
local AUDIT, LIMITS = NS .. 'audit', NS .. 'limits'

local function read_clock_ms()
  local now = redis.call('TIME')
  return tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
end
local NOW = read_clock_ms()

-- Lua would print a large number as 1.7e+12.
local function int(number) return string.format('%d', number) end

-- What has not ended, the oldest first:
--
--   open   sorted set: id -> accepted_ms of one that waits, -claimed_ms of one that a worker acts on
--   kept   there while a worker lives whose heartbeats renew the time to live of `open` and `audit`
local OPEN_IDS, KEPT = NS .. 'open', NS .. 'kept'

local function text_or_nil(text) if text == '' then return nil end return text end

-- Whether statistics and metrics may show a destination's name. Nobody masks there: one with so many digits may hold a
-- number.
local function may_be_shown(name)
  return type(name) == 'string' and #name <= 64 and string.match(name, '^[%w_-]+$')
    and select(2, string.gsub(name, '%d', '')) < 7
end

-- The kill switch.
--
--   paused   hash: a destination's name, or '*' for all -> JSON {at_ms, by, reason}
--
-- Heartbeats renew its TTL, so that no pause ends by itself while there is anybody who could send.
local PAUSED = NS .. 'paused'

-- One entry of the audit outbox, as the arguments of XADD: a JSON list in one field, because names of fields would be
-- repeated in the file of Redis with each line. transfer_worker/audit/outbox.py reads it.
-- `of` is {call_id, key, hop, attempt, labels}; `data` a JSON object with what only this line has. A second line of the
-- same step needs no entry of its own: `next_event`, `next_attempt` and `next_data` are what differs in it.
local function audit_entry(id, event, data, of, next_event, next_attempt, next_data)
  return AUDIT, '*', 'line', cjson.encode({ event, int(NOW), id, of[1] or '', of[2] or '', of[3] or '', of[4] or '0',
    of[5] or '{}', data, next_event, next_attempt, next_data })
end

-- Lines that nobody has written yet outlive the records. Those that are written don't: the sweep takes them away.
local LIFE_OF_OUTBOX = math.max(RETENTION, 24 * 3600)

-- Endings, for whoever lists them.
--
--   ended:<state>:<time / 1 h>   list: the endings of one hour, oldest first
--
-- It lives from its first ending on, and as long as the record of its last.
local HOUR_MS = 3600 * 1000
local LIFE_OF_ENDED = RETENTION + 3600

local function ended_key(state, at_ms) return NS .. 'ended:' .. state .. ':' .. int(math.floor(at_ms / HOUR_MS)) end
local function ended_line(id, reason, destination) return table.concat({ id, int(NOW), reason, destination }, ' ') end

-- Statistics: counters that are right whoever counts, because they are noted in the step that they tell of.
--
--   statistics                 hash: since the beginning; heartbeats renew its TTL
--   statistics:<time / 10 s>   hash: the same fields in one slice of time, for "the last minute"
--   statistics:uncounted       list: what steps have noted since the last heartbeat, which adds it to the hashes
--
-- A step leaves one note, whatever it counts: the slice of time, then a line for each field. 't' is for the hash since
-- the beginning, 'b' for both:
--
--   176421234
--   b1 attempt|accepted_by_platform
--   t7 outcome_ms_sum
--
-- A field's name is its parts joined by '|'. Whoever reads them lists them, and adds the notes:
-- transfer_worker/monitoring/counts.py. Who asks is no note: where no worker lives, notes may become older than a slice.
local STATISTICS = NS .. 'statistics'
local UNCOUNTED = STATISTICS .. ':uncounted'
local SLICE_TTL = 2 * 3600

local function slice_of_time() return int(math.floor(NOW / 10000)) end

-- Upper bound of a histogram's bucket: 1, 2, 3, 5, 7, 10, 20 … 300000 ms, then 'inf'.
local function bucket_of(ms)
  local decade = 1
  while ms > 10 * decade do decade = 10 * decade end
  for _, step in ipairs({ 1, 2, 3, 5, 7, 10 }) do
    if ms <= step * decade then return step * decade <= 300000 and int(step * decade) or 'inf' end
  end
end

-- Without a heartbeat, steps add the notes up themselves whenever so many wait.
local MAX_UNCOUNTED, ARE_MANY_UNCOUNTED = 300, false
local NEW_COUNTER -- {key, field, by, seconds to live} of a field that the usual case of a step has made

-- Counters stop nothing, and nothing stops for them: a note is lost where it can't be left.
local function leave_note(lines)
  local notes = redis.pcall('RPUSH', UNCOUNTED, slice_of_time() .. '\n' .. table.concat(lines, '\n'))
  if notes == 1 then redis.pcall('EXPIRE', UNCOUNTED, RETENTION) end
  ARE_MANY_UNCOUNTED = type(notes) == 'number' and notes >= MAX_UNCOUNTED
end
