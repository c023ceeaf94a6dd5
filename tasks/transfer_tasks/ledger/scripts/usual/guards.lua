
-- The usual case of the three steps that every transfer takes, written out: without what the others need to collect their
-- writes. The same rule holds: whatever could stop a write is looked at before the first. Where anything is not as usual,
-- nothing is written, and the step is taken as any other is. Both ways leave the same behind
-- (tests/integration/ledger/test_usual.py takes each both ways).
local acl_check = redis.acl_check_cmd -- Redis 7

-- Who may run a command on one key of ours, and another on another, may do both with each, selectors excepted.
local function may(command, key) return not acl_check or acl_check(command, key, '') end

local function is_free_for(kind, key)
  local found = redis.call('TYPE', key).ok
  return found == kind or found == 'none'
end

-- The destination's name in labels, and whether an intent has the same; quickly, where both are as our publishers write them.
local function read_labels(labels)
  if not labels then return nil end
  local name = string.match(labels, '^{"destination":"([%w_-]+)"}$')
  if name then return name end
  local ok, said = pcall(cjson.decode, labels)
  return ok and type(said) == 'table' and said.destination
end

local function is_for(name, intent, call)
  local begin = '{"call_id":"' .. call .. '","destination":{"name":"' .. name .. '"},'
  -- Of two equal keys JSON takes the last, and a key may be written with \u escapes. So what may name a destination once
  -- more is parsed: else a transfer could pass the pause and the limit of where it really goes. Where the rest is no JSON,
  -- the worker that reads it ends the transfer.
  if string.sub(intent, 1, #begin) == begin and not string.find(intent, '"destination"', #begin, true)
      and not string.find(intent, '\\u', 1, true) then return true end
  local ok, said = pcall(cjson.decode, intent)
  local to = ok and type(said) == 'table' and said.destination
  if type(to) ~= 'table' then return false end
  if type(to.name) == 'string' then return to.name == name end
  return (to.endpoints or to.type) and name == 'endpoints'
end

local function has_failed(reply) return type(reply) == 'table' and reply.err end

-- Put a transfer in its place among the open ones; return whether it was not there, or nil where that can't be written.
local function list_open(id, score)
  local added = redis.pcall('ZADD', OPEN_IDS, int(score), id)
  if has_failed(added) then return nil end
  if added == 1 then redis.call('EXPIRE', OPEN_IDS, RETENTION) end -- it may be the first, and the order is new
  return added == 1
end
