-- quarantine: keep a queue element that can't be served, for an engineer to read; newest first.
--
-- ARGV[3] transfer_id  its task id, or ''
-- ARGV[4] why
-- ARGV[5] element      the beginning of it, as text
-- ARGV[6] size_bytes
-- ARGV[7] max_entries
--
-- Reply: 1

local id = ARGV[3]
local QUARANTINE = NS .. 'quarantine'
redis.call('LPUSH', QUARANTINE,
  cjson.encode({ at_ms = NOW, transfer_id = id, why = ARGV[4], element = ARGV[5], size_bytes = tonumber(ARGV[6]) }))
redis.call('LTRIM', QUARANTINE, 0, tonumber(ARGV[7]) - 1)
keep(QUARANTINE)
audit(id, 'message.quarantined', cjson.encode({ why = ARGV[4], size_bytes = tonumber(ARGV[6]) }))
count('quarantined')
return 1
