"""The HTTP service: `firstbert serve MODEL...`.

After job.py on the way of a sentence. Read it in this order: options.py what can be set; watch.py keys, logs, metrics;
mapped.py weights in memory; queue.py texts of many requests → batches; schemas.py what comes over the wire;
describe.py the same as OpenAPI has it; models.py model folders → what answers; gate.py what stands around every
request; lingering.py how a connection ends; connection.py a client's connection; app.py the routes; server.py signals,
and the end. Needs the extra "serve"; cli_use.py alone imports it.
"""
