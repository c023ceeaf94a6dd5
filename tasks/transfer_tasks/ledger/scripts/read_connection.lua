-- read_connection: whether anybody picked up, as far as anybody has said. Changes nothing.
--
-- Arguments:
--   transfer_id
--
-- Reply: {state, connection JSON or ''} | {'missing'}

local transfer_id = unpack(ARGV, 3)
local r = get(transfer_id, 'state', 'connection')
if not r[1] and is_missing(transfer_id) then return { 'missing' } end
return { r[1], r[2] or '' }
