-- hear_webhook: learn which call a conversation is, from the caller's leg; or ask, for another leg of it. What comes of a
-- conversation that nobody knows yet is kept for a minute: nobody promises an order. Safe to repeat.
--
--   conversation:<id>   string: the call's id; for the two hours that a call may last
--   webhooks:<id>       list: bodies that came before that was known, the last 20
--
-- Arguments:
--   conversation
--   call_id   the call, where the caller's leg has told it; or ''
--   body      what to keep meanwhile; or ''
--
-- Reply: {call_id or '', the bodies that were kept…}

local conversation, call_id, body = unpack(ARGV, 3)
local KNOWN_SECONDS, KEPT_SECONDS, MAX_KEPT = 7200, 60, 20
local known_key, kept_key = NS .. 'conversation:' .. conversation, NS .. 'webhooks:' .. conversation

if call_id ~= '' then
  write('SET', known_key, call_id, 'EX', KNOWN_SECONDS)
else
  call_id = redis.call('GET', known_key)
    -- Of an inbound call, both are one.
    or redis.call('EXISTS', NS .. 'call:' .. conversation) == 1 and conversation or ''
end
local kept = redis.call('LRANGE', kept_key, 0, -1)
if call_id == '' and body ~= '' then
  for _, other in ipairs(kept) do
    if other == body then return { '' } end
  end
  write('RPUSH', kept_key, body)
  write('LTRIM', kept_key, -MAX_KEPT, -1)
  write('EXPIRE', kept_key, KEPT_SECONDS)
  return { '' }
end
return { call_id, unpack(kept) }
