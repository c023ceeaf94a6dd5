-- accept: look for a transfer that stands in the way, write the record, push the message.
-- Safe to repeat: the publisher makes the id.
--
-- Arguments:
--   transfer_id
--   call_id             canonical
--   idempotency_key     the caller's own, or ''
--   destination_digest  equal digests for one call are the same request
--   content_digest      an id, and a key of the caller's own, stand for one content
--   intent              JSON, byte for byte as its publisher has written and signed it
--   signature           of that text, or ''
--   labels              JSON, masked: what logs may say of the destination; its name is taken from the intent
--   message             the Celery message, or '' where one is on its way already
--   queue               where to push it, or ''
--   remaining_ms        until the deadline; or '' for a message that brought its intent: `latest_ms` is its deadline
--   repeat_window_ms    how long after `submitted` the same request is a repeat
--   reply_to            channel on which an ending is a wake-up, or ''
--   asked               JSON for the audit line: who asks, and why
--   after               for a replay: the call's last transfer, which must still be the last, and proven
--                       not to have moved the call; else ''
--   latest_ms           the deadline by our clock, as its publisher knows it, and what may be wrong in that: a
--                       request that the network or a frozen Redis held back gets no fresh deadline
--
-- Reply: {verdict, transfer_id, key, hop, state, now_ms} with verdict one of
--   accepted     a new transfer; its state is `rejected` where its destination is paused, or a limit reached
--   existing     this very id was accepted before
--   repeat       another id asked for the same: that one is returned
--   in_progress  another destination is open for this call
--   conflict     the key, or this very id, belongs to other content; that transfer is returned
--   overtaken    `after` is not the last any more, or may have moved the call; the last is returned

local transfer_id, call_id, idempotency_key, destination_digest, content_digest, intent, signature, labels, message,
  queue, remaining_ms, repeat_window_ms, reply_to, asked, after, latest_ms = unpack(ARGV, 3)

local call_key = NS .. 'call:' .. call_id

local function answer(verdict, which)
  local r = get(which, 'key', 'hop', 'state')
  demand(r[1] and tonumber(r[2]) and (OPEN[r[3]] or ENDED[r[3]]), which)
  return { verdict, which, r[1], r[2], r[3], int(NOW) }
end

local function listen(which)
  if reply_to == '' then return end
  local channels = get(which, 'reply_to')[1] or ''
  if string.find(' ' .. channels .. ' ', ' ' .. reply_to .. ' ', 1, true) then return end
  set(which, 'reply_to', channels == '' and reply_to or channels .. ' ' .. reply_to)
end

local function stand_back(verdict, event, which)
  if verdict == 'repeat' then listen(which) end
  count('stood_back|' .. verdict)
  audit(which, event, cjson.encode({ verdict = verdict, refused_transfer_id = transfer_id }))
  return answer(verdict, which)
end

local function refuse_conflict(which)
  audit_conflict(which, transfer_id, call_id, labels)
  return answer('conflict', which)
end

local last = redis.call('LINDEX', call_key, -1)
HAS_ITS_TYPE[call_key] = true
-- One question for what is nearly always so: no such record, no pause, and nobody has our key of a call's first transfer.
local is_plain = not last
  and redis.call('EXISTS', record_key(transfer_id), PAUSED, NS .. 'key:' .. call_id .. ':1') == 0
if is_plain then
  HAS_ITS_TYPE[record_key(transfer_id)] = true
else
  local found = get(transfer_id, 'state', 'content_digest')
  if found[1] or not is_missing(transfer_id) then
    if not are_same_digests(found[2], content_digest) then return refuse_conflict(transfer_id) end
    listen(transfer_id)
    return answer('existing', transfer_id)
  end
end

