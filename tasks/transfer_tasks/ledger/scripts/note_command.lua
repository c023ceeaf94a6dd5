-- note_command: write down that somebody has asked a worker by Celery's remote control for more than a look.
--
-- Arguments:
--   worker
--   event    control.refused | control.obeyed
--   command  what was asked for, by Celery's name
--   detail   with what, in one masked line; or ''
--
-- Reply: 1

local worker, event, command, detail = unpack(ARGV, 3)
audit('', event, cjson.encode({ worker = worker, command = command, detail = text_or_nil(detail) }))
return 1
