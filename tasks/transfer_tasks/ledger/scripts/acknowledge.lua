-- acknowledge: somebody has seen that a call may have been moved twice. Safe to repeat.
--
-- Arguments:
--   call_id
--   operator
--   reason
--
-- Reply: how many pairs of requests of this call nobody had acknowledged

local call_id, operator, reason = unpack(ARGV, 3)
local acknowledged = 0
for _, entry in ipairs(redis.call('LRANGE', DOUBLE_POSTS, 0, -1)) do
  local said = read_object(entry)
  if said and said.call_id == call_id then
    write('LREM', DOUBLE_POSTS, 1, entry)
    audit(said.transfers[2], 'call.acknowledged',
      cjson.encode({ other_transfer_id = said.transfers[1], operator = operator, detail = reason }))
    acknowledged = acknowledged + 1
  end
end
return acknowledged