if idempotency_key ~= '' then
  -- The transfer that has this key: by the index of callers' own keys, or because ours name the call and the number.
  local function find_by_key(key)
    local first = redis.call('GET', NS .. 'key:' .. key)
    if first then return first end
    local of, hop = string.match(key, '^([^:]+):(%d+)')
    if not of or #hop > 9 then return nil end
    local named = redis.call('LINDEX', NS .. 'call:' .. of, int(hop - 1))
    return named and get(named, 'key')[1] == key and named
  end

  local first = find_by_key(idempotency_key)
  if first and redis.call('EXISTS', record_key(first)) == 1 then
    if are_same_digests(get(first, 'content_digest')[1], content_digest) then
      return stand_back('repeat', 'transfer.repeated', first)
    end
    return refuse_conflict(first)
  end
end

local MOVED_NOTHING = { rejected = true, failed = true, expired = true, cancelled = true }
if after ~= '' and (last ~= after or not MOVED_NOTHING[get(last, 'state')[1]]) then
  return stand_back('overtaken', 'transfer.refused', last or after)
end
if last then
  local r = get(last, 'state', 'destination_digest', 'ended_ms', 'hop', 'rings_until_ms')
  local state, is_same = r[1], are_same_digests(r[2], destination_digest)
  if OPEN[state] or state == 'unknown' then
    if is_same then return stand_back('repeat', 'transfer.repeated', last) end
    return stand_back('in_progress', 'transfer.refused', last)
  end
  -- The platform has said that its target rings, or (0) that nobody has picked up.
  local rings_until = tonumber(r[5])
  local is_ringing = state == 'submitted' and rings_until and NOW < rings_until
  if is_ringing and not is_same then return stand_back('in_progress', 'transfer.refused', last) end
  if state == 'submitted' and is_same
      and (is_ringing or rings_until ~= 0 and NOW - tonumber(r[3]) < tonumber(repeat_window_ms)) then
    return stand_back('repeat', 'transfer.repeated', last)
  end
end

-- Pauses and statistics go by the name; so it is that of what will be carried out, whatever the labels say.
local name = name_of_intent(intent)
if name_in(labels) ~= name then labels = cjson.encode({ destination = name }) end

local expires = tonumber(latest_ms)
if remaining_ms ~= '' then expires = math.min(expires, NOW + tonumber(remaining_ms)) end

local hop = int(last and (tonumber(get(last, 'hop')[1]) or redis.call('LLEN', call_key)) + 1 or 1)
-- The index first: an id there that has no record is dropped by the sweep, a record that is not there is never found.
add_to(OPEN_IDS, transfer_id, NOW)
write('RPUSH', call_key, transfer_id)
keep(call_key)
local key = idempotency_key
if key ~= '' then
  write('SET', NS .. 'key:' .. key, transfer_id, 'EX', RETENTION)
else
  key = call_id .. ':' .. hop
  -- A caller's own key may look like one of ours: the platform must not see one key for two transfers.
  if not is_plain and redis.call('EXISTS', NS .. 'key:' .. key) == 1 then key = key .. ':' .. transfer_id end
end
set(transfer_id,
  'state', 'waiting', 'call_id', call_id, 'key', key, 'hop', hop, 'attempt', '0', 'token', '0',
  'destination_digest', destination_digest, 'content_digest', content_digest, 'intent', intent, 'signature', signature,
  'labels', labels, 'reply_to', reply_to, 'accepted_ms', int(NOW), 'expires_ms', int(expires),
  'counted', '1')
keep(record_key(transfer_id))
audit(transfer_id, 'transfer.accepted', asked, { call_id, key, hop, '0', labels })

REQUESTER = name_requester(asked, signature)
count('accepted')
-- What an engineer asks for again has no limit.
if not is_plain and finish_paused(transfer_id)
    or after == '' and finish_limited(transfer_id, call_id, name, intent, signature, not last) then
  keep_for_an_hour(record_key(transfer_id))
  return { 'accepted', transfer_id, key, hop, 'rejected', int(NOW) }
end
if queue ~= '' then
  write('LPUSH', queue, message)
else
  set(transfer_id, 'brought', '1')
end
return { 'accepted', transfer_id, key, hop, 'waiting', int(NOW) }
