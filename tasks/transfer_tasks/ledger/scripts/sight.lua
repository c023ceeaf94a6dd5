-- sight: see a message that brings its own intent for the first time, and keep what is known of its age.
-- Safe to repeat: what was found first stays.
--
--   sent_after_ms                        now: the worker has it
--        |---- sent somewhere in here ------|
--        |<------- seconds to go ---------->|    counted from the left end, so never too long
--
-- Arguments:
--   transfer_id  its task id
--   is_needed    '1' where its deadline is counted from when it was sent, else ''
--   is_moved     '1' where its place in the queue says nothing, else ''
--   empty_ms     when the queue was empty before it came, or 0
--   after        the transfer whose message was taken from the queue right before, or ''
--
-- Reply: {now_ms, sent_after_ms}   the latter 0 where nothing is known

local transfer_id, is_needed, is_moved, empty_ms, after = unpack(ARGV, 3)
if is_needed == '' then return { int(NOW), '0' } end

local sight_key = NS .. 'sight:' .. transfer_id
local seen_first = redis.call('GET', sight_key)
if seen_first then return { int(NOW), seen_first } end

local sent_after = 0
if is_moved == '' then
  sent_after = tonumber(empty_ms)
  -- First in, first out: what came after a publisher's message was sent after it. Not so where that one was pushed
  -- anew, or stands for a message that brought its own intent.
  local r = get(after, 'accepted_ms', 'requeued_ms', 'brought')
  if r[1] and not r[2] and not r[3] then sent_after = math.max(sent_after, tonumber(r[1])) end
end
-- Redis's clock may have been set back.
sent_after = math.min(sent_after, NOW)
write('SET', sight_key, int(sent_after), 'EX', RETENTION)
return { int(NOW), int(sent_after) }
