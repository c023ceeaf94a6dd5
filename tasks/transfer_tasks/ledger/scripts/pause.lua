-- pause: the kill switch. Nothing is sent to a paused destination; what waits for it ends now, what is asked for
-- later ends at once, and what is between two attempts gets no other. A request that is out is not called back.
-- Safe to repeat.
--
-- Arguments:
--   destination  a name, 'endpoints' or 'pipeline' for those without one, or '*' for all
--   operator
--   reason
--   limit        how many waiting transfers, and how many claimed ones, are ended here; for any that are
--                beyond, the step that is next for them does it
--
-- Reply: how many transfers it has ended

local destination, operator, reason, limit = unpack(ARGV, 3)
local pause = cjson.encode({ at_ms = NOW, by = operator, reason = reason })
write('HSET', PAUSED, destination, pause)
keep(PAUSED)
audit('', 'destination.paused', cjson.encode({ destination = destination, operator = operator, detail = reason }))

local ending, ended, _, _, look_at = endings(), 0, damage()
for _, scores in ipairs({ { 0, '+inf' }, { '-inf', '(0' } }) do
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', OPEN_IDS, scores[1], scores[2], 'LIMIT', 0, limit)) do
    look_at(id, function()
      local state = get(id, 'state')[1]
      if state ~= 'waiting' and state ~= 'claimed' then return end
      if ending.finish_paused(id, { [destination] = pause }) then ended = ended + 1 end
    end)
  end
end
return ended
