-- heartbeat: renew a worker's lease.
--
-- Arguments:
--   worker
--   lease_ms
--   about     JSON: version, host, process id, concurrency, started_at
--
-- Reply: 1

local worker, lease_ms, about = unpack(ARGV, 3)
redis.call('SET', NS .. 'worker:' .. worker, about, 'PX', lease_ms)
add_to(NS .. 'workers', worker, NOW)
redis.call('HSET', STATISTICS, 'last_heartbeat_ms', int(NOW))
keep(STATISTICS)
keep(PAUSED)
keep(DOUBLE_POSTS)
return 1
