
-- claim: a waiting transfer, by a worker that has read its intent and is ready to send. Nothing was altered, nothing is paused.
local function take_usual_step()
  local id, worker, claim_id, routed, call, destination, derived, signer, signed_ms = unpack(ARGV, 3)
  local record = record_key(id)
  local r = redis.pcall('HMGET', record, 'state', 'intent', 'claim_id', 'expires_ms', 'token', 'accepted_ms', 'call_id',
    'key', 'hop', 'attempt', 'labels', 'moved_by', 'signature', 'counted')
  if r.err or r[1] ~= 'waiting' or r[2] ~= routed or r[3] == claim_id or r[7] ~= call or r[12] or not r[14] then return nil end
  local expires, token, accepted, attempt = tonumber(r[4]), tonumber(r[5]), tonumber(r[6]), tonumber(r[10])
  if not (expires and token and accepted and attempt and r[8] and tonumber(r[9])) then return nil end
  if signed_ms ~= '' then expires = math.min(expires, tonumber(signed_ms)) end
  if NOW >= expires or r[11] ~= derived and read_labels(r[11]) ~= destination then return nil end
  if redis.call('EXISTS', PAUSED) == 1 then return nil end
  if not (may('ZADD', OPEN_IDS) and may('ZREM', OPEN_IDS) and may('HSET', record) and may('XADD', AUDIT)
      and may('EXPIRE', OPEN_IDS)) then return nil end

  local now, next_token, number, signed_by = int(NOW), int(token + 1), int(attempt + 1), text_or_nil(signer)
  local is_new = list_open(id, -NOW)
  if is_new == nil then return nil end
  local line = redis.pcall('XADD', audit_entry(id, 'transfer.claimed',
    cjson.encode({ worker = worker, waited_ms = NOW - accepted, signed_by = signed_by }), { call, r[8], r[9], r[10], r[11] },
    'transfer.attempt_started', number, cjson.encode({ worker = worker, signed_by = signed_by })))
  if has_failed(line) then
    if is_new then redis.call('ZREM', OPEN_IDS, id) else list_open(id, accepted) end
    return nil
  end
  redis.call('HSET', record, 'state', 'sending', 'token', next_token, 'worker', worker, 'claim_id', claim_id,
    'claimed_ms', now, 'attempt', number, 'begun_ms', now, 'signer', signer,
    'attempt:' .. number, cjson.encode({ begun_ms = NOW, worker = worker }))
  return { 'begun', next_token, call, r[8], r[9], r[10], int(expires - NOW), routed, r[13] or '' }
end
