-- expire: end a waiting transfer whose deadline has passed. Anybody may ask; Redis's clock decides.
--
-- Arguments:
--   transfer_id
--   source  who asks
--
-- Reply: {'ended', outcome JSON} | {'open', state, remaining_ms} | {'missing'}

local transfer_id, source = unpack(ARGV, 3)
local r = get(transfer_id, 'state', 'expires_ms')
if not r[1] and is_missing(transfer_id) then return { 'missing' } end
if not OPEN[r[1]] then return { 'ended', outcome_json(transfer_id) } end
local remaining = tonumber(r[2]) - NOW
if r[1] ~= 'waiting' or remaining > 0 then return { 'open', r[1], int(remaining) } end
return { 'ended', endings().finish_late(transfer_id, source) }
