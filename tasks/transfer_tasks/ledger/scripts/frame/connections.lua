
-- The second fact of a transfer: whether anybody picked up. report_connection.lua says what a report is.
--
-- On a record:
--   request_id      the platform's id of its request, from its answer or from the first report that is certainly of it
--   reported        the platform source that was the first to report on it: so the platform has the request
--   connection      JSON {status, source, heard_ms, reason, caller_gone, at_ms, ringing_ms, platform_final, contradictions}
--   rings_until_ms  until when its target may be ringing, where the platform has said so; 0 where nobody picked up
--
--   request:<request id>                     string: the transfer
--   unmatched:<call id, or the request id>   list: reports, JSON, of which nobody knows whose they are; the last 20.
--                                            With `named_only`: an answer has spoken of the request, and said nothing of it

-- How a transfer ends whose request the platform has, as it has reported; `why` is what was known besides.
local function confirmation(source, why)
  local of = source == 'operator' and source or 'platform'
  return { state = 'submitted', reason = 'transfer_confirmed', source = of, detail = 'reported by ' .. source .. why }
end

-- The request id that an answer of the platform's names, as JSON; nil for none.
local function request_id_in(answer)
  if not string.find(answer, '"request_id"', 1, true) then return nil end
  local said = read_object(answer)
  local request_id = said and said.request_id
  if type(request_id) == 'number' then request_id = int(request_id) end
  if type(request_id) ~= 'string' or #request_id > 128 then return nil end
  return string.match(request_id, '^[%w_.:+/=-]+$')
end

