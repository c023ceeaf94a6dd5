
-- Compaction: a day after its transfer has ended, a record loses its words, and whatever no later step asks for. What stays
-- suppresses repeats, and takes a late answer or report, as the whole record did.
--
--   sweep, field `compacted`   "<hour>:<number of the state>:<index>": the ending that is looked at next
--
-- The sweep walks the lists `ended:<state>:<hour>` of whole hours that are a day old, the oldest first. What gets another
-- ending later stands in a later list, too; so does an `unknown` that is settled, and no other is looked for.
-- Like a step, it only collects what is to be written.
local function compact_what_is_old()
  local DAY_MS = 24 * HOUR_MS
  if RETENTION * 1000 <= DAY_MS then return end
  local STATES = { 'submitted', 'rejected', 'failed', 'expired', 'cancelled' }
  local MOST_RECORDS, MOST_LISTS = 100, 60 -- of one sweep
  local is_whole = damage()

  local KEPT = {}
  for name in string.gmatch([[state call_id key hop attempt token destination_digest content_digest accepted_ms expires_ms
    ended_ms reason source labels moved_by requeued_ms brought request_id reported connection rings_until_ms erased_ms
    compacted]], '%S+') do KEPT[name] = true end
  -- What was believed may still be corrected by an answer (end_attempt.lua), whose line says whose it is.
  local KEPT_WHERE_BELIEVED = { worker = true, begun_ms = true, signer = true }

  local function is_kept(field, r)
    if KEPT_WHERE_BELIEVED[field] then return r[3] == 'not_transferred' end
    if field == 'http_status' then return r[5] ~= '' end
    if field == 'detail' then return r[6] ~= '' end
    return string.match(field, '^late:%d+$')
  end

  local function compact(id)
    if not is_whole(id) then return end
    local key, is_changed = record_key(id), false
    local r = redis.call('HMGET', key, 'state', 'ended_ms', 'reason', 'attempt', 'http_status', 'detail')
    if not ENDED[r[1]] or r[1] == 'unknown' or NOW - tonumber(r[2]) < DAY_MS then return end
    HAS_ITS_TYPE[key] = true
    for _, field in ipairs(redis.call('HKEYS', key)) do
      local number = not KEPT[field] and string.match(field, '^attempt:(%d+)$')
      if number and (r[1] ~= 'submitted' or number ~= r[4]) then
        -- Whether it may have been carried out is asked after a 409. Of one that was accepted, the state says it.
        local text = redis.call('HGET', key, field)
        local said = read_object(text) or {}
        local reason = said.reason and cjson.encode({ reason = said.reason }) or '{}'
        if reason ~= text then
          set(id, field, reason)
          is_changed = true
        end
      elseif not KEPT[field] and not is_kept(field, r) then
        unset(id, field)
        is_changed = true
      end
    end
    if is_changed then set(id, 'compacted', '1') end
  end

  local SWEEP = NS .. 'sweep'
  local newest = math.floor((NOW - DAY_MS) / HOUR_MS) - 1
  local oldest = math.floor((NOW - RETENTION * 1000) / HOUR_MS) - 1
  local known = redis.call('HGET', SWEEP, 'compacted') or ''
  local hour, at, index = string.match(known, '^(%d+):([1-5]):(%d+)$')
  hour, at, index = tonumber(hour) or 0, tonumber(at), tonumber(index)
  if hour < oldest then hour, at, index = oldest, 1, 0 end
  -- Redis's clock was set back: what ends now gets into lists that were walked before.
  if hour > newest + 1 then hour, at, index = newest + 1, 1, 0 end

  local records, lists = 0, 0
  while hour <= newest and records < MOST_RECORDS and lists < MOST_LISTS do
    local most = MOST_RECORDS - records
    local lines = redis.pcall('LRANGE', ended_key(STATES[at], hour * HOUR_MS), index, index + most - 1)
    -- Whoever may not read them has the rules of an older version; `doctor` says so.
    if lines.err and not string.find(lines.err, 'WRONGTYPE', 1, true) then break end
    for _, line in ipairs(lines) do
      local id = string.match(line, '^(.*) %d+ %S+ %S+$')
      if id then compact(id) end
    end
    records, index = records + #lines, index + #lines
    if #lines < most then
      lists, at, index = lists + 1, at + 1, 0
      if at > #STATES then hour, at = hour + 1, 1 end
    end
  end

  local next_one = string.format('%d:%d:%d', hour, at, index)
  if next_one ~= known then
    write('HSET', SWEEP, 'compacted', next_one)
    keep(SWEEP)
  end
end
