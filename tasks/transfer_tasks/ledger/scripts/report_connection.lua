-- report_connection: what a source says of a request after the platform has accepted it. It sends nothing, and causes
-- nothing to be sent. Safe to repeat, in any order, at any time: a final beats an interim, and the first final stands.
--
--   whose is it?   1 the named transfer
--                  2 the one that has this request id
--                  3 the call's only transfer of which it may be: one that may be at the platform. After the platform's last
--                    word on it that is what does not say otherwise, a word that comes late or twice; before, it takes the
--                    id, if it has none. Never one that was spoken of before its request began, and never what happened
--                    before then
--                  else nobody knows: the report is kept, and looked at again when more is known
--
-- Arguments:
--   transfer_id  where whoever reports knows it, or ''
--   call_id      canonical, or ''
--   request_id   the platform's, or ''
--   status       queued | ringing | connected | not_connected
--   reason       of the closed list (transfer_tasks/connection.py), or ''
--   caller_gone  '1' where the whole call is over, or ''
--   source       room | platform_api | webhook | session | operator
--   at_ms        when it happened, as the source says; or ''
--   ring_ms      how long the request may ring
--   detail       who, and what was seen; or ''
--
-- Reply: {verdict, transfer_id or '', state or '', connection JSON or ''} with verdict one of
--   matched        it is on record
--   repeated       the record says so already
--   contradiction  the record has another final, which stands
--   unmatched      nobody knows whose it is
--   refused        the named transfer has no request at the platform
--
-- What a platform source says settles `unknown`, and what was believed instead: the request was accepted. A transfer
-- between two attempts ends so, too. One that is `sending` keeps the report until `end_attempt`, or `recover`.

local transfer_id, call_id, request_id, status, reason, caller_gone, source, at_ms, ring_ms, detail = unpack(ARGV, 3)

-- When each source was last heard, and how many requests the platform had accepted by then.
local function count_accepted()
  local counted = redis.pcall('HGET', STATISTICS, 'attempt|accepted_by_platform')
  local notes, sum = redis.pcall('LRANGE', UNCOUNTED, 0, -1), type(counted) == 'string' and tonumber(counted) or 0
  for _, note in ipairs(notes.err and {} or notes) do
    sum = sum + (tonumber(string.match(note .. '\n', '\nb(%d+) attempt|accepted_by_platform\n')) or 0)
  end
  return sum
end
local HEARD = NS .. 'heard'
write('HSET', HEARD, source, int(NOW) .. ' ' .. int(count_accepted()))
keep(HEARD)

local C = connections()
local verdict, id = C.take({ transfer_id = transfer_id, call_id = call_id, request_id = request_id, status = status,
  reason = text_or_nil(reason), caller_gone = caller_gone == '1' or nil, source = source, at_ms = tonumber(at_ms),
  heard_ms = NOW, ring_ms = tonumber(ring_ms), detail = detail })
if id == '' then return { verdict, '', '', '' } end
local c = C.read(id)
return { verdict, id, get(id, 'state')[1] or '', c and cjson.encode(c) or '' }
