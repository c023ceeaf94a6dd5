"""The JSON Schema of the intent: ``python -m transfer_tasks.intent.schema > docs/intent.schema.json``."""

import json
import sys

from transfer_tasks.intent import TransferIntent


def intent_schema() -> str:
    """Return the schema as it stands in ``docs/intent.schema.json``.

    It describes what is accepted on the way in, short forms included. It is a first check for producers in
    other languages: whether a number exists, say, is beyond JSON Schema, and is checked by `TransferIntent`.
    """
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **TransferIntent.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(intent_schema())
