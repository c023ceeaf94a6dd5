-- audit_backlog: how far the writers of the audit log are behind. Changes nothing.
--
-- Arguments:
--   audit_group  the writers
--   limit        unread lines are counted up to this where Redis itself does not know (6.2)
--
-- Reply: {lines, oldest_ms}  lines that nobody has acknowledged, and the time of the oldest; 0 where there is none

local audit_group, limit = unpack(ARGV, 3)
local read_until, unread = '0-0', nil
local groups = redis.pcall('XINFO', 'GROUPS', AUDIT)
if groups.err then
  if string.find(groups.err, 'no such key', 1, true) then return { 0, '0' } end -- no line was ever written
  error(groups.err, 0)
end
local held, oldest_held = 0, nil
for _, group in ipairs(groups) do
  local said = {}
  for at = 1, #group, 2 do said[group[at]] = group[at + 1] end
  if said.name == audit_group then
    read_until, unread = said['last-delivered-id'], said.lag or nil
    local pending = redis.call('XPENDING', AUDIT, audit_group)
    held, oldest_held = pending[1], pending[2]
  end
end

local first = redis.call('XRANGE', AUDIT, '(' .. read_until, '+', 'COUNT', unread and 1 or limit)
local oldest = oldest_held or first[1] and first[1][1] or '0-0'
return { held + (unread or #first), string.match(oldest, '^%d+') }
