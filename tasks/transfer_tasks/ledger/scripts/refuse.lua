-- refuse: give a message that can't become a transfer its one outcome. For messages that came without a record.
--
-- Arguments:
--   transfer_id
--   call_id  or '' where it can't be read
--   state    rejected, or unknown where a record is missing that there should be
--   reason
--   detail   one masked line
--   labels   JSON, masked
--   content_digest  of what it asks for, or '' where that can't be read
--
-- Reply: {'ended', outcome JSON}  the record's own, where there is one already
--      | {'open'}                 there is a record, and it is open
--      | {'conflict'}             there is a record, of something else

local transfer_id, call_id, state, reason, detail, labels, content_digest = unpack(ARGV, 3)
local found = get(transfer_id, 'state', 'content_digest')
if found[1] or not is_missing(transfer_id) then
  if content_digest ~= '' and not are_same_digests(found[2], content_digest) then
    audit_conflict(transfer_id, transfer_id, call_id, labels)
    return { 'conflict' }
  end
  if OPEN[found[1]] then return { 'open' } end
  return { 'ended', outcome_json(transfer_id) }
end
set(transfer_id, 'call_id', call_id, 'key', '', 'hop', '1', 'attempt', '0', 'token', '0',
  'labels', labels, 'content_digest', content_digest, 'accepted_ms', int(NOW), 'expires_ms', int(NOW))
local outcome = endings().finish(transfer_id, 'transfer.finished',
  { state = state, reason = reason, detail = detail, source = 'worker' })
if state == 'unknown' then keep(record_key(transfer_id)) else keep_for_an_hour(record_key(transfer_id)) end
return { 'ended', outcome }
