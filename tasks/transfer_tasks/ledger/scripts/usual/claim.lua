
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
  if not (may('ZADD', IN_FLIGHT) and may('HSET', record) and may('ZREM', WAITING) and may('XADD', AUDIT)
      and may('EXPIRE', IN_FLIGHT)) then return nil end
  if not (is_free_for('zset', WAITING) and is_free_for('stream', AUDIT)) then return nil end

  local now, next_token, number = int(NOW), int(token + 1), int(attempt + 1)
  if has_failed(redis.pcall('ZADD', IN_FLIGHT, now, id)) then return nil end
  redis.call('EXPIRE', IN_FLIGHT, RETENTION)
  redis.call('HSET', record, 'state', 'sending', 'token', next_token, 'worker', worker, 'claim_id', claim_id,
    'claimed_ms', now, 'attempt', number, 'begun_ms', now, 'signer', signer,
    'attempt:' .. number, cjson.encode({ begun_ms = NOW, worker = worker }))
  redis.call('ZREM', WAITING, id)
  local signed_by = text_or_nil(signer)
  redis.call('XADD', audit_entry(id, 'transfer.claimed',
    cjson.encode({ worker = worker, waited_ms = NOW - accepted, signed_by = signed_by }), { call, r[8], r[9], r[10], r[11] },
    'transfer.attempt_started', number, cjson.encode({ worker = worker, signed_by = signed_by })))
  return { 'begun', next_token, call, r[8], r[9], r[10], int(expires - NOW), routed, r[13] or '' }
end
