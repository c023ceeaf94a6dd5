
-- What texts say: labels, intents, who asks. Anybody may have written them, so nothing here stops at what can't be read.

local OPEN = { waiting = true, claimed = true, sending = true }
local ENDED = { submitted = true, rejected = true, failed = true, expired = true, cancelled = true, unknown = true }

-- The JSON object that a text is; nil where it is none: anybody may have written it.
local function read_object(text)
  local ok, said = pcall(cjson.decode, text or '')
  return ok and type(said) == 'table' and said or nil
end

-- An older version's digests are twice as long.
local function are_same_digests(one, other) return one and string.sub(one, 1, 32) == string.sub(other, 1, 32) end

local function is_word(text) return text and string.match(text, '^[%l_]+$') end

-- The name in a JSON text of labels; nil where it can't be read.
local function name_in(labels)
  local said = read_object(labels)
  return said and said.destination or nil
end

-- The name by which statistics and pauses know a destination.
local function destination_of(labels)
  local name = name_in(labels)
  return may_be_shown(name) and name or 'unreadable'
end

-- The name of the destination in an intent. What a producer has signed is kept as it stands, so each spelling of the
-- contract may come (intent/destination.py); 'unreadable' where it is none of them.
local function name_of_intent(intent)
  local said = read_object(intent)
  local to = said and said.destination
  if type(to) == 'string' then
    local digits = select(2, string.gsub(to, '%d', ''))
    if digits >= 7 or string.find(to, ':', 1, true) then return 'endpoints' end
    return string.match(to, '^[%w_-]+$') and to or 'unreadable'
  end
  if type(to) ~= 'table' then return 'unreadable' end
  if type(to.name) == 'string' then return to.name end
  if to.endpoints or to.type then return 'endpoints' end
  if to.pipeline then return 'pipeline' end
  for _, item in ipairs(to) do
    if type(item) == 'table' and item.action then return 'pipeline' end
  end
  return to[1] and 'endpoints' or 'unreadable'
end

-- Who asks, for whoever looks at a flood: by name, masked, or by the key. `asked` is JSON.
local function name_requester(asked, signature)
  local said = read_object(asked)
  local who = said and (said.requested_by or said.operator)
  if type(who) ~= 'string' or who == '' then who = string.match(signature, '^[^:]*') or '' end
  return (string.gsub(who, '[|%c]', '/'))
end