-- A function of functions, as `endings`: nearly no step needs them.
local function connections()
  local C = {}
  local IS_PLATFORM = { room = true, platform_api = true, webhook = true }
  local IS_FINAL = { connected = true, not_connected = true }
  local UNSETTLED_MS, MAX_UNMATCHED, MAX_CONTRADICTIONS = 20 * 60000, 20, 5
  local KEPT_MS = 60 * 60000 -- its list may be there for longer, for others' sake
  local CLOCKS_MS = 10000 -- how far a source's clock and Redis's may be apart
  local LEARNT = {} -- request id -> transfer: what is not written yet

  local function request_key(request_id) return NS .. 'request:' .. request_id end
  local function unmatched_key(of) return NS .. 'unmatched:' .. of end

  function C.read(id)
    local said = read_object(get(id, 'connection')[1])
    return said and (IS_FINAL[said.status] or said.status == 'ringing') and said or nil
  end

  local function owner_of(request_id)
    local id = LEARNT[request_id] or redis.call('GET', request_key(request_id))
    return id and get(id, 'request_id')[1] == request_id and id or nil
  end

  local function learn(id, request_id)
    LEARNT[request_id] = id
    set(id, 'request_id', request_id)
    write('SET', request_key(request_id), id, 'EX', RETENTION)
  end

  -- Whether a request of a transfer may be at the platform. An attempt that was proven not carried out may, all the
  -- same, where the platform says so before the next one.
  local function may_be_there(id)
    local r = get(id, 'state', 'reason', 'attempt')
    local state = r[1]
    return state == 'sending' or state == 'submitted' or state == 'unknown' or (state == 'failed' and r[2] == 'not_transferred')
      or (OPEN[state] and (tonumber(r[3]) or 0) > 0)
  end

  -- Whether the platform has said its last word on this transfer's request.
  local function is_settled(id)
    local c = C.read(id)
    return c and c.platform_final
  end

  -- Whether a report may be of a request that is settled, as a word that comes late or twice: unless its id, its time or
  -- another final tells.
  local function may_be_said_again(id, report, at_ms)
    local c = C.read(id)
    if report.request_id ~= '' and get(id, 'request_id')[1] then return false end
    local last_ms = math.max(tonumber(c.heard_ms) or 0, tonumber(c.at_ms) or 0)
    if at_ms and IS_PLATFORM[c.source] and at_ms > last_ms + CLOCKS_MS then return false end
    if not IS_FINAL[report.status] or c.status == report.status then return true end
    for _, other in ipairs(c.contradictions or {}) do
      if other.status == report.status then return true end
    end
    return false
  end

  -- Whether a report may be of a request of this transfer: neither heard nor, where the source says when, happened before
  -- the request began.
  local function may_be_of(id, report)
    if not may_be_there(id) then return false end
    local r, at_ms = get(id, 'state', 'ended_ms', 'begun_ms'), type(report.at_ms) == 'number' and report.at_ms
    local begun_ms, ended_ms = tonumber(r[3]) or 0, tonumber(r[2]) or report.heard_ms
    if begun_ms > report.heard_ms or (at_ms and begun_ms > at_ms + CLOCKS_MS) then return false end
    if not OPEN[r[1]] and report.heard_ms - ended_ms >= UNSETTLED_MS then return false end
    return not is_settled(id) or may_be_said_again(id, report, at_ms)
  end

  -- Whether a request was spoken of before this transfer's own began: then it is another's, whatever is said of it later.
  local function is_older(request_id, call_id, id)
    local begun_ms = tonumber(get(id, 'begun_ms')[1]) or 0
    for _, text in ipairs(redis.call('LRANGE', unmatched_key(call_id), 0, -1)) do
      local other = read_object(text) or {}
      if other.request_id == request_id and (tonumber(other.heard_ms) or begun_ms) < begun_ms then return true end
    end
    return false
  end

  -- The transfer that a report is certainly of; nil where that is not known. It takes the report's request id, if
  -- the platform gave it and it has none.
  local function find(report)
    local id = report.request_id ~= '' and owner_of(report.request_id)
    if id then
      local is_of_call = report.call_id == '' or get(id, 'call_id')[1] == report.call_id
      return is_of_call and may_be_there(id) and id or nil
    end
    if report.call_id == '' or report.named_only then return nil end
    local sole
    for _, of in ipairs(redis.call('LRANGE', NS .. 'call:' .. report.call_id, 0, -1)) do
      if may_be_of(of, report) then
        if sole then return nil end
        sole = of
      end
    end
    if sole and report.request_id ~= '' then
      if get(sole, 'request_id')[1] or is_settled(sole) or not IS_PLATFORM[report.source] then return nil end
      if is_older(report.request_id, report.call_id, sole) then return nil end
      learn(sole, report.request_id)
    end
    return sole
  end

  local function tell(id, report)
    audit(id, 'transfer.' .. report.status, cjson.encode({ source = report.source, reason = report.reason,
      caller_gone = report.caller_gone, at_ms = report.at_ms, request_id = text_or_nil(report.request_id),
      detail = text_or_nil(report.detail) }))
  end

  local function count_final(id, c)
    local destination = destination_of(get(id, 'labels')[1])
    count_in_both('connection|' .. c.status .. '|' .. (c.reason or 'unstated') .. '|' .. destination)
  end

  -- What the next request of the call may meet: see accept.lua.
  local function note_window(id, report)
    if report.status == 'connected' then unset(id, 'rings_until_ms')
    elseif IS_PLATFORM[report.source] then set(id, 'rings_until_ms', '0') end
  end

  -- Put a report on record; return what became of it.
  local function write_down(id, report)
    local c, verdict = C.read(id), 'repeated'
    local by_platform = IS_PLATFORM[report.source]
    if report.status == 'queued' then
      return by_platform and not get(id, 'reported')[1] and 'matched' or verdict
    elseif report.status == 'ringing' then
      if c and c.ringing_ms then return verdict end
      if not c then
        c, verdict = { status = 'ringing', source = report.source, at_ms = report.at_ms, heard_ms = report.heard_ms }, 'matched'
        set(id, 'rings_until_ms', int(report.heard_ms + report.ring_ms))
        tell(id, report)
      end
      c.ringing_ms = report.heard_ms
    elseif not c or not IS_FINAL[c.status] then
      c = { status = report.status, reason = report.reason, caller_gone = report.caller_gone, source = report.source,
        at_ms = report.at_ms, heard_ms = report.heard_ms, ringing_ms = c and c.ringing_ms, platform_final = by_platform }
      verdict = 'matched'
      note_window(id, report)
      tell(id, report)
      count_final(id, c)
    elseif c.status == report.status then
      if (c.reason or not report.reason) and (c.caller_gone or not report.caller_gone)
          and (c.platform_final or not by_platform) then return verdict end
      c.reason, c.caller_gone = c.reason or report.reason, c.caller_gone or report.caller_gone
      c.platform_final = c.platform_final or by_platform
      note_window(id, report)
    else
      local others = c.contradictions or {}
      for _, other in ipairs(others) do
        if other.source == report.source and other.status == report.status then return verdict end
      end
      verdict, c.platform_final = 'contradiction', c.platform_final or by_platform
      if #others < MAX_CONTRADICTIONS then
        others[#others + 1] = { status = report.status, reason = report.reason, source = report.source, heard_ms = report.heard_ms }
      end
      c.contradictions = others
    end
    set(id, 'connection', cjson.encode(c))
    return verdict
  end

  -- The platform has the request: that settles what was not known, or believed. What is `sending` waits for its answer.
  local function settle(id, report)
    local state = get(id, 'state')[1]
    local by_platform = IS_PLATFORM[report.source]
    if by_platform and not get(id, 'reported')[1] then set(id, 'reported', report.source) end
    if state == 'sending' or state == 'submitted' then return end
    if not by_platform and not (state == 'unknown' and report.source == 'operator') then return end
    local why = report.detail ~= '' and ': ' .. report.detail or ''
    local event = OPEN[state] and 'transfer.finished' or 'transfer.resolved'
    endings().finish(id, event, confirmation(report.source, why))
    if state == 'failed' and report.status ~= 'not_connected' then endings().meet_later_transfers(id) end
  end

  local function apply(id, report)
    local verdict = write_down(id, report)
    settle(id, report)
    count('report|' .. report.source .. '|' .. verdict)
    if verdict ~= 'matched' then return verdict end
    keep(record_key(id))
    for channel in string.gmatch(get(id, 'reply_to')[1] or '', '%S+') do WORDS[#WORDS + 1] = { 'PUBLISH', channel, id } end
    return verdict
  end

  -- Look again at what could not be matched, now that more is known; one match may lead to the next.
  local function match_kept(of)
    local key, kept = unmatched_key(of), {}
    if redis.call('EXISTS', key) == 0 then return end
    for _, text in ipairs(redis.call('LRANGE', key, 0, -1)) do kept[#kept + 1] = { text = text, report = read_object(text) } end
    local is_more = true
    while is_more do
      is_more = false
      for at = 1, #kept do
        local entry = kept[at]
        local is_kept = entry.report and NOW - (tonumber(entry.report.heard_ms) or 0) < KEPT_MS
        local id = is_kept and find(entry.report)
        if id then
          apply(id, entry.report)
          write('LREM', key, 1, entry.text)
          entry.report, is_more = nil, true
        end
      end
    end
  end

  local function keep_unmatched(report)
    local key = unmatched_key(report.call_id ~= '' and report.call_id or report.request_id)
    for _, text in ipairs(redis.call('LRANGE', key, 0, -1)) do
      local is_same, other = true, read_object(text) or {}
      for _, field in ipairs({ 'request_id', 'status', 'reason', 'source', 'caller_gone', 'named_only' }) do
        is_same = is_same and other[field] == report[field]
      end
      if is_same then return end
    end
    write('RPUSH', key, cjson.encode(report))
    write('LTRIM', key, -MAX_UNMATCHED, -1)
    keep_for_an_hour(key)
  end

  -- Take a report; return what became of it, and whose it is.
  function C.take(report)
    local named = report.transfer_id ~= '' and report.transfer_id
    local id = named or find(report)
    if named then
      local state = get(id, 'state')[1]
      local is_possible = may_be_there(id) and
        (IS_PLATFORM[report.source] or state == 'sending' or state == 'submitted' or state == 'unknown')
      if not is_possible then return 'refused', id end
    elseif not id then
      count('report|' .. report.source .. '|unmatched')
      keep_unmatched(report)
      return 'unmatched', ''
    end
    local verdict = apply(id, report)
    -- Nobody else's word makes known whose another report is.
    if IS_PLATFORM[report.source] then match_kept(get(id, 'call_id')[1]) end
    return verdict, id
  end

  -- An answer has named a request of this call that is not known to be of ours, and said nothing of it: no transfer takes
  -- it by that alone.
  function C.note_request(call_id, request_id)
    if owner_of(request_id) then return end
    keep_unmatched({ call_id = call_id, request_id = request_id, transfer_id = '', status = 'queued', source = 'platform_api',
      heard_ms = NOW, ring_ms = 0, detail = '', named_only = true })
  end

  -- This transfer is proven to have no request at the platform: what was kept may be of the only other one.
  function C.look_again(id) match_kept(get(id, 'call_id')[1]) end

  -- A report that was thought to be of this transfer is of another: the answer has another id, or says no.
  function C.disown(id)
    local r, c = get(id, 'request_id', 'reported', 'call_id'), C.read(id)
    for _, field in ipairs({ 'request_id', 'reported', 'connection', 'rings_until_ms' }) do unset(id, field) end
    c = c or { status = 'queued', source = r[2], heard_ms = NOW }
    count('report|' .. c.source .. '|unmatched')
    keep_unmatched({ call_id = r[3], request_id = r[1] or '', transfer_id = '', status = c.status, reason = c.reason,
      caller_gone = c.caller_gone, source = c.source, at_ms = c.at_ms, heard_ms = c.heard_ms, ring_ms = 0, detail = '' })
  end

  -- Whether the platform has said its last word on a request.
  function C.is_settled(request_id)
    local id = owner_of(request_id)
    return id and is_settled(id)
  end

  -- Take the request id that the platform's answer names, if it names one.
  function C.learn_from(id, answer)
    local request_id = request_id_in(answer)
    if not request_id then return end
    local known, owner = get(id, 'request_id')[1], owner_of(request_id)
    if known == request_id or owner then return end
    if known then C.disown(id) end
    learn(id, request_id)
    match_kept(get(id, 'call_id')[1])
    match_kept(request_id)
  end

  return C
end
