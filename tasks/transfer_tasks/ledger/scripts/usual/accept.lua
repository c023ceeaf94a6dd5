
-- accept: a call's first transfer, under a key of our own making; nothing is paused, and no limit on rate but the call's
-- own is in force.
local function take_usual_step()
  local id, call, own_key, destination_digest, content_digest, intent, signature, labels, message, queue, remaining_ms, _,
    reply_to, asked, after, latest_ms = unpack(ARGV, 3)
  if own_key ~= '' or after ~= '' or queue == '' then return nil end
  local call_key, record, key = NS .. 'call:' .. call, record_key(id), call .. ':1'
  -- What is named twice counts twice. None of the first four may be there; of the others, 3 are both, 2 is the first.
  local own = NS .. 'key:' .. key
  local found = redis.call('EXISTS', call_key, record, PAUSED, own, call_key, record, PAUSED, own,
    call_key, record, PAUSED, own, call_key, record, PAUSED, own, KEPT, KEPT, OPEN_IDS)
  if found > 3 then return nil end
  local name = read_labels(labels)
  if type(name) ~= 'string' or not is_for(name, intent, call) then return nil end
  local who = string.match(asked, '^{"requested_by":"([^"|\\%c]*)",')
  if not who or string.find(signature, '[|%c]') then return nil end
  local limits = redis.pcall('HMGET', LIMITS, 'call', 'destination:' .. name, 'requester', 'all')
  if limits.err or limits[2] or limits[3] or limits[4] then return nil end
  if limits[1] and not string.match(limits[1], '^[1-9]%d*/') then return nil end
  if not (may('ZADD', OPEN_IDS) and may('ZREM', OPEN_IDS) and may('RPUSH', call_key) and may('HSET', record) and may('XADD', AUDIT)
      and may('LPUSH', queue) and may('EXPIRE', record)) then return nil end
  if not is_free_for('list', queue) then return nil end

  local now, expires = int(NOW), tonumber(latest_ms)
  if remaining_ms ~= '' then expires = math.min(expires, NOW + tonumber(remaining_ms)) end
  if has_failed(redis.pcall('ZADD', OPEN_IDS, now, id)) then return nil end
  if has_failed(redis.pcall('XADD', audit_entry(id, 'transfer.accepted', asked, { call, key, '1', '0', labels }))) then
    redis.call('ZREM', OPEN_IDS, id)
    return nil
  end
  if found < 3 then redis.call('EXPIRE', OPEN_IDS, RETENTION) end
  if found < 2 then redis.call('EXPIRE', AUDIT, LIFE_OF_OUTBOX) end
  redis.call('RPUSH', call_key, id)
  redis.call('EXPIRE', call_key, RETENTION)
  redis.call('HSET', record, 'state', 'waiting', 'call_id', call, 'key', key, 'hop', '1', 'attempt', '0', 'token', '0',
    'destination_digest', destination_digest, 'content_digest', content_digest, 'intent', intent,
    'signature', signature, 'labels', labels, 'reply_to', reply_to, 'accepted_ms', now, 'expires_ms', int(expires),
    'counted', '1')
  redis.call('EXPIRE', record, RETENTION)
  redis.call('LPUSH', queue, message)
  if who == '' then who = string.match(signature, '^[^:]*') or '' end
  local slice, field = STATISTICS .. ':' .. slice_of_time(), 'asked|' .. who
  if redis.pcall('HINCRBY', slice, field, 1) == 1 then NEW_COUNTER = { slice, field, 1, SLICE_TTL } end
  leave_note({ 't1 accepted' })
  return { 'accepted', id, key, '1', 'waiting', now }
end
