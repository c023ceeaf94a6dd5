-- end_poll: what one question taught us, by whoever asked it last; who was overtaken changes nothing but the pace.
-- Safe to repeat.
--
-- Arguments:
--   request_id
--   number    of the question
--   seen      what came of it, a word
--   wait_ms   until the next question, or '' where there is nothing more to learn
--   hold_ms   how long nobody is to ask for anything, or ''
--
-- Reply: 1

local request_id, number, seen, wait_ms, hold_ms = unpack(ARGV, 3)
local POLLS, NOTES = NS .. 'polls', NS .. 'poll_notes'

count('poll|' .. seen)
if hold_ms ~= '' then
  local next_ms = tonumber(redis.call('HGET', NOTES, '*next_ms') or '') or 0
  write('HSET', NOTES, '*next_ms', int(math.max(next_ms, NOW + tonumber(hold_ms))))
  keep(NOTES)
end
local note = read_object(redis.call('HGET', NOTES, request_id))
if note and tostring(note.number) == number then
  if wait_ms == '' then
    write('ZREM', POLLS, request_id)
    write('HDEL', NOTES, request_id)
  else
    write('ZADD', POLLS, int(NOW + tonumber(wait_ms)), request_id)
    keep(POLLS)
  end
end
return 1
