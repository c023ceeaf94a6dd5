-- beat: renew a worker's lease.
--
-- ARGV[3] worker
-- ARGV[4] lease_ms
-- ARGV[5] about     JSON: version, host, process id, concurrency, started_at
--
-- Reply: 1

local worker = ARGV[3]
redis.call('SET', NS .. 'worker:' .. worker, ARGV[5], 'PX', ARGV[4])
add_to(NS .. 'workers', worker, NOW)
redis.call('HSET', STATISTICS, 'last_beat_ms', int(NOW))
keep(STATISTICS)
keep(PAUSED)
return 1
