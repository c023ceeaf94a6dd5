-- claim: the right to act on one transfer, as a fencing token. Safe to repeat with the same claim_id.
--
-- ARGV[3] transfer_id
-- ARGV[4] worker    the worker's id, as in its heartbeat
-- ARGV[5] claim_id  new for every claim
--
-- Reply: {'claimed', token, call_id, key, hop, attempt, remaining_ms, intent}
--      | {'ended', outcome JSON}   it ended before (or now: deadline passed, destination paused)
--      | {'held', state, worker}   somebody else acts on it
--      | {'missing'}               no such record

local id, worker, claim_id = ARGV[3], ARGV[4], ARGV[5]
local r = get(id, 'state', 'claim_id', 'expires_ms', 'token', 'accepted_ms', 'worker')
local state, token = r[1], r[4]
if not state then return { 'missing' } end
if not OPEN[state] then return { 'ended', outcome_json(id) } end

if state == 'waiting' then
  -- This claim was taken away since; it comes late, and nobody waits for its token.
  if r[2] == claim_id then return { 'held', state, r[6] or '' } end
  if NOW >= tonumber(r[3]) then return { 'ended', finish_late(id, 'worker') } end
  local paused = finish_paused(id)
  if paused then return { 'ended', paused } end
  token = int(redis.call('HINCRBY', record_key(id), 'token', 1))
  redis.call('HSET', record_key(id), 'state', 'claimed', 'worker', worker, 'claim_id', claim_id,
    'claimed_ms', int(NOW))
  redis.call('ZREM', WAITING, id)
  add_to(IN_FLIGHT, id, NOW)
  audit(id, 'transfer.claimed', cjson.encode({ worker = worker, waited_ms = NOW - tonumber(r[5]) }))
elseif state ~= 'claimed' or r[2] ~= claim_id then
  return { 'held', state, r[6] or '' }
end

local fields = get(id, 'call_id', 'key', 'hop', 'attempt', 'intent')
return { 'claimed', token, fields[1], fields[2], fields[3], fields[4], int(tonumber(r[3]) - NOW), fields[5] }
