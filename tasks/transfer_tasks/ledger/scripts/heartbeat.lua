-- heartbeat: renew a worker's lease.
--
-- Arguments:
--   worker
--   lease_ms
--   about     JSON: version, host, process id, concurrency, started_at
--   queue     the Celery queue
--
-- Reply: {now_ms, empty_ms, has_limits, has_polls}  our time, and when the queue was last seen empty, no message being unacknowledged; '0'
-- for never. Whatever is put there for the first time after this reply was sent after that moment. `has_limits` is '1' where a
-- worker's limits on rate are in force, else ''. `has_polls` is '1' where there are requests to ask the platform about, else ''.

local worker, lease_ms, about, queue = unpack(ARGV, 3)
write('SET', NS .. 'worker:' .. worker, about, 'PX', lease_ms)
add_to(NS .. 'workers', worker, NOW)
-- Once in half a lease, whoever comes first; `accept` leaves it to us while we live, and where there is an outbox.
if tonumber(lease_ms) <= RETENTION * 10 and redis.call('PTTL', KEPT) < tonumber(lease_ms) / 2
    and redis.call('EXISTS', AUDIT) == 1 then
  keep(OPEN_IDS)
  write('EXPIRE', AUDIT, LIFE_OF_OUTBOX)
  write('SET', KEPT, '1', 'PX', lease_ms)
end
table.insert(WORDS, { 'ZREM', NS .. 'gone', worker })
table.insert(WORDS, { 'HSET', STATISTICS, 'last_heartbeat_ms', int(NOW) })
table.insert(WORDS, { 'EXPIRE', STATISTICS, RETENTION })
IS_TIME_TO_COUNT = true
keep(PAUSED)
keep(DOUBLE_POSTS)
keep(LIMITS)
local has_limits = redis.call('TYPE', LIMITS).ok == 'hash' and '1' or ''
local has_polls = redis.call('EXISTS', NS .. 'polls') == 1 and '1' or ''
if redis.call('EXISTS', queue, NS .. 'unacked') == 0 then
  write('HSET', NS .. 'sweep', 'empty_ms', int(NOW))
  keep(NS .. 'sweep')
  return { int(NOW), int(NOW), has_limits, has_polls }
end
return { int(NOW), int(tonumber(redis.call('HGET', NS .. 'sweep', 'empty_ms') or '0') or 0), has_limits, has_polls }
