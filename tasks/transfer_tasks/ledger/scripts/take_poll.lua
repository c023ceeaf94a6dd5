-- take_poll: the right to ask the platform how one request went. To one worker at a time, and no faster than all of them
-- together may ask. On record before the question leaves, so that a worker killed meanwhile is succeeded, and counted.
--
--   polls        sorted set: request ids, scored by when somebody may ask; written by `end_attempt`
--   poll_notes   hash: request id -> JSON {call_id, number, until_ms}; '*next_ms': before then nobody asks for anything
--
-- Arguments:
--   lease_ms   after this, another worker may ask for the same
--   pace_ms    at least this lies between two questions of all workers
--   max_polls  how often one request is asked for
--
-- Reply: {'ask', request_id, call_id, number of the question} | {'wait', ms until it is worth to come again, or ''}

local lease_ms, pace_ms, max_polls = unpack(ARGV, 3)
local POLLS, NOTES = NS .. 'polls', NS .. 'poll_notes'

local next_ms = tonumber(redis.call('HGET', NOTES, '*next_ms') or '') or 0
if next_ms > NOW then return { 'wait', int(next_ms - NOW) } end
local first = redis.call('ZRANGE', POLLS, 0, 0, 'WITHSCORES')
local request_id, due_ms = first[1], tonumber(first[2])
if not request_id then return { 'wait', '' } end
if due_ms > NOW then return { 'wait', int(due_ms - NOW) } end

local note = read_object(redis.call('HGET', NOTES, request_id))
local is_read = note and tonumber(note.number) and tonumber(note.until_ms)
local is_settled = is_read and connections().is_settled(request_id)
if is_settled or not is_read or note.number >= tonumber(max_polls) or NOW > note.until_ms then
  write('ZREM', POLLS, request_id)
  write('HDEL', NOTES, request_id)
  if not is_settled then count('poll|given_up') end
  return { 'wait', '0' }
end
note.number = note.number + 1
write('ZADD', POLLS, int(NOW + tonumber(lease_ms)), request_id)
write('HSET', NOTES, request_id, cjson.encode(note), '*next_ms', int(NOW + tonumber(pace_ms)))
keep(POLLS)
keep(NOTES)
return { 'ask', request_id, note.call_id or '', int(note.number) }
