"""`call-transfer doctor`: what a worker looks at before it starts, and what only people want to know."""

from transfer_worker.operations.doctor.examination import describe_finding, examine, run_doctor

__all__ = ["describe_finding", "examine", "run_doctor"]
