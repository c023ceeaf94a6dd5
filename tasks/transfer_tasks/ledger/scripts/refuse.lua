-- refuse: give a message that can't become a transfer its one outcome. For messages that came without a record.
--
-- Arguments:
--   transfer_id
--   call_id  or '' where it can't be read
--   state    rejected, or unknown where a record is missing that there should be
--   reason
--   detail   one masked line
--   labels   JSON, masked
--
-- Reply: outcome JSON (the record's own, where there is one already; '' while that one is open)

local transfer_id, call_id, state, reason, detail, labels = unpack(ARGV, 3)
local found = get(transfer_id, 'state')[1]
if found then return OPEN[found] and '' or outcome_json(transfer_id) end
redis.call('HSET', record_key(transfer_id), 'call_id', call_id, 'key', '', 'hop', '1', 'attempt', '0', 'token', '0',
  'labels', labels, 'accepted_ms', int(NOW), 'expires_ms', int(NOW))
return endings().finish(transfer_id, 'transfer.finished',
  { state = state, reason = reason, detail = detail, source = 'worker' })
