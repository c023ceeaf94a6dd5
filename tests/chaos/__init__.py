"""Breaks a whole cluster on purpose, and judges what it did: `make chaos SEED=… MINUTES=…`.

schedule       which fault when, drawn from a seed
cluster        Redis, the sandbox, the workers, and a fault proxy on every line between them
faults         carries the schedule out on the cluster, and keeps a log of it
load           sessions that ask, ask twice, change their minds and cancel; they keep a log, too
voice_load     voice sessions, as agents hold them, on a platform that lets the target ring (`ringing`);
               `voice_truth` holds what they told against it
bare_messages  what reaches the queue past every publisher
history        everything that four observers saw: the sessions, the ledger, the audit log, the sandbox
auditor        holds the observers against each other; `attempts` compares one transfer in detail, and
               `excuses` knows when an `unknown` was honest
report         the summary, and the timeline of each transfer at fault
run            one run from start to verdict
mutants        workers with one safeguard taken out: the auditor has to condemn them
test_findings  what it has found in the product, each reproduced in the small
"""
