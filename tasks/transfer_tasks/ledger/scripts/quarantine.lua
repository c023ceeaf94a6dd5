-- quarantine: keep a queue message that can't be served, for an engineer to read; newest first.
--
-- Arguments:
--   transfer_id  its task id, or ''
--   why
--   element      the beginning of it, as text
--   size_bytes
--   max_entries
--
-- Reply: 1

local transfer_id, why, element, size_bytes, max_entries = unpack(ARGV, 3)
local QUARANTINE = NS .. 'quarantine'
redis.call('LPUSH', QUARANTINE,
  cjson.encode({ at_ms = NOW, transfer_id = transfer_id, why = why, element = element,
    size_bytes = tonumber(size_bytes) }))
redis.call('LTRIM', QUARANTINE, 0, tonumber(max_entries) - 1)
keep(QUARANTINE)
audit(transfer_id, 'message.quarantined', cjson.encode({ why = why, size_bytes = tonumber(size_bytes) }))
count('quarantined')
return 1
