-- quarantine: keep what can't be served for an engineer to read; newest first. It is a message of the queue, or an
-- entry of the audit outbox, which is acknowledged in the same step.
--
-- Arguments:
--   transfer_id  its task id, or ''
--   why
--   element      the beginning of it, as text
--   size_bytes
--   max_entries
--   audit_group  whose entry it is; or '' for an element of the queue
--   audit_entry  its id, or ''
--
-- Reply: 1, or 0 where somebody else has set this entry aside

local transfer_id, why, element, size_bytes, max_entries, audit_group, audit_entry = unpack(ARGV, 3)
local QUARANTINE = NS .. 'quarantine'
if audit_entry ~= '' then
  if #redis.call('XPENDING', AUDIT, audit_group, audit_entry, audit_entry, 1) == 0 then return 0 end
  write('XACK', AUDIT, audit_group, audit_entry)
end
write('LPUSH', QUARANTINE,
  cjson.encode({ at_ms = NOW, transfer_id = transfer_id, why = why, element = element,
    size_bytes = tonumber(size_bytes) }))
write('LTRIM', QUARANTINE, 0, tonumber(max_entries) - 1)
keep(QUARANTINE)
if audit_entry ~= '' then
  audit('', 'audit.set_aside', cjson.encode({ why = why, entry = audit_entry, size_bytes = tonumber(size_bytes) }))
  count_in_both('audit_set_aside')
else
  audit(transfer_id, 'message.quarantined', cjson.encode({ why = why, size_bytes = tonumber(size_bytes) }))
  count('quarantined')
end
return 1
