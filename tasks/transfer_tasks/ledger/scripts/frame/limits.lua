
-- Limits on rate: how many transfers are accepted within a time that slides along with the clock.
--
--   limits                   hash: 'call', 'requester', 'all', 'destination:<name>' -> '<number>/<seconds>' or 'off'
--   limit:<kind>:<subject>   sorted set: a transfer that counts -> when that was; as far back as its limit looks
--
-- A call's first transfer is in its sorted set only when there is a second one: most calls have one.
-- Workers write the hash, so that it binds publishers that have no registry, too. A transfer counts once, in the step
-- that accepts it; one that no such step has looked at (the record has no `counted`), in its claim. What is refused
-- never counts.
local LIMIT_KINDS = { 'call', 'destination', 'requester', 'all' }
local DEFAULT_LIMITS = { call = '5/600' } -- the same as in registry/limits.py

-- Who asks, where there is a limit for each who does: the key that has signed, else the name in the intent.
local function requester_of(intent, signature)
  if signature ~= '' then return string.match(signature, '^[^:]*') end
  local said = read_object(intent)
  return said and type(said.requested_by) == 'string' and said.requested_by or ''
end

local function read_limit(kind, said)
  if said == 'off' then return nil end
  local number, seconds = string.match(said or '', '^(%d+)/(%d+)$')
  if not number or #number > 6 or #seconds > 5 then
    number, seconds = string.match(DEFAULT_LIMITS[kind] or '', '^(%d+)/(%d+)$')
  end
  return tonumber(number), tonumber(seconds)
end

-- When a call's first transfer began to count, where its sorted set does not name it yet; nil where it doesn't count.
local function first_of(call, id, span_ms)
  local first = redis.call('LINDEX', NS .. 'call:' .. call, 0)
  if not first or first == id then return nil end
  local r = get(first, 'accepted_ms', 'state', 'reason', 'attempt')
  local accepted = tonumber(r[1]) or 0
  if accepted <= NOW - span_ms or accepted > NOW + span_ms then return nil end
  local was_refused = r[2] == 'rejected' and r[4] == '0' and (r[3] == 'limit_reached' or r[3] == 'destination_paused')
  if not was_refused then return { first, accepted } end
end

-- Count a transfer, or end it where that would be one more than a limit allows; nil where it counts.
-- `is_first` is whether the call has no other.
local function finish_limited(id, call, name, intent, signature, is_first)
  local limits = redis.call('HMGET', LIMITS, 'call', 'destination:' .. name, 'requester', 'all')
  local who = limits[3] and requester_of(intent, signature) or ''
  local subjects = { call, name, who ~= '' and redis.sha1hex(who), '*' }
  local entries = {}
  for at, kind in ipairs(LIMIT_KINDS) do
    local number, seconds = read_limit(kind, limits[at])
    if number and subjects[at] then
      local key, span_ms = NS .. 'limit:' .. kind .. ':' .. subjects[at], seconds * 1000
      -- What lies further ahead than a whole span was counted before Redis's clock was set back.
      local is_alone = kind == 'call' and is_first
      local counted = is_alone and 0 or redis.call('ZCOUNT', key, '(' .. int(NOW - span_ms), int(NOW + span_ms))
      local first = kind == 'call' and counted == 0 and not is_alone and first_of(call, id, span_ms)
      if (first and 1 or counted) >= number then
        count_in_both('limited|' .. kind)
        return endings().finish(id, 'transfer.finished', { state = 'rejected', reason = 'limit_reached',
          source = 'worker', detail = string.format('%s: %d in %d s are the limit', kind, number, seconds) })
      end
      if not is_alone then entries[#entries + 1] = { key, kind, span_ms, first } end
    end
  end
  for _, of in ipairs(entries) do
    local key, kind, span_ms, first = unpack(of)
    HAS_ITS_TYPE[key] = true
    if first then write('ZADD', key, int(first[2]), first[1]) end
    write('ZADD', key, int(NOW), id)
    -- A call has few transfers. What is counted all day long drops those that count no more.
    if kind ~= 'call' then write('ZREMRANGEBYSCORE', key, '-inf', int(NOW - span_ms)) end
    write('EXPIRE', key, int(span_ms / 1000))
  end
end
