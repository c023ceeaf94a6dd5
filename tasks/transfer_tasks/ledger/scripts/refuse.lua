-- refuse: give a message that can't become a transfer its one outcome. For messages that came without a record.
--
-- ARGV[3] transfer_id
-- ARGV[4] call_id  or '' where it can't be read
-- ARGV[5] state    rejected, or unknown where a record is missing that there should be
-- ARGV[6] reason
-- ARGV[7] detail   one masked line
-- ARGV[8] labels   JSON, masked
--
-- Reply: outcome JSON (the record's own, where there is one already; '' while that one is open)

local id = ARGV[3]
local state = get(id, 'state')[1]
if state then return OPEN[state] and '' or outcome_json(id) end
redis.call('HSET', record_key(id), 'call_id', ARGV[4], 'key', '', 'hop', '1', 'attempt', '0', 'token', '0',
  'labels', ARGV[8], 'accepted_ms', int(NOW), 'expires_ms', int(NOW))
return endings().finish(id, 'transfer.finished', { state = ARGV[5], reason = ARGV[6], detail = ARGV[7], source = 'worker' })
